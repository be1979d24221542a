"""Says how a job on a cluster does, from what Flink's REST interface and the brokers answer.

found = vitals(answers_of(cluster, job.id), lags, now_ms)
found.state, found.lag, found.failure
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flink_jobs.run.cluster import ENDED, Cluster, failure_reason, newest_done, subtask_metrics

# Heartbeats come every 10 s unless the cluster says otherwise.
SILENT_MS = 30_000
_OFFSET = re.compile(r"\.KafkaSourceReader\.topic\..+\.partition\.(\d+)\.currentOffset$")
# By vertex and name.
Metrics = Mapping[str, Mapping[str, float]]
_COUNTED = ("predicted", "dead", "late")
_WANTED = re.compile(
    r"\.currentOffset$|\.currentOutputWatermark$|\.numRecords(In|Out)PerSecond$"
    r"|\.pendingRecords$|\.tailrace\.(predicted|dead|late|worker_bytes)$"
)
_LOST = (
    "no longer reachable",
    "Heartbeat of TaskManager",
    "Connection unexpectedly closed by remote task manager",
    "TaskManager is shutting down",
    "The TaskExecutor is shutting down",
    "LostTaskManager",
)


@dataclass(frozen=True)
class Answers:
    """What the REST interface said: of the job, its exceptions and checkpoints, and of the TaskManagers.

    `metrics` are by vertex and name, over all of its subtasks: sums, the newest offset, the oldest watermark.
    `own` are the job's.
    """

    job: Mapping[str, Any]
    exceptions: Mapping[str, Any]
    checkpoints: Mapping[str, Any]
    taskmanagers: Sequence[Mapping[str, Any]]
    metrics: Metrics = field(default_factory=dict)
    own: Mapping[str, float] = field(default_factory=dict)


def answers_of(cluster: Cluster, job_id: str) -> Answers:
    """Asks the cluster. Raises WorkError when it does not answer."""
    path = f"/jobs/{job_id}"
    job = cluster.get(path)
    own = {each["id"]: float(each["value"]) for each in cluster.get(f"{path}/metrics?get=numRestarts")}
    return Answers(
        job,
        cluster.get(f"{path}/exceptions"),
        cluster.get(f"{path}/checkpoints"),
        cluster.get("/taskmanagers")["taskmanagers"],
        {vertex["id"]: _metrics(cluster, job_id, vertex["id"]) for vertex in job["vertices"]},
        own,
    )


def _metrics(cluster: Cluster, job_id: str, vertex: str) -> dict[str, float]:
    found = subtask_metrics(cluster.get, job_id, vertex, _WANTED.search, "min,max,sum")
    return {each["id"]: float(each[_aggregate(each["id"])]) for each in found}


def _aggregate(metric: str) -> str:
    if metric.endswith(".currentOffset"):
        return "max"
    return "min" if metric.endswith(".currentOutputWatermark") else "sum"


@dataclass(frozen=True)
class Lag:
    """Records of a partition that wait, and for how long the first of them has, in seconds."""

    partition: int
    records: int
    seconds: float


@dataclass(frozen=True)
class Failure:
    """The last one: when, in ms since the epoch, and what in words."""

    at: int
    reason: str


@dataclass(frozen=True)
class Checkpoint:
    """The newest completed one; `failed` counts those that failed since the start."""

    at: int
    bytes: int
    path: str
    failed: int


@dataclass(frozen=True)
class Vitals:
    """How a job does. Rates are records a second; shares are of the records since the last restart.

    `pending` are the records that Kafka's consumers knew to wait when they last fetched.
    """

    id: str
    name: str
    state: str
    words: str
    healthy: bool
    since: int
    uptime_s: float
    restarts: int | None
    failure: Failure | None
    checkpoint: Checkpoint | None
    lag: tuple[Lag, ...] | None
    pending: int | None
    rate_in: float | None
    rate_out: float | None
    late_share: float | None
    dead_share: float | None
    watermark_behind_s: float | None
    worker_bytes: int | None

    @property
    def waiting(self) -> int | None:
        return None if self.lag is None else sum(lag.records for lag in self.lag)


def vitals(found: Answers, lag: Sequence[Lag] | None, now: int) -> Vitals:
    """`lag` is what the brokers say, None where they do not; `now` is in ms since the epoch."""
    job = found.job
    state, words, healthy = standing(found, now)
    counts = counted(found.metrics)
    read = sum(counts.values())
    running = healthy and job["state"] == "RUNNING"
    return Vitals(
        id=job["jid"],
        name=job["name"],
        state=state,
        words=words,
        healthy=healthy,
        since=(since := int(job["timestamps"].get(job["state"]) or job["start-time"])),
        uptime_s=max(0.0, (now - since) / 1000) if running else 0.0,
        restarts=_whole(found.own.get("numRestarts")),
        failure=last_failure(found.exceptions),
        checkpoint=newest_checkpoint(found.checkpoints),
        lag=tuple(lag) if lag is not None else None,
        pending=_whole(_of_source(found.metrics, ".pendingRecords")) if running else None,
        rate_in=_of_source(found.metrics, ".numRecordsInPerSecond") if running else None,
        rate_out=_rate_out(found.metrics) if running else None,
        late_share=counts["late"] / read if read else None,
        dead_share=counts["dead"] / read if read else None,
        watermark_behind_s=_watermark_behind(found.metrics, now) if running else None,
        worker_bytes=_worker_bytes(found.metrics) if running else None,
    )


def standing(found: Answers, now: int) -> tuple[str, str, bool]:
    """The state in a word, what it means where Flink's own word would not say it, and whether it is well."""
    job = found.job
    state = str(job["state"])
    if state in ENDED:
        return state.lower(), "", state in ("FINISHED", "CANCELED")
    if state != "RUNNING":
        return state.lower(), _waits(found, now), False
    tasks = {kind: count for kind, count in job["status-counts"].items() if count}
    if not alive(found.taskmanagers, now):
        return "no TaskManager", f"Flink calls it running; {_waits(found, now)}", False
    if all(kind in ("RUNNING", "FINISHED") for kind in tasks):
        return "running", "", True
    if tasks.keys() & {"CREATED", "SCHEDULED"} and (waits := _waits(found, now)):
        return "waiting", waits, False
    counts = ", ".join(f"{count} {kind.lower()}" for kind, count in sorted(tasks.items()))
    return "starting", f"tasks: {counts}", False


def alive(taskmanagers: Iterable[Mapping[str, Any]], now: int) -> list[Mapping[str, Any]]:
    """Those that were heard of lately; what Flink calls the time since then is the moment itself."""
    return [each for each in taskmanagers if now - each["timeSinceLastHeartbeat"] < SILENT_MS]


def _waits(found: Answers, now: int) -> str:
    there = alive(found.taskmanagers, now)
    silent = len(found.taskmanagers) - len(there)
    if not there:
        gone = f"{silent} silent for more than {SILENT_MS // 1000} s" if silent else "none is registered"
        return f"it waits for a TaskManager: {gone}"
    needed = max((int(vertex["parallelism"]) for vertex in found.job["vertices"]), default=1)
    slots = sum(int(each["slotsNumber"]) for each in there)
    return f"it waits for {needed} task slots; the TaskManagers have {slots}" if slots < needed else ""


def last_failure(exceptions: Mapping[str, Any]) -> Failure | None:
    """The newest failure in words: a lost TaskManager, a worker's own error, or the innermost cause."""
    entries = exceptions.get("exceptionHistory", {}).get("entries", [])
    if not entries:
        return None
    newest = max(entries, key=lambda entry: int(entry["timestamp"]))
    return Failure(int(newest["timestamp"]), in_words(str(newest["stacktrace"]), newest.get("taskManagerId")))


def in_words(trace: str, taskmanager: str | None = None) -> str:
    """Why Flink stopped the job's tasks."""
    if any(sign in trace for sign in _LOST):
        named = re.search(r"(?:TaskManager with id|task manager|TaskExecutor\(?) ?'?([\w.:/@-]+)", trace)
        which = taskmanager or (named[1] if named else None)
        return f"a TaskManager was lost{f' ({which})' if which else ''}"
    if "NoResourceAvailableException" in trace:
        return "no TaskManager had free slots for the tasks"
    if "Exceeded checkpoint tolerable failure threshold" in trace:
        return "too many checkpoints failed in a row"
    return failure_reason(trace)


def newest_checkpoint(checkpoints: Mapping[str, Any]) -> Checkpoint | None:
    """The newest completed one, be it a savepoint; None before the first."""
    if newest := newest_done(checkpoints):
        size, path = int(newest.get("state_size") or 0), str(newest.get("external_path") or "")
        return Checkpoint(int(newest["latest_ack_timestamp"]), size, path, _failed(checkpoints))
    restored = (checkpoints.get("latest") or {}).get("restored")
    if not restored:
        return None
    at, path = int(restored["restore_timestamp"]), str(restored["external_path"])
    return Checkpoint(at, 0, path, _failed(checkpoints))


def _failed(checkpoints: Mapping[str, Any]) -> int:
    return int((checkpoints.get("counts") or {}).get("failed", 0))


def read_up_to(metrics: Metrics) -> dict[int, int]:
    """By partition, the offset after the last record that the job has read since its start."""
    found: dict[int, int] = {}
    for name, value in _named(metrics, _is_source):
        match = _OFFSET.search(name)
        if match and value >= 0:
            number = int(match[1])
            found[number] = max(found.get(number, 0), int(value) + 1)
    return found


def counted(metrics: Metrics) -> dict[str, int]:
    """Predictions, dead letters and late records since the last restart."""
    return {name: int(sum(_values(metrics, f".tailrace.{name}"))) for name in _COUNTED}


def _worker_bytes(metrics: Metrics) -> int | None:
    """Of all Python workers: each function tells its process's own, and those of a slot share one."""
    return int(max(_values(metrics, ".worker_bytes"), default=0)) or None


def _of_source(metrics: Metrics, ending: str) -> float | None:
    return _total(_values(metrics, ending, _is_source))


def _rate_out(metrics: Metrics) -> float | None:
    """Of all operators that write."""
    return _total(_values(metrics, ".numRecordsOutPerSecond", lambda name: "Writer." in name))


def _watermark_behind(metrics: Metrics, now: int) -> float | None:
    marks = [value for value in _values(metrics, ".currentOutputWatermark", _is_source) if value > 0]
    return (now - min(marks)) / 1000 if marks else None


def _values(metrics: Metrics, ending: str, of: Callable[[str], bool] = lambda _: True) -> list[float]:
    """Of all metrics whose names end so, and are such."""
    return [value for name, value in _named(metrics, of) if name.endswith(ending)]


def _named(metrics: Metrics, of: Callable[[str], bool]) -> Iterator[tuple[str, float]]:
    return (each for values in metrics.values() for each in values.items() if of(each[0]))


def _is_source(metric: str) -> bool:
    """Whether it is of the source whose records are scored: labels are read by one of their own."""
    return metric.startswith("Source__") and metric.partition(".")[0].endswith("_source")


def _total(values: Sequence[float]) -> float | None:
    return sum(values) if values else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
