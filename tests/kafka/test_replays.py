"""Dead letters that are sent again, by who is killed at any moment, runs twice, or finds another at work.

The topics are a real broker's; what is in them is read by confluent-kafka alone, as any consumer does.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.errors import JobFailedError, WorkError
from flink_jobs.jobfile import load_job
from flink_jobs.kafka import (
    ClientSettings,
    Message,
    Record,
    count_committed,
    create_topics,
    produce,
    read_topic,
)
from flink_jobs.kafka.replays import Note, Place, Replays, Sending
from flink_jobs.plan import make_plan
from flink_jobs.run import preflight
from flink_jobs.run.program import Target, start
from flink_jobs.system.processes import wait_until
from tests.helpers.commands import tailrace_here
from tests.helpers.samples import write_model

COMMAND = [sys.executable, "-c", "from flink_jobs.cli import main; main()"]
NOON = 1_767_268_800_000
PARTITIONS, RECORDS = 4, 10_000
JOB = """
job: NAME
kafka: {brokers: "BROKERS"}
source:
  topic: NAME
  event_time: {field: at, unit: ms, out_of_order: 1s}
  schema:
    at: {type: long, required: true}
    id: {type: long, required: true}
    x: {type: double, required: true}
FEATURES
model: {name: m, registry: models}
predictions: {include: [id]}
runtime: {checkpoint: {interval: 1s}}
"""
REPAIR = "merge(@, {x: to_number(x)})"


def value(number: int) -> bytes:
    return json.dumps({"at": NOON + number, "id": number, "x": f"{number}.5"}).encode()


def letter(topic: str, number: int, size: int = 0) -> Message:
    """A dead letter as a job writes it: of record `number`, at this offset of its partition."""
    own = {
        "job": "j",
        "topic": topic,
        "partition": str(number % PARTITIONS),
        "offset": str(number // PARTITIONS),
        "timestamp": f"2026-01-01 12:00:{number % 60:02}.007",
        "at": "2026-01-02 00:00:00.000",
        "stage": "contract",
        "reason": "wrong_type",
        "message": "m",
        "model": "",
    }
    headers: list[tuple[str, bytes | None]] = [("trace", b"\x00\xff%d" % number)]
    headers += [(f"tailrace.{name}", text.encode()) for name, text in own.items()]
    body = value(number) + random.randbytes(size)  # which do not become less when they are compressed
    return Message(body, b"k%d" % number, headers, NOON + 99, number % PARTITIONS)


class Job:
    """A job file, its topics, and the command on it."""

    def __init__(self, kafka: ClientSettings, folder: Path, name: str, features: str = "") -> None:
        self.kafka, self.folder, self.name = kafka, folder, name
        self.file = folder / f"{name}.yaml"
        self.text = JOB.replace("NAME", name).replace("BROKERS", kafka.brokers).replace("FEATURES", features)
        self.file.write_text(self.text)

    def dead(self, messages: Sequence[Message]) -> None:
        create_topics(self.kafka, {self.name: PARTITIONS, f"{self.name}.dead-letters": PARTITIONS})
        produce(self.kafka, f"{self.name}.dead-letters", messages)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        line = [*COMMAND, words[0], str(self.file), *words[1:]]
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *words: str) -> tuple[int, Any]:
        """The status, and the JSON that it printed."""
        done = tailrace_here(words[0], str(self.file), *words[1:], "--json")
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        return done.returncode, json.loads(done.stdout)

    def source(self) -> list[Record]:
        return list(read_topic(self.kafka, self.name))


@pytest.fixture
def job(kafka: ClientSettings, tmp_path: Path, new_topic: Callable[..., str]) -> Job:
    return Job(kafka, tmp_path, f"replayed-{random.randrange(10**9)}")


def test_each_is_sent_once_by_who_is_killed_and_runs_again(job: Job) -> None:
    job.dead([letter(job.name, number) for number in range(RECORDS)])
    seed = random.randrange(10**6)
    draw, kills = random.Random(seed), 0
    for _ in range(3):
        begun = job.begin("dlq", "replay", "--all", "--map", REPAIR, "--rate", "500")
        _wait_for_growth(job, len(job.source()))
        time.sleep(draw.uniform(0, 0.6))
        kills += begun.poll() is None
        begun.send_signal(signal.SIGKILL)
        begun.communicate()
    assert kills == 3, seed
    assert len(job.source()) < RECORDS
    status, rest = job.run("dlq", "replay", "--all", "--map", REPAIR)
    assert (status, rest["records"] + sum(rest["left"].values())) == (0, RECORDS)
    status, again = job.run("dlq", "replay", "--all", "--map", REPAIR)
    assert (status, again["records"], again["left"]) == (0, 0, {"already decided": RECORDS})
    sent = job.source()
    assert Counter(Counter(record.key for record in sent).values()) == {1: RECORDS}, seed
    for record in sent:
        number = int((record.key or b"")[1:])
        assert json.loads(record.value or b"") == {"at": NOON + number, "id": number, "x": number + 0.5}
        assert record.partition == number % PARTITIONS
        assert record.timestamp == 1_767_268_800_007 + number % 60 * 1_000
        headers = dict(record.headers)
        assert headers["trace"] == b"\x00\xff%d" % number
        assert headers["tailrace.replay_attempt"] == b"1"
        assert len(headers) == 3
    listed = job.run("dlq", "list")[1]["groups"]
    assert [(each["open"], each["replayed"]) for each in listed] == [(0, RECORDS)]
    shown = job.run("dlq", "show", "1:0")[1]
    [note] = shown["decided"]
    place = note["replayed_as"]
    [at] = [r for r in sent if (r.partition, r.offset) == (place["partition"], place["offset"])]
    assert at.key == shown["original"]["key"].encode()
    assert dict(at.headers)["tailrace.replay_of"] == f"{job.name}.dead-letters/1/0".encode()


def _wait_for_growth(job: Job, before: int) -> None:
    """The command has written since; it is between two transactions, or within one."""
    wait_until(lambda: len(job.source()) > before, 60, 0.1)


def test_the_later_of_two_at_a_time_stops_the_earlier(job: Job) -> None:
    job.dead([letter(job.name, number) for number in range(10)])
    place = Place(job.name, 0, 0)
    note = Note(action="replayed", record=place, dead_letter=place, first=place, attempt=1, at="")
    sending = Sending("one", note, job.name, Message(b"x", b"k", partition=0))
    with Replays(job.kafka, job.name) as earlier, Replays(job.kafka, job.name) as later:
        with pytest.raises(WorkError, match=r"another replay of .* has taken over"):
            earlier.send([sending])
        assert later.send([sending]) == []
        assert later.decided("one") == "replayed"
    assert len(job.source()) == 1


class SlowToAdd(list[Sending]):
    """A slow machine: the broker has refused the first record before the client is given the second."""

    def __iter__(self) -> Iterator[Sending]:
        for each in super().__iter__():
            yield each
            time.sleep(1)


def test_a_slow_machine_is_told_which_record_was_too_large(job: Job) -> None:
    job.dead([])
    place = Place(job.name, 0, 0)
    note = Note(action="replayed", record=place, dead_letter=place, first=place, attempt=1, at="")
    large, small = os.urandom(1_100_000), b"x"
    batch = [Sending(str(n), note, job.name, Message(v, partition=0)) for n, v in enumerate([large, small])]
    with Replays(job.kafka, job.name) as replays:
        assert replays.send(SlowToAdd(batch)) == batch[:1]
    assert [record.value for record in job.source()] == [small]


def test_what_cannot_go_back_is_left_and_said_and_does_not_hold_up_the_others(job: Job) -> None:
    """The client purges what it is given after an abort, so the large ones are amid many others."""
    large, sent = (37, 150), [number for number in range(200) if number not in (37, 150)]
    huge = [letter(job.name, number, size=1_100_000 if number in large else 0) for number in range(200)]
    create_topics(job.kafka, {f"{job.name}.dead-letters": PARTITIONS}, {"max.message.bytes": "4000000"})
    job.dead(huge)
    produce(job.kafka, f"{job.name}.dead-letters", [_again(letter(job.name, 999), "3"), _window(job.name)])
    status, told = job.run("dlq", "replay", "--all")
    assert status == 1
    assert told["left"] == {
        "too large for the topic": 2,
        "replayed 3 times before": 1,
        "the row of a window, of which there is no record": 1,
    }
    assert sorted(r.key or b"" for r in job.source()) == sorted(b"k%d" % number for number in sent)
    assert job.run("dlq", "replay", "--all", "--max-attempts", "4")[1]["records"] == 1
    [again] = [r for r in job.source() if r.key == b"k999"]
    kept = dict(again.headers)
    assert (kept["tailrace.replay_attempt"], kept["tailrace.replay_of"]) == (b"4", b"first.dead-letters/0/7")
    assert job.run("dlq", "drop", "--all")[1]["records"] == 3
    listed = job.run("dlq", "list", "--reason", "wrong_type")[1]["groups"]
    assert [(g["open"], g["replayed"], g["dropped"]) for g in listed] == [(0, 199, 3)]


def _again(message: Message, attempt: str) -> Message:
    more = [("tailrace.replay_attempt", attempt.encode()), ("tailrace.replay_of", b"first.dead-letters/0/7")]
    return Message(message.value, message.key, [*message.headers, *more], NOON, message.partition)


def _window(topic: str) -> Message:
    plain = letter(topic, 0)
    headers = [
        (name, b"" if name in ("tailrace.partition", "tailrace.offset") else text)
        for name, text in plain.headers
    ]
    return Message(b"{}", None, headers, NOON, 0)


def valid(number: int, after_ms: int) -> Message:
    record = {"at": NOON + after_ms + number, "id": number, "x": 1.0}
    return Message(json.dumps(record).encode(), b"k%d" % number, (), NOON + after_ms, 0)


PRIVATE = """
accounting: {}
dead_letters: {pii: encrypt}
late: {pii: encrypt}
privacy: {encrypt_key: "${ENCRYPT_KEY}"}
"""
KEY = bytes(range(32)).hex()


def test_a_job_scores_once_what_comes_back_encrypted_and_long_after_its_time(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adversary is a watermark that has passed all that is sent again."""
    monkeypatch.setenv("ENCRYPT_KEY", KEY)
    write_model(tmp_path / "models", "m", "x")
    text = job.text.replace("    x:", "    who: {type: string, pii: drop}\n    x:")
    job.text = text.replace("source:\n", "source:\n  start: committed\n") + PRIVATE
    job.file.write_text(job.text)
    create_topics(job.kafka, {job.name: 1})
    produce(job.kafka, job.name, [*map(broken, range(100)), valid(200, 3_600_000), valid(201, 3_600_000)])
    produce(job.kafka, job.name, [valid(number, 0) for number in range(100, 110)])
    scored(job)
    assert counts(job) == {"predictions": 2, "dead-letters": 100, "late": 10}
    produce(job.kafka, job.name, [valid(202, 7_200_000), valid(203, 7_200_000)])
    assert job.run("dlq", "replay", "--all", "--map", REPAIR, "--fixed", str(job.file))[1]["records"] == 100
    assert job.run("late", "replay", "--all")[1]["records"] == 10
    scored(job)
    assert counts(job) == {"predictions": 114, "dead-letters": 100, "late": 10}
    told = job.run("accounts")[1]
    # 112 sent and 2 after them, and what came back: all have one outcome, markers have none.
    assert (told["balanced"], sum(row["read"] for row in told["partitions"])) == (True, 224)
    # Its own accounts are of both runs, without a gap.
    assert all(row["accounts"] >= 2 and not row["disagreements"] for row in told["partitions"])
    predictions = list(read_topic(job.kafka, f"{job.name}.predictions"))
    ids = Counter(json.loads(record.value or b"")["id"] for record in predictions)
    assert ids == dict.fromkeys([*range(110), *range(200, 204)], 1)
    assert all(record.key == b"k%d" % json.loads(record.value or b"")["id"] for record in predictions)
    # What was scored amid others is the same bytes alone.
    told = json.loads(predictions[-1].value or b"")
    place = (str(told["partition"]), str(told["offset"]))
    done = subprocess.run([*COMMAND, "receipt", str(job.file), *place, "--json"], capture_output=True)
    receipt = json.loads(done.stdout)
    assert (done.returncode, receipt["same"]) == (0, True), receipt
    assert receipt["sha256"] == hashlib.sha256(predictions[-1].value or b"").hexdigest()


def test_a_job_stops_before_it_drowns_the_topic(job: Job, tmp_path: Path) -> None:
    """The adversary is a producer that sends nothing else than what cannot be scored."""
    write_model(tmp_path / "models", "m", "x")
    job.file.write_text(job.text + "dead_letters: {max_rate: 5%, then: stop, over: 100}\n")
    create_topics(job.kafka, {job.name: 2})
    produce(job.kafka, job.name, map(broken, range(3_000)))
    with pytest.raises(
        JobFailedError, match=r"contract wrong_type.*dead_letters.max_rate, 0.05: the job stops"
    ):
        scored(job)
    written = counts(job)
    # Fewer than `over`, if a checkpoint was made before so many had been read.
    assert written.pop("dead-letters") < 100
    assert written == {"predictions": 0, "late": 0}


def broken(number: int) -> Message:
    return Message(value(number), b"k%d" % number, [("trace", b"t")], NOON, 0)


def scored(job: Job) -> None:
    """Runs the job on what has come since it last ran."""
    plan = make_plan(load_job(job.file, dict(os.environ)), bounded=True)
    preflight.check(plan)
    with start(plan, Target()) as running:
        running.wait()


def counts(job: Job) -> dict[str, int]:
    suffixes = ("predictions", "dead-letters", "late")
    return {suffix: count_committed(job.kafka, f"{job.name}.{suffix}") for suffix in suffixes}
