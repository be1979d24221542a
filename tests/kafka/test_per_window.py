"""A prediction for each key and window: TUMBLE, HOP and SESSION, compared with plain Python.

To tumbling windows tables of topics are joined, by their key and by a result: as pandas' merge_asof does, as
of the last moment of each. The adversary is a table that goes on after the window.
"""

from __future__ import annotations

import json
import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from flink_jobs.kafka import ClientSettings, create_topics, produce
from flink_jobs.testing import Broker, JobHarness, Message, Results, record
from tests.helpers import models
from tests.helpers.window_reference import aggregated, same, select

START = 1_767_225_600_000
MINUTE, GAP = 60_000, 6_000
PARTITIONS = 2
SELECT, NAMES = select(
    "w",
    *("count_degrees", "sum_degrees", "avg_degrees", "min_degrees", "max_degrees", "stddev_degrees"),
    *("distinct_kind", "min_kind", "max_kind", "sum_step", "avg_step", "first_kind", "last_step"),
)
JOB = f"""
job: per-window
score: per_window
source:
  topic: readings
  event_time: {{out_of_order: 10s}}
  schema:
    site: {{type: string, required: true}}
    sensor: long
    degrees: double
    kind: string
    step: {{type: long, range: [0, 100]}}
features:
  windows: {{w: {{by: BY, KIND, select: {SELECT}}}}}
  derive: {{ratio: w_sum_degrees / w_max_degrees}}
  LOOKUPS
model: {{name: sites, registry: models, inputs: {{n: w_count_degrees}}}}
predictions: {{include: [site, ratio, JOINED{", ".join(NAMES)}]}}
runtime: {{parallelism: 2, checkpoint: {{interval: 1s}}}}
"""
# Of tumbling windows: one by the key of windows, one by a result of theirs.
TABLES = {"zones": ("site", "zone"), "ranks": ("w_max_kind", "rank")}
LOOKUP = """
    NAME:
      topic: TOPIC
      by: BY
      key: id
      select: {COLUMN: {column: value, type: long}}
      event_time: {out_of_order: 5s}
      wait: 1s
"""
Row = dict[str, Any]
Windows = Iterator[tuple[int, int, list[Row]]]


def tumble(rows: list[Row]) -> Windows:
    yield from _aligned(rows, MINUTE, MINUTE)


def hop(rows: list[Row]) -> Windows:
    yield from _aligned(rows, 2 * MINUTE, MINUTE // 2)


def _aligned(rows: list[Row], size: int, every: int) -> Windows:
    first = min(row["time"] for row in rows) // every * every - size
    for start in range(first, max(row["time"] for row in rows) + 1, every):
        if inside := [row for row in rows if start <= row["time"] < start + size]:
            yield start, start + size, inside


def session(rows: list[Row]) -> Windows:
    """A silence longer than the gap ends a session."""
    breaks = [i for i in range(1, len(rows)) if rows[i]["time"] - rows[i - 1]["time"] > GAP]
    for begin, end in zip([0, *breaks], [*breaks, len(rows)], strict=True):
        yield rows[begin]["time"], rows[end - 1]["time"] + GAP, rows[begin:end]


KINDS: dict[str, tuple[list[str], str, Callable[[list[Row]], Windows]]] = {
    "tumble": (["site"], "tumble: 1m", tumble),
    "hop": (["site", "sensor"], "hop: 2m, every: 30s", hop),
    "session": (["site"], f"session: {GAP}ms", session),
}


def readings() -> list[Row]:
    """On a grid of a second, so that silences as long as the gap occur; site `zero` divides by zero."""
    draw = random.Random(3)
    rows = []
    for _ in range(1_200):
        site = draw.choice(["north", "south", "atlantis", "zero"])
        degrees = 0.0 if site == "zero" else round(draw.uniform(-20, 45), draw.choice([1, 12]))
        row = {
            "site": site,
            "sensor": draw.choice([1, 2, None]),
            "degrees": None if draw.random() < 0.1 else degrees,
            "kind": draw.choice(["a", "b", "c", None]),
            "step": draw.choice([*range(9), None]),
            "time": START + draw.randrange(20 * 60) * 1_000,
        }
        rows.append(row)
    return rows


LATE = [{"site": "north", "degrees": 1e6}, {"site": "new", "degrees": "wrong as well"}]
BAD = [b"oops", b'{"sensor":1}', b'{"site":"north","step":101}', None]


def arriving() -> list[Row]:
    """Rows up to 5 s out of order; partitions take turns."""
    draw = random.Random(4)
    return sorted(readings(), key=lambda row: row["time"] + draw.randrange(5_000))


def in_order() -> list[Row]:
    """By event time, partition and offset, which decides what is first and last."""
    numbered = sorted(enumerate(arriving()), key=lambda at: (at[1]["time"], at[0] % PARTITIONS, at[0]))
    return [row for _, row in numbered]


def fed() -> list[Message]:
    """Bad records among them, and late ones at the end of each partition."""
    messages = []
    for number, row in enumerate(arriving()):
        messages.append(record(row, timestamp=row["time"], partition=number % PARTITIONS))
        if number % 100 == 50:
            bad = BAD[number // 100 % len(BAD)]
            messages.append(record(bad, timestamp=row["time"], partition=number % PARTITIONS))
    late = START + MINUTE
    return messages + [record(row, timestamp=late, partition=p) for row in LATE for p in range(PARTITIONS)]


def changes(name: str) -> pd.DataFrame:
    """Of a table, with deletions; the first come after the first windows, the last after all."""
    draw = random.Random(name)
    ids = ["north", "south", "zero"] if name == "zones" else ["a", "b", "c"]
    made = [
        {"id": draw.choice(ids), "value": n, "deleted": n % 6 == 5, "at": START + n * 9_000 + 150_000}
        for n in range(150)
    ]
    return pd.DataFrame(made)


def lookups(kafka: ClientSettings) -> str:
    """The section of tables, whose topics are written."""
    made = []
    for name, (by, column) in TABLES.items():
        topic = f"{name}-{uuid.uuid4().hex[:8]}"
        create_topics(kafka, {topic: 2})
        rows = changes(name).to_dict("records")
        sent = [
            record(
                None if row["deleted"] else {"id": row["id"], "value": row["value"]},
                key=row["id"],
                timestamp=row["at"],
            )
            for row in rows
        ]
        produce(kafka, topic, sent)
        text = LOOKUP.replace("NAME", name).replace("TOPIC", topic)
        made.append(text.replace("BY", by).replace("COLUMN", column))
    return f"lookups:{''.join(made)}"


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def results(
    broker: Broker, kafka: ClientSettings, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> Results:
    base = tmp_path_factory.mktemp(kind)
    inputs = pa.table({"site": ["north", "south", "zero"], "n": [1.0, 2.0, 3.0]})
    encode = make_column_transformer((OneHotEncoder(), ["site"]), remainder="passthrough")
    model = make_pipeline(encode, LinearRegression())
    models.write(base / "models", "sites", model, inputs, [10.0, 20.0, 30.0], "regression")
    by, window, _ = KINDS[kind]
    job = JOB.replace("BY", f"[{', '.join(by)}]").replace("KIND", window)
    job = job.replace("LOOKUPS", lookups(kafka) if kind == "tumble" else "lookups: {}")
    job = job.replace("JOINED", "zone, rank, " if kind == "tumble" else "")
    return JobHarness(broker, partitions=PARTITIONS).run(job, fed(), base=base)


def windows(kind: str) -> dict[tuple[bytes, str], Row]:
    """What each window has to be, by key and start."""
    by, _, divided = KINDS[kind]
    keys: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in in_order():
        keys[tuple(row[column] for column in by)].append(row)
    return {
        (_key(key), _iso(start)): {
            "site": key[0],
            "window_start": _iso(start),
            "window_end": _iso(end),
            "records": len(rows),
            **aggregated(rows, NAMES),
        }
        for key, of_key in keys.items()
        for start, end, rows in divided(of_key)
    }


def _key(key: tuple[Any, ...]) -> bytes:
    return (key[0] if len(key) == 1 else json.dumps(key, separators=(",", ":"))).encode()


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _scorable(row: Row) -> bool:
    return row["site"] != "atlantis" and not (row["site"] == "zero" and row["w_count_degrees"])


def test_windows_equal_plain_python(results: Results, kind: str) -> None:
    expected = {place: row for place, row in windows(kind).items() if _scorable(row)}
    made = {(p.key, p.json["window_start"]): p.json for p in results.predictions}
    assert len(made) == len(results.predictions)
    assert made.keys() == expected.keys()
    wrong = [
        (place, name, made[place][name], value)
        for place, row in expected.items()
        for name, value in row.items()
        if not same(made[place][name], value)
    ]
    assert wrong == [], f"{len(wrong)} differ"


def test_tables_are_joined_as_of_the_last_moment_of_a_window(results: Results, kind: str) -> None:
    if kind != "tumble":
        return
    made = pd.DataFrame([each.json for each in results.predictions])
    made["at"] = pd.to_datetime(made["window_end"]).astype("int64") // 10**6 - 1
    made = made.sort_values("at", ignore_index=True)
    for name, (by, column) in TABLES.items():
        table = changes(name).rename(columns={"id": by}).sort_values("at", ignore_index=True)
        wanted = pd.merge_asof(made, table, on="at", by=by)
        expected = wanted["value"].where(wanted["deleted"].eq(False))
        assert [None if pd.isna(v) else v for v in made[column]] == [
            None if pd.isna(v) else v for v in expected
        ]
        assert 0 < expected.notna().sum() < len(made)


def test_a_window_that_cannot_be_scored_is_a_dead_letter(results: Results, kind: str) -> None:
    expected = {place: row for place, row in windows(kind).items() if not _scorable(row)}
    dead = {(d.key, d.json["_window_start"]): d for d in results.dead_letters if d.origin is None}
    assert dead.keys() == expected.keys()
    for place, row in expected.items():
        letter = dead[place]
        if row["w_count_degrees"] and row["w_max_degrees"] == 0:
            assert (letter.stage, letter.reason) == ("feature", "not_finite")
        else:
            assert (letter.stage, letter.reason, letter.header("model")) == (
                "inference",
                "model_error",
                "sites/1",
            )
        assert letter.json["site"] == row["site"]
        assert letter.json["_records"] == row["records"]
        assert all(same(letter.json[name], row[name]) for name in NAMES)


def test_bad_and_late_records_keep_out_of_windows(results: Results) -> None:
    counts = results.accounts()
    assert counts == {
        "read": 1_216,
        "predicted": counts["predicted"],
        "dead": 1_212 - counts["predicted"],
        "late": 4,
    }
    dead = [(letter.value, letter.reason) for letter in results.dead_letters if letter.origin]
    reasons = ["not_json", "missing", "out_of_range", "tombstone"]
    assert sorted(dead, key=str) == sorted(list(zip(BAD, reasons, strict=True)) * 3, key=str)
    assert sorted(row.json["site"] for row in results.late) == ["new", "new", "north", "north"]
