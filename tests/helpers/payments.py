"""A small model to train: card payments of 60 days, seeded; features in memory instead of on Flink."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flink_jobs.registry import Registry
from flink_jobs.spec import JobSpec
from flink_jobs.training import TrainingSettings, load_trainer, train
from flink_jobs.training.data import Computed, Note, features_on_flink
from flink_jobs.training.search import Limits

JOB = """
job: payments
source:
  topic: payments
  event_time: {field: at, unit: ms}
  schema:
    card: {type: string, required: true}
    amount: {type: double, required: true}
    country: {type: string}
    at: {type: long, required: true}
features:
  derive: {night: EXTRACT(HOUR FROM event_time) >= 21}
model: {name: cards}
"""
TRAIN = """
import time
from pathlib import Path

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from flink_jobs.training import Trainer
from tests.helpers.payments import payments
from udfs.model.manifest import Output


def build(parameters):
    time.sleep(PAUSE)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    texts = (codes, make_column_selector(dtype_include=object))
    columns = make_column_transformer(texts, remainder="passthrough")
    return make_pipeline(columns, DecisionTreeClassifier(random_state=3, **parameters))


def space(trial):
    return {
        "max_depth": trial.suggest_int("max_depth", 1, 12),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 200, log=True),
    }


TRAINER = Trainer(
    name="cards",
    job=Path("../job.yaml"),
    inputs=("amount", "country", "night"),
    label="fraud",
    output=Output(kind="binary", classes=(False, True)),
    history=lambda: payments(),
    build=build,
    parameters={"max_depth": 4, "min_samples_leaf": 20},
    space=space,
    folds=3,
    test_from="2024-02-20",
    seed=5,
)
"""
START = np.datetime64("2024-01-01", "ms")


def payments(rows: int = 3000, seed: int = 1) -> pa.Table:
    """Sent one after the other over 60 days; whether a payment is a fraud is not known of every tenth."""
    random = np.random.default_rng(seed)
    at = np.sort(random.integers(0, 60 * 86_400_000, rows)) + START.astype(np.int64)
    amount = random.lognormal(3, 1, rows).round(2)
    country = random.choice(np.array(["DE", "FR", "US", None], dtype=object), rows)
    odds = 1 / (1 + np.exp(-(np.log(amount) - 4 + 2 * (country == "US"))))
    fraud = pa.array(random.random(rows) < odds, mask=np.arange(rows) % 10 == 9)
    return pa.table(
        {
            "card": pa.array([f"c{i % 50}" for i in range(rows)]),
            "amount": amount,
            "country": pa.array(country, pa.string()),
            "at": at,
            "fraud": fraud,
        }
    )


def in_memory(job: JobSpec, records: pa.Table, columns: Sequence[str], note: Note) -> Computed:
    """The features of the sample job, but of each 100th record, which is taken as a dead letter."""
    rows = np.flatnonzero(np.arange(records.num_rows) % 100 != 7)
    times = records.column("at").to_numpy()[rows].astype("datetime64[ms]")
    night = pc.greater_equal(pc.hour(pa.array(times, pa.timestamp("ms"))), 21)
    taken = records.take(pa.array(rows))
    made: dict[str, Any] = {"night": night, **{name: taken.column(name) for name in ("amount", "country")}}
    return Computed(
        pa.table({name: made[name] for name in columns}), rows, times, records.num_rows - len(rows)
    )


def compute_in_memory(patch: pytest.MonkeyPatch, *functions: Callable[..., object]) -> None:
    """Lets functions that by default compute features on Flink do so in memory."""
    for function in functions:
        defaults: tuple[object, ...] = inspect.getfullargspec(function).defaults or ()
        assert features_on_flink in defaults
        replaced = tuple(in_memory if value is features_on_flink else value for value in defaults)
        patch.setattr(function, "__defaults__", replaced)


def write_model(root: Path, *, pause: float = 0.0, **replaced: str) -> Path:
    """Writes job.yaml and cards/train.py; `replaced` are arguments of its Trainer, as Python text."""
    (root / "job.yaml").write_text(JOB)
    (root / "cards").mkdir(exist_ok=True)
    text = TRAIN.replace("PAUSE", str(pause))
    for name, value in replaced.items():
        found = re.search(rf"^    {name}=.*\n", text, re.MULTILINE)
        start, end = found.span() if found else (text.rindex(")"),) * 2
        text = f"{text[:start]}    {name}={value},\n{text[end:]}"
    (root / "cards" / "train.py").write_text(text)
    return root / "cards"


def settings(root: Path, trials: int | None = None, **others: Any) -> TrainingSettings:
    return TrainingSettings(
        Limits(trials), cache=root / "cache", studies=root / "cards" / "studies", environ={}, **others
    )


def main(root: Path, trials: int) -> None:
    """Trains in a process of its own."""
    train(load_trainer(root / "cards"), Registry(root), settings(root, trials), features=in_memory)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
