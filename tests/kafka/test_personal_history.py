"""Identities go through training, a backtest and explained predictions, to one who reads all that is left.

Files are looked through byte by byte, those of Parquet also value by value, as these are compressed.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import uuid
from pathlib import Path
from struct import pack

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

from flink_jobs.kafka import ClientSettings, create_topics, produce, read_topic
from flink_jobs.registry import Registry
from flink_jobs.testing import record
from tests.helpers import models
from tests.helpers.commands import tailrace_command
from tests.helpers.planted import PLANTED, scanned, told

HASH_KEY = "a key that only the test has"
ROWS, START = 600, 1_704_067_200_000
JOB = """
job: NAME
kafka: {brokers: "BROKERS"}
source:
  topic: NAME
  event_time: {field: at, unit: ms}
  schema:
    at: {type: long, required: true}
    amount: {type: double, required: true}
    income: {type: double, required: true, pii: mask}
    email: {type: string, required: true, pii: hash}
features:
  windows: {w: {by: email, over: 1d, select: {seen: count(*), most: max(income)}}}
model: {name: cards, registry: models}
predictions: {include: [email, amount, income], pii_key: "${HASH_KEY}", explain: 4}
"""
TRAIN = """
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flink_jobs import Output, Trainer

TRAINER = Trainer(
    name="cards",
    job=Path("../../job.yaml"),
    inputs=("amount", "income", "seen", "most"),
    label="fraud",
    output=Output(kind="binary", classes=(False, True)),
    history=lambda: Path(__file__).parents[2] / "history.parquet",
    build=lambda parameters: make_pipeline(StandardScaler(), LogisticRegression(**parameters)),
    parameters={"C": 1.0},
    space=lambda trial: {"C": trial.suggest_float("C", 0.01, 10, log=True)},
    segments=("income", "seen"),
)
"""


def history() -> pa.Table:
    draw = random.Random(3)
    amounts = [draw.lognormvariate(3, 1) for _ in range(ROWS)]
    emails = [f"{PLANTED}{draw.getrandbits(64):016x}@example.org" for _ in range(ROWS // 4)]
    return pa.table(
        {
            "at": [START + number * 3_600_000 for number in range(ROWS)],
            "amount": amounts,
            "income": [draw.uniform(1e4, 1e5) for _ in range(ROWS)],
            "email": [draw.choice(emails) for _ in range(ROWS)],
            "fraud": [draw.random() < min(0.9, amount / 60) for amount in amounts],
        }
    )


class Place:
    """A project's folder of its own, with its temporary files, in which commands run."""

    def __init__(self, root: Path, kafka: ClientSettings) -> None:
        self.root, self.name = root, f"cards-{uuid.uuid4().hex[:8]}"
        self.table = history()
        for folder in ("models/cards", "tmp"):
            (root / folder).mkdir(parents=True)
        pq.write_table(self.table, root / "history.parquet")
        job = JOB.replace("NAME", self.name).replace("BROKERS", kafka.brokers)
        (root / "job.yaml").write_text(job)
        (root / "models" / "cards" / "train.py").write_text(TRAIN)
        self._environ = {**os.environ, "TMPDIR": str(root / "tmp"), "HASH_KEY": HASH_KEY}

    def tailrace(self, *words: str) -> str:
        command = [*tailrace_command(), *words]
        done = subprocess.run(
            command, cwd=self.root, capture_output=True, text=True, timeout=400, env=self._environ
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def numbers(self) -> set[float]:
        return {*self.table.column("income").to_pylist()}


@pytest.fixture(scope="module")
def place(kafka: ClientSettings, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """With two versions, a page that compares them, a card, and explained predictions."""
    place = Place(tmp_path_factory.mktemp("history"), kafka)
    said = [place.tailrace("train", "models/cards", "--trials", "2")]
    add_version(place)
    versions = ("--model", "1", "--model", "2", "--label", "fraud", "--by", "email")
    reports = ("--html", "backtest.html", "--json", "backtest.json")
    said.append(place.tailrace("backtest", "job.yaml", "--input", "history.parquet", *versions, *reports))
    said.append(place.tailrace("models", "card", "cards", "--output", "card.html"))
    said.append(place.tailrace("profile", "history.parquet", "--job", "job.yaml", "--out", "profile.json"))
    create_topics(kafka, {place.name: 1})
    rows = place.table.drop_columns(["fraud"]).to_pylist()
    produce(kafka, place.name, [record(row) for row in rows])
    said.append(place.tailrace("run", "job.yaml", "--bounded"))
    (place.root / "said.txt").write_text("\n".join(said))
    return place


def add_version(place: Place) -> None:
    names = ("amount", "income", "seen", "most")
    inputs = pa.table({name: [1.0, 2.0, 3.0, 4.0] for name in names})
    inputs = inputs.set_column(2, "seen", [[1, 2, 3, 4]])
    targets = [False, True, False, True]
    models.register(Registry(place.root / "models"), "cards", LogisticRegression(), inputs, targets, "binary")


def is_source(path: str) -> bool:
    return path == "history.parquet"


@pytest.mark.timeout(900)
def test_no_file_has_a_text_of_theirs(place: Place) -> None:
    left = scanned(place.root)
    assert [each for each in left if each.told and not is_source(each.path)] == []
    for kind in ("model.joblib", "manifest.json", "studies.db", "backtest.html", "card.html", "said.txt"):
        assert any(each.path.endswith(kind) and each.size for each in left), (kind, left)


def test_no_file_has_a_number_of_theirs(place: Place) -> None:
    """As eight bytes, as text of full precision, and in what Parquet has compressed."""
    forms = {form for number in place.numbers() for form in (pack("<d", number), pack(">d", number))}
    forms |= {repr(number).encode() for number in place.numbers()}
    found = re.compile(b"|".join(map(re.escape, sorted(forms))))
    assert found.search(pack("<d", min(place.numbers())))
    paths = [path for path in place.root.rglob("*") if path.is_file() and path.name != "history.parquet"]
    for path in paths:
        assert not found.search(path.read_bytes()), path
    tables = [path for path in paths if path.suffix == ".parquet"]
    assert tables
    for path in tables:
        values = {value for column in pq.read_table(path).columns for value in column.to_pylist()}
        assert not values & place.numbers(), path
        assert not any(told(str(value).encode()) for value in values), path


def test_predictions_name_no_such_input_and_have_no_such_value(kafka: ClientSettings, place: Place) -> None:
    made = [json.loads(each.value or b"") for each in read_topic(kafka, f"{place.name}.predictions")]
    assert len(made) == ROWS
    assert {name for row in made for name in row["explanation"]["contributions"]} == {"amount", "seen"}
    assert not any(told(json.dumps(row).encode()) for row in made)
    assert {row["income"] for row in made} == {"***"}
    assert len({row["email"] for row in made}) == len({*place.table.column("email").to_pylist()})
