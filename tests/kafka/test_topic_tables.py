"""Tables of topics joined as of each record's time on real Kafka and Flink, over a stop and a resume.

The adversaries: a table that comes after its records, changes while the job is down, a table that goes quiet
and must not hold records back for ever, records of the table that are none, and Debezium's ways of deleting.
What is expected is what pandas' merge_asof gives.
"""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from flink_jobs.jobfile import load_job
from flink_jobs.kafka import ClientSettings, Message, create_topics, produce, read_topic
from flink_jobs.testing import record
from flink_jobs.training import Trainer
from flink_jobs.training.data import Computed, features_on_flink, load_data
from tests.helpers import models
from tests.helpers.restarts import run_until
from udfs.model.manifest import Output

START = 1_767_225_600_000
CARDS, SECONDS, STOP = ["a", "b", "c", "d"], 400, 250
JOB = """
job: TOPIC
kafka: {brokers: "BROKERS"}
source:
  topic: TOPIC
  event_time: {out_of_order: 5s, idle: 2s}
  schema:
    id: {type: long, required: true}
    card: {type: string, required: true}
    shop: long
features:
  windows:
    last: {by: card, rows: 3, select: {seen: count(*)}}
  lookups:
    cards:
      topic: TOPIC.cards
      by: card
      key: number
      select: {tier: {column: tier, type: string}, credit: {column: limits.credit, type: double}}
      event_time: {field: changed_at, unit: iso8601, out_of_order: 5s, idle: 2s}
      wait: 1s
    shops:
      topic: TOPIC.shops
      by: shop
      key: id
      select: {city: {column: city, type: string}}
      envelope: debezium
      event_time: {field: ts_ms, out_of_order: 5s, idle: 2s}
  derive: {rich: "COALESCE(credit, 0) > 50"}
model: {name: sums, registry: models, inputs: {n: seen}}
predictions: {include: [id, seen, tier, credit, city, rich]}
runtime: {parallelism: 2, checkpoint: {interval: 500ms}}
"""


def rows() -> list[dict[str, Any]]:
    draw = random.Random(3)
    made: list[dict[str, Any]] = [
        {
            "id": n,
            "card": draw.choice([*CARDS, "unknown"]),
            "shop": draw.randrange(4),
            "at": START + n * 1_000,
        }
        for n in range(SECONDS)
    ]
    return sorted(made, key=lambda row: row["at"] + draw.randrange(4_000))


def table() -> pd.DataFrame:
    """Changes of cards, with deletions, out of order."""
    draw = random.Random(4)
    made: list[dict[str, Any]] = [
        {
            "card": draw.choice(CARDS),
            "tier": draw.choice(["gold", "silver", None]),
            "credit": float(n),
            "deleted": draw.random() < 0.2,
            "at": START + n * 4_000 + 500,
        }
        for n in range(SECONDS // 4)
    ]
    arriving = sorted(made, key=lambda row: row["at"] + draw.randrange(4_000))
    return pd.DataFrame(arriving)


def shops() -> pd.DataFrame:
    draw = random.Random(5)
    made: list[dict[str, Any]] = [
        {
            "shop": draw.randrange(3),
            "city": f"city {n}",
            "deleted": n % 5 == 4,
            "at": START + n * 10_000 + 500,
        }
        for n in range(SECONDS // 10)
    ]
    return pd.DataFrame(made)


def card_message(change: Any) -> Message:
    """Tombstones have the time of their record, other changes that of their field."""
    key = json.dumps({"number": change.card})
    if change.deleted:
        return record(None, key=key, timestamp=change.at)
    at = pd.Timestamp(change.at, unit="ms").isoformat() + "Z"
    value = {
        "number": change.card,
        "tier": change.tier,
        "limits": {"credit": change.credit},
        "changed_at": at,
    }
    return record(value, key=key, timestamp=START)


def shop_messages(change: Any) -> list[Message]:
    """As Debezium does: a deletion is a change, and a tombstone after it."""
    key = json.dumps({"schema": {}, "payload": {"id": int(change.shop)}})
    row = {"id": int(change.shop), "city": change.city}
    before, after = ({"id": row["id"], "city": None}, None) if change.deleted else (None, row)
    op = "d" if change.deleted else "u"
    payload = {"before": before, "after": after, "op": op, "ts_ms": int(change.at)}
    sent = [record({"schema": {}, "payload": payload}, key=key, timestamp=START)]
    return [*sent, record(None, key=key, timestamp=int(change.at))] if change.deleted else sent


def part(of: Any, *, first: bool) -> list[Any]:
    return (
        [each for each in of if (each["at"] if isinstance(each, dict) else each.at) < START + STOP * 1_000]
        if first
        else [
            each for each in of if (each["at"] if isinstance(each, dict) else each.at) >= START + STOP * 1_000
        ]
    )


def send(kafka: ClientSettings, topic: str, *, first: bool) -> None:
    produce(
        kafka,
        topic,
        [
            record({k: row[k] for k in ("id", "card", "shop")}, key=row["card"], timestamp=row["at"])
            for row in part(rows(), first=first)
        ],
    )
    bad = [record(b"oops", key="x", timestamp=START), record(None, timestamp=START)] if first else []
    cards = [card_message(change) for change in part(table().itertuples(), first=first)]
    produce(kafka, f"{topic}.cards", [*bad, *cards])
    changed = [each for change in part(shops().itertuples(), first=first) for each in shop_messages(change)]
    produce(kafka, f"{topic}.shops", changed)


@pytest.fixture(scope="module")
def predictions(kafka: ClientSettings, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of a job that was stopped in between, while both the stream and the tables went on."""
    base = tmp_path_factory.mktemp("tables")
    inputs = pa.table({"n": [1.0, 2.0, 3.0]})
    models.write(base / "models", "sums", LinearRegression(), inputs, [2.0, 4.0, 6.0], "regression")
    topic = f"tables-{uuid.uuid4().hex[:8]}"
    create_topics(kafka, {topic: 2, f"{topic}.cards": 2, f"{topic}.shops": 1})
    send(kafka, topic, first=True)
    file = base / "job.yaml"
    file.write_text(JOB.replace("TOPIC", topic).replace("BROKERS", kafka.brokers))
    out = f"{topic}.predictions"
    savepoint = run_until(kafka.brokers, file, {out: STOP - 30}, base / "savepoints")
    send(kafka, topic, first=False)
    end = [
        record({"id": SECONDS, "card": "end", "shop": 9}, key=k, timestamp=START + 10**7) for k in "abcdef"
    ]
    produce(kafka, topic, end)
    run_until(kafka.brokers, file, {out: SECONDS}, base / "more", savepoint)
    late = list(read_topic(kafka, f"{topic}.late"))
    assert late == []
    return [json.loads(each.value or b"") for each in read_topic(kafka, out)]


def test_each_record_has_one_prediction(predictions: list[dict[str, Any]]) -> None:
    assert sorted(made["id"] for made in predictions if made["id"] < SECONDS) == list(range(SECONDS))


@pytest.mark.parametrize(
    ("key", "changes", "columns"), [("card", table, ["tier", "credit"]), ("shop", shops, ["city"])]
)
def test_each_has_what_merge_asof_of_pandas_gives(
    predictions: list[dict[str, Any]], key: str, changes: Any, columns: list[str]
) -> None:
    left = pd.DataFrame(rows()).sort_values("at", ignore_index=True)
    right = changes().sort_values("at", ignore_index=True)
    wanted = pd.merge_asof(left, right, on="at", by=key)
    wanted.loc[~wanted["deleted"].eq(False), columns] = None
    found = {made["id"]: made for made in predictions}
    for row in wanted.itertuples():
        made = found[row.id]
        values = [getattr(row, name) for name in columns]
        assert [made[name] for name in columns] == [None if pd.isna(v) else v for v in values], row
    known = sum(found[row.id][columns[-1]] is not None for row in wanted.itertuples())
    assert SECONDS // 4 < known < SECONDS


def whole(messages: list[Message]) -> pa.Table:
    """Records as a file of a topic has them."""
    columns = {
        "value": pa.array([each.value for each in messages], pa.binary()),
        "key": pa.array([each.key for each in messages], pa.binary()),
        "timestamp": pa.array([each.timestamp for each in messages], pa.int64()),
    }
    return pa.table(columns)


def test_a_training_joins_records_of_before_with_the_tables_of_their_time(
    kafka: ClientSettings, tmp_path: Path
) -> None:
    """By the whole records of both topics, with deletions; a table must not be joined as it is at its end."""
    (tmp_path / "job.yaml").write_text(JOB.replace("TOPIC", "cards").replace("BROKERS", kafka.brokers))
    history = pd.DataFrame(rows()).rename(columns={"at": "timestamp"}).assign(label=1.0)
    changed = [each for change in shops().itertuples() for each in shop_messages(change)]
    tables = {"cards": [card_message(change) for change in table().itertuples()], "shops": changed}
    trainer = Trainer(
        name="sums",
        job=tmp_path / "job.yaml",
        inputs=("id", "tier", "credit", "city"),
        label="label",
        output=Output(kind="regression"),
        history=lambda: pa.Table.from_pandas(history, preserve_index=False),
        build=lambda _: LinearRegression(),
        tables={name: partial(whole, messages) for name, messages in tables.items()},
    )
    compute = partial(features_on_flink, brokers=kafka.brokers)
    job = load_job(trainer.job)
    data = load_data(trainer, job, compute, tmp_path / "cache", lambda _: None)
    assert (data.lost, len(data.rows)) == (0, SECONDS)
    left = pd.DataFrame(rows()).sort_values("at", ignore_index=True)
    for key, changes, columns in (("card", table, ["tier", "credit"]), ("shop", shops, ["city"])):
        wanted = pd.merge_asof(left, changes().sort_values("at", ignore_index=True), on="at", by=key)
        wanted.loc[~wanted["deleted"].eq(False), columns] = None
        found = data.rows.inputs.select(["id", *columns]).to_pandas().set_index("id").loc[wanted["id"]]
        for name in columns:
            both = zip(found[name], wanted[name], strict=True)
            assert all(one == other or (pd.isna(one) and pd.isna(other)) for one, other in both)
        assert SECONDS // 4 < found[columns[-1]].notna().sum() < SECONDS
    again = load_data(trainer, job, compute, tmp_path / "cache", lambda _: None)
    assert again.cached
    fewer = replace(trainer, tables={**trainer.tables, "cards": partial(whole, tables["cards"][1:])})
    other = load_data(fewer, job, in_no_time, tmp_path / "cache", lambda _: None)
    assert not other.cached, "features of other changes are no features of these"


def in_no_time(_job: Any, records: pa.Table, columns: Any, _note: Any, tables: Any = None) -> Computed:
    assert set(tables) == {"cards", "shops"}
    nothing = {name: pa.nulls(records.num_rows, pa.float64()) for name in columns}
    texts = {name: pa.nulls(records.num_rows, pa.string()) for name in ("tier", "city")}
    ids = {"id": records["id"].cast(pa.int64())}
    times = records["timestamp"].cast(pa.timestamp("ms")).to_numpy()
    return Computed(pa.table({**nothing, **texts, **ids}), np.arange(records.num_rows), times)


def test_what_is_derived_sees_the_table(predictions: list[dict[str, Any]]) -> None:
    assert {made["rich"] for made in predictions} == {True, False}
    assert all(made["rich"] == ((made["credit"] or 0) > 50) for made in predictions)
