"""`tailrace run`, `submit`, `jobs` and `stop` with a real broker, a minicluster and a session cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.kafka import ClientSettings, Message, count_committed, produce, read_topic
from flink_jobs.local.flink import SessionCluster
from flink_jobs.run.cluster import Cluster
from flink_jobs.system.processes import ProcessId, free_port, wait_until
from flink_jobs.system.warm_workers import warm_python
from tests.helpers.commands import tailrace_command, tailrace_here
from tests.helpers.samples import write_model

COMMAND = [sys.executable, "-c", "from flink_jobs.cli import main; main()"]
START = 1_699_999_980_000  # a full minute
STATELESS = {"a": "km", "b": "km"}
WINDOWS = {
    "stateless": "{}",
    "windowed": "{windows: {hour: {by: city, over: 1h, select: {n: count(*)}}}}",
    "per_window": "{windows: {minute: {by: city, tumble: 1m, select: {n: count(*)}}}}",
}
JOB = """\
job: {name}
score: {score}
kafka: {{brokers: "{brokers}"}}
source:
  topic: {topic}
  event_time: {{out_of_order: 1s}}
  schema:
    city: {{type: string, required: true}}
    km: {{type: double, required: true}}
features: {features}
model: {{name: tiny, registry: models, inputs: {{a: {first}}}}}
predictions: {{include: [{include}]}}
runtime: {{python: {python}, checkpoint: {{interval: 1s}}, latency: low}}
"""

WriteJob = Callable[..., Path]


@pytest.fixture
def write_job(kafka: ClientSettings, tmp_path: Path) -> WriteJob:
    """Writes a job file of one kind, with a model next to it: write_job(kind, topic, name) -> path."""
    write_model(tmp_path / "models", "tiny", "a")

    def write(kind: str, topic: str, name: str) -> Path:
        text = JOB.format(
            name=name,
            score="per_window" if kind == "per_window" else "per_event",
            brokers=kafka.brokers,
            topic=topic,
            features=WINDOWS[kind],
            first="km" if kind == "stateless" else "n",
            include="city" if kind == "stateless" else "city, n",
            python=warm_python(),
        )
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return path

    return write


def rides(numbers: range) -> list[Message]:
    """One ride a second, in turn from three cities; the key is the city."""
    cities = ("Bern", "Oslo", "Rome")
    return [
        Message(
            json.dumps({"city": cities[i % 3], "km": i % 7 - 3.0}).encode(),
            key=cities[i % 3].encode(),
            timestamp=START + 1000 * i,
        )
        for i in numbers
    ]


def broken(second: int) -> Message:
    return Message(b"{", key=b"Bern", timestamp=START + 1000 * second)


def tailrace(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*tailrace_command(), *arguments], capture_output=True, text=True, timeout=timeout)


def start(*arguments: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def family(pid: int) -> list[ProcessId]:
    """The process and all that descend from it."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return [ProcessId.of(pid), *(one for child in children for one in family(child))]


def values(kafka: ClientSettings, topic: str) -> list[dict[str, Any]]:
    return [json.loads(record.value or b"") for record in read_topic(kafka, topic)]


def committed(kafka: ClientSettings, name: str) -> Counter[str]:
    topics = {"predicted": "predictions", "late": "late", "dead": "dead-letters"}
    return Counter({what: count_committed(kafka, f"{name}.{topic}") for what, topic in topics.items()})


def shown(stdout: str) -> Counter[str]:
    found = re.fullmatch(r"predicted ([\d,]+)(?: windows)?  late ([\d,]+)  dead ([\d,]+)  in .* s\n", stdout)
    assert found, stdout
    numbers = (int(number.replace(",", "")) for number in found.groups())
    return Counter(dict(zip(("predicted", "late", "dead"), numbers, strict=True)))


@pytest.fixture
def rides_topic(kafka: ClientSettings, new_topic: Callable[..., str]) -> str:
    """Of 300 rides and two broken records."""
    topic = new_topic(2)
    produce(kafka, topic, [*rides(range(300)), broken(299), broken(299)])
    return topic


def test_a_bounded_run_shows_what_it_committed(
    kafka: ClientSettings, rides_topic: str, write_job: WriteJob
) -> None:
    """The second time it counts only what it has committed itself."""
    job = write_job("windowed", rides_topic, f"windowed-{rides_topic}")
    done = tailrace_here("run", str(job), "--bounded")
    assert done.returncode == 0, done.stderr
    assert shown(done.stdout) == Counter(predicted=300, dead=2) == committed(kafka, job.stem)
    assert "windows" not in done.stdout
    again = tailrace_here("run", str(job), "--bounded", "--no-progress")
    assert shown(again.stdout) == Counter(predicted=300, dead=2)


def test_a_bounded_run_counts_its_windows(
    kafka: ClientSettings, rides_topic: str, write_job: WriteJob
) -> None:
    """And says nothing but that and which topics it made, neither it nor its Java."""
    job = write_job("per_window", rides_topic, f"per-window-{rides_topic}")
    done = tailrace("run", str(job), "--bounded", "--no-progress")
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["event"] for line in done.stderr.splitlines()} == {"topic_created"}
    assert shown(done.stdout) == Counter(predicted=15, dead=2) == committed(kafka, job.stem)
    assert "windows" in done.stdout


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_commits_what_was_read_and_leaves_no_process(
    kafka: ClientSettings, new_topic: Callable[..., str], write_job: WriteJob, asked: signal.Signals
) -> None:
    """The adversary is Ctrl-C, and a supervisor that ends the whole group, Flink's processes too."""
    topic = new_topic(2)
    produce(kafka, topic, [*rides(range(90)), broken(90)])
    job = write_job("stateless", topic, f"endless-{topic}")
    running = start("run", str(job))
    try:
        assert wait_until(lambda: seen(kafka, job.stem) >= 91 or running.poll() is not None, 120, 0.5)
        everyone = family(running.pid)
        os.killpg(running.pid, asked)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130, err
    assert shown(out) == committed(kafka, job.stem) == Counter(predicted=90, dead=1)
    assert "Traceback" not in err
    assert "Exception" not in err
    assert len(everyone) > 2  # the JVM and at least one Python worker
    assert wait_until(lambda: not any(process.alive() for process in everyone), 15)


def seen(kafka: ClientSettings, name: str) -> int:
    try:
        return sum(committed(kafka, name).values())
    except Exception:  # its topics are not there yet
        return 0


def test_a_workers_error_ends_the_run_with_its_traceback(
    kafka: ClientSettings, new_topic: Callable[..., str], write_job: WriteJob, tmp_path: Path
) -> None:
    topic = new_topic()
    produce(kafka, topic, rides(range(3)))
    job = write_job("stateless", topic, f"broken-{topic}")
    damage(tmp_path / "models" / "tiny")
    done = tailrace_here("run", str(job), "--bounded", "--no-progress")
    assert (done.returncode, done.stdout) == (1, "")
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert lines[0] == "Traceback (most recent call last):"
    assert re.match(r'  File "(\S+/)?udfs/flink/functions\.py", line \d+, in open', lines[1])
    assert lines[-1].startswith("error: udfs.errors.ModelError: ")
    assert "was changed: its SHA-256 must be" in lines[-1]
    assert not re.search(r"apache_beam|^\s+at |java\.", done.stderr)


def damage(model: Path) -> None:
    file = model / "versions" / "1" / "model.joblib"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes() + b"x")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A session cluster with two slots."""
    session = SessionCluster(tmp_path / "flink", free_port(), slots=2, memory="2g")
    try:
        list(session.launch())
        session.wait()
        yield Cluster(session.url)
    finally:
        session.stop()
        shutil.rmtree(tmp_path / "flink", ignore_errors=True)


@pytest.mark.timeout(600)
def test_a_job_goes_on_from_a_savepoint_and_loses_and_doubles_nothing(
    kafka: ClientSettings,
    new_topic: Callable[..., str],
    write_job: WriteJob,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    topic = new_topic(2)
    kinds = {write_job(kind, topic, f"{kind}-{topic}"): kind for kind in ("stateless", "windowed")}
    names = [job.stem for job in kinds]
    place = ("--cluster", cluster.url)

    produce(kafka, topic, rides(range(150)))
    ids = submit_all(kinds, {}, place)
    listed = json.loads(tailrace_here("jobs", "--json", *place).stdout)
    assert {(job["id"], job["name"], job["state"]) for job in listed} == {
        (ids[name], name, "RUNNING") for name in names
    }
    refused = tailrace_here("submit", str(next(iter(kinds))), *place)
    assert refused.returncode == 2
    assert "already runs" in refused.stderr
    assert wait_until(lambda: all(count(kafka, name) > 0 for name in names), 90, 0.5)

    by_name = tailrace_here("stop", names[0], *place)
    by_id = tailrace_here("stop", ids[names[1]][:10], "--savepoint", str(tmp_path / "mine"), *place)
    assert (by_name.returncode, by_id.returncode) == (0, 0), by_name.stderr + by_id.stderr
    savepoints = {names[0]: by_name.stdout.strip(), names[1]: by_id.stdout.strip()}
    assert savepoints[names[1]].startswith(f"file:{tmp_path / 'mine'}/savepoint-")
    for job in kinds:
        planned = tailrace_here("plan", str(job), "--savepoint", savepoints[job.stem])
        assert planned.returncode == 0, planned.stderr
        _, _, verdict = planned.stdout.partition(f"From {savepoints[job.stem]}\n")
        assert {line.split()[-2:] == ["goes", "on"] for line in verdict.splitlines() if line} == {True}
    other = tailrace_here("plan", str(next(iter(kinds))), "--savepoint", savepoints[names[1]])
    assert other.returncode == 2
    assert "refused: the job has no windows of this key and kind any more" in other.stdout
    refused = tailrace_here("submit", str(next(iter(kinds))), "--savepoint", savepoints[names[1]], *place)
    assert refused.returncode == 2
    assert "(leave it behind with --allow-empty " in refused.stderr
    assert tailrace_here("jobs", *place).stdout == "No running jobs; --all shows those that have ended.\n"
    assert tailrace_here("jobs", "--all", *place).stdout.count("finished") == 2
    assert tailrace_here("stop", names[0], *place).returncode == 2

    # The last rides, a day later, close the windows of all others.
    produce(kafka, topic, [*rides(range(150, 300)), *rides(range(90_000, 90_003))])
    ids = submit_all(kinds, savepoints, place)
    assert wait_until(lambda: all(count(kafka, name) >= 300 for name in names), 120, 0.5)
    for name in names:
        cancelled = tailrace_here("stop", ids[name], "--cancel", *place)
        assert cancelled.stdout == f"cancelled {ids[name]}\n", cancelled.stderr

    sent = {
        (record.partition, record.offset): json.loads(record.value or b"")
        for record in read_topic(kafka, topic)
    }
    for name in names:
        predicted = [row for row in values(kafka, f"{name}.predictions") if in_first_hour(row)]
        locations = [(row["partition"], row["offset"]) for row in predicted]
        assert len(set(locations)) == len(locations) == 300
        assert all(sent[at]["city"] == row["city"] for at, row in zip(locations, predicted, strict=True))
        assert committed(kafka, name) - Counter(predicted=303) == Counter()
    ranks: dict[str, list[int]] = defaultdict(list)
    for row in values(kafka, f"{names[1]}.predictions"):
        if in_first_hour(row):
            ranks[row["city"]].append(row["n"])
    # The state of the windows came back: each city's count goes on where it was.
    assert {city: sorted(numbers) for city, numbers in ranks.items()} == {
        city: list(range(1, 101)) for city in ("Bern", "Oslo", "Rome")
    }

    damage(tmp_path / "models" / "tiny")
    refused = tailrace_here("submit", str(next(iter(kinds))), "--wait", *place)
    assert refused.returncode == 2
    assert "write them again: --again" in refused.stderr
    failed = tailrace_here("submit", str(next(iter(kinds))), "--wait", "--again", *place)
    assert failed.returncode == 1
    assert f"error: job {failed.stdout.strip()} failed: udfs.errors.ModelError: " in failed.stderr
    assert re.search(r'  File "(\S+/)?udfs/flink/functions\.py", line \d+, in open', failed.stderr)
    assert tailrace_here("jobs", *place).stdout.startswith("No running jobs")


def in_first_hour(row: dict[str, Any]) -> bool:
    return str(row["event_time"]) < "2023-11-14T23:13:20"


def count(kafka: ClientSettings, name: str) -> int:
    return count_committed(kafka, f"{name}.predictions")


def submit_all(jobs: dict[Path, str], savepoints: dict[str, str], place: tuple[str, ...]) -> dict[str, str]:
    """The id of each job by its name."""
    ids = {}
    for job in jobs:
        savepoint = ("--savepoint", savepoints[job.stem]) if savepoints else ()
        sent = tailrace_here("submit", str(job), *savepoint, *place)
        assert sent.returncode == 0, sent.stderr
        ids[job.stem] = sent.stdout.strip()
        assert re.fullmatch(r"[0-9a-f]{32}", ids[job.stem])
    return ids
