"""Windows after a stop and resume on real Flink: late records, and edits of the job between.

The adversary is a record that comes late just after a restart, when the source does not know yet how far it
had come; and a savepoint that is read as what it is not.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from flink_jobs.errors import TailraceError
from flink_jobs.kafka import ClientSettings, create_topics, produce, read_topic
from flink_jobs.testing import record
from tests.helpers import models
from tests.helpers.restarts import run_until

START = 1_767_225_600_000
SECOND = 1_000
JOB = """
job: TOPIC
kafka: {brokers: "BROKERS"}
source:
  topic: TOPIC
  event_time: {out_of_order: 1m}
  schema:
    id: {type: long, required: true}
    card: {type: string, required: true}
    amount: double
    fee: double
features:
  windows:
WINDOWS
model: {name: sums, registry: models, inputs: {n: seen}}
predictions: {topic: TOPIC.NAME, include: [id, INCLUDE]}
late: {topic: TOPIC.NAME.late}
runtime: {checkpoint: {interval: 500ms}}
"""
HOUR = "    hour: {by: card, over: 1h, select: {seen: count(*), spent: sum(amount)}}"
# What runs before the stop, and what goes on from its savepoint.
FIRST = (HOUR, "seen, spent")
EDITS = {
    "unchanged": FIRST,
    "added": (
        "    minute: {by: card, over: 1m, select: {lately: max(amount), fees: sum(fee)}}\n"
        "    more: {by: card, over: 2h, select: {seen: count(*), spent: sum(amount), mean: avg(amount)}}\n"
        "    last: {by: card, rows: 3, select: {three: sum(amount)}}",
        "seen, spent, mean, lately, three, fees, _window_complete",
    ),
}
# Windows that the state lacks: their topic is read once more.
EDITS["warmed"] = (
    "    hour: {by: card, over: 1h, select: {seen: count(*), spent: sum(amount), fees: sum(fee)}}\n"
    "    more: {by: card, over: 2h, select: {mean: avg(amount)}}\n"
    "    minute: {by: card, over: 1m, select: {lately: sum(fee where amount > 1), before: 'lag(fee, 350)'}}\n"
    "    last: {by: card, rows: 300, select: {many: sum(amount), few: count(fee)}}",
    "seen, spent, fees, mean, lately, before, many, few, _window_complete",
)
OTHER_KEY = ("    hour: {by: id, over: 1h, select: {seen: count(*), spent: sum(amount)}}", "seen, spent")
BEFORE = 400


# Windows of ten seconds, which are scored themselves.
TENS = "    tens: {by: card, tumble: 10s, select: {seen: count(*), spent: sum(amount), most: max(amount)}}"
SCORED = JOB.replace("source:", "score: per_window\nsource:").replace(
    "include: [id, INCLUDE]", "include: [spent]"
)


@dataclass(frozen=True)
class Stopped:
    """A topic of which a job has read the first records, and the job's savepoint."""

    settings: ClientSettings
    topic: str
    base: Path
    savepoint: str

    def job(self, name: str, windows: str, include: str = "", text: str = JOB) -> Path:
        text = text.replace("TOPIC", self.topic).replace("BROKERS", self.settings.brokers)
        text = text.replace("NAME", name).replace("WINDOWS", windows).replace("INCLUDE", include)
        path = self.base / f"{name}.yaml"
        path.write_text(text)
        return path


def row(number: int, seconds: float) -> dict[str, Any]:
    return {
        "id": number,
        "card": "a",
        "amount": 0.1 * number,
        "fee": 1.0,
        "at": START + int(seconds * SECOND),
    }


ON_TIME = [row(n, n) for n in range(BEFORE)]
LATE = row(BEFORE, BEFORE - 201)
AFTER = [row(BEFORE + 1 + n, BEFORE + n) for n in range(60)]
FAR_AHEAD = row(BEFORE + 61, BEFORE + 10_000)
ROWS = [*ON_TIME, *AFTER]


def messages(rows: list[dict[str, Any]]) -> list[Any]:
    return [
        record(
            {k: v for k, v in r.items() if k != "at"}, key=r["card"], timestamp=r["at"], headers={"n": b"1"}
        )
        for r in rows
    ]


@pytest.fixture(scope="module")
def stopped(kafka: ClientSettings, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """Stopped when the watermark had passed 339 records; the rest of the stream came while it was down."""
    return stop_after(kafka, tmp_path_factory.mktemp("windows"), 339, HOUR, "seen, spent")


def stop_after(
    kafka: ClientSettings, base: Path, predictions: int, windows: str, include: str, text: str = JOB
) -> Stopped:
    inputs = pa.table({"n": [1.0, 2.0, 3.0]})
    models.write(base / "models", "sums", LinearRegression(), inputs, [2.0, 4.0, 6.0], "regression")
    topic = f"restarted-{uuid.uuid4().hex[:8]}"
    create_topics(kafka, {topic: 1})
    produce(kafka, topic, messages(ON_TIME))
    first = Stopped(kafka, topic, base, "-")
    file = first.job("first", windows, include, text)
    savepoint = run_until(kafka.brokers, file, {f"{topic}.first": predictions}, base / "savepoints")
    produce(kafka, topic, messages([LATE, *AFTER, FAR_AHEAD]))
    return Stopped(kafka, topic, base, savepoint)


def read(stopped: Stopped, name: str) -> list[dict[str, Any]]:
    return [json.loads(r.value or b"") for r in read_topic(stopped.settings, f"{stopped.topic}.{name}")]


def resumed(stopped: Stopped, name: str, *, warm_up: bool = False) -> list[dict[str, Any]]:
    file = stopped.job(name, *EDITS[name])
    counts = {f"{stopped.topic}.{name}": BEFORE + 60 - 339, f"{stopped.topic}.{name}.late": 1}
    run_until(stopped.settings.brokers, file, counts, stopped.base / name, stopped.savepoint, warm_up=warm_up)
    return read(stopped, name)


def test_the_late_record_comes_out_whole_and_each_other_is_predicted(stopped: Stopped) -> None:
    predictions = resumed(stopped, "unchanged")
    (late,) = read_topic(stopped.settings, f"{stopped.topic}.unchanged.late")
    assert json.loads(late.value or b"")["id"] == LATE["id"]
    assert (late.key, dict(late.headers)["tailrace.offset"], dict(late.headers)["n"]) == (b"a", b"400", b"1")
    first = read(stopped, "first")
    assert sorted(p["id"] for p in [*first, *predictions]) == [r["id"] for r in ROWS]
    for p in [*first, *predictions]:
        upto = [r["amount"] for r in ROWS if r["id"] <= p["id"]]
        assert (p["seen"], p["spent"]) == (len(upto), pytest.approx(sum(upto))), p["id"]


def test_added_and_longer_windows_are_filled_from_what_the_state_holds(stopped: Stopped) -> None:
    """All but the fees, which the state never held: they count from the restart on."""
    for p in resumed(stopped, "added"):
        upto = [r for r in ROWS if r["id"] <= p["id"]]
        amounts = [r["amount"] for r in upto]
        at = upto[-1]["at"]
        lately = [r["amount"] for r in upto if r["at"] >= at - 60 * SECOND]
        assert (p["seen"], p["spent"]) == (len(amounts), pytest.approx(sum(amounts)))
        assert p["mean"] == pytest.approx(sum(amounts) / len(amounts))
        assert p["lately"] == pytest.approx(max(lately))
        assert p["three"] == pytest.approx(sum(amounts[-3:]))
        assert p["fees"] <= len(lately)
        assert p["_window_complete"] is False  # the state reaches back one hour, and one window two


def test_windows_are_whole_when_the_source_was_read_once_more(stopped: Stopped) -> None:
    """Each record was read twice, and is counted and predicted once; the late one is in no window."""
    predictions = resumed(stopped, "warmed", warm_up=True)
    assert sorted(p["id"] for p in predictions) == [r["id"] for r in ROWS[339:]]
    (late,) = read_topic(stopped.settings, f"{stopped.topic}.warmed.late")
    assert json.loads(late.value or b"")["id"] == LATE["id"]
    for p in predictions:
        upto = [r for r in ROWS if r["id"] <= p["id"]]
        amounts = [r["amount"] for r in upto]
        lately = [r for r in upto if r["at"] >= upto[-1]["at"] - 60 * SECOND and r["amount"] > 1]
        assert (p["seen"], p["fees"], p["lately"]) == (len(upto), len(upto), len(lately) or None)
        assert p["before"] == (1.0 if len(upto) > 350 else None)
        assert (p["many"], p["few"]) == (pytest.approx(sum(amounts[-300:])), 300)
        assert (p["spent"], p["mean"]) == (
            pytest.approx(sum(amounts)),
            pytest.approx(sum(amounts) / len(amounts)),
        )
        assert p["_window_complete"]


def test_the_state_of_another_key_is_refused(stopped: Stopped) -> None:
    file = stopped.job("other", *OTHER_KEY)
    with pytest.raises(
        TailraceError, match="the savepoint holds state that this job has no place for: since"
    ):
        run_until(stopped.settings.brokers, file, {}, stopped.base / "other", stopped.savepoint)


def test_windows_that_are_scored_themselves_lose_and_double_nothing(
    kafka: ClientSettings, tmp_path: Path
) -> None:
    """33 of 46 windows before the stop; the late record is of one of these. An aggregate is added then."""
    fewer = TENS.replace(", most: max(amount)", "")
    stopped = stop_after(kafka, tmp_path, 33, fewer, "", SCORED)
    file = stopped.job("more", TENS, text=SCORED.replace("[spent]", "[spent, most]"))
    counts = {f"{stopped.topic}.more": 13, f"{stopped.topic}.more.late": 1}
    run_until(kafka.brokers, file, counts, tmp_path / "more", stopped.savepoint)
    assert [late["id"] for late in read(stopped, "more.late")] == [LATE["id"]]
    after = read(stopped, "more")
    scored = [*read(stopped, "first"), *after]
    tens = [ROWS[start : start + 10] for start in range(0, len(ROWS), 10)]
    assert [(p["records"], p["spent"]) for p in scored] == [
        (10, pytest.approx(sum(r["amount"] for r in ten))) for ten in tens
    ]
    assert [p["most"] for p in after] == [pytest.approx(ten[-1]["amount"]) for ten in tens[33:]]
