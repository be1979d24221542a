"""Talks to a Flink cluster through its REST interface: jobs, their counters and failures, savepoints."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from flink_jobs.errors import InputError, WorkError
from flink_jobs.run.access import Access

ENDED = ("FINISHED", "CANCELED", "FAILED", "SUSPENDED")
# Flink says it with a hash in the place of the operator's name.
_UNKNOWN_STATE = "Cannot map checkpoint/savepoint state for operator"
_OPTION = re.compile(r"Could not parse value '.*' for key '[^'\n]+'")
# Topic, of Flink's words for the partition.
_TOO_LARGE = re.compile(r"Failed to send data to Kafka (\S+)-\d+@.*?\.RecordTooLargeException", re.DOTALL)
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)+?\S.*$", re.MULTILINE)
# What is left of an alert for a client certificate that is missing, depending on who is faster.
_HUNG_UP = (
    *("CERTIFICATE_REQUIRED", "certificate required", "HANDSHAKE_FAILURE"),
    *("ConnectionReset", "BrokenPipe", "RemoteDisconnected", "SSLEOFError"),
)


@dataclass(frozen=True)
class JobInfo:
    """One job; `started` is in ms since the epoch, `duration` in ms."""

    id: str
    name: str
    state: str
    started: int
    duration: int


class Cluster:
    """The cluster at an address. Raises WorkError when it does not answer."""

    def __init__(self, access: Access | str, timeout: float = 10.0) -> None:
        self.access = access if isinstance(access, Access) else Access(_with_scheme(access))
        self.url = self.access.url.rstrip("/")
        self._timeout = timeout
        self._session = self.access.session()

    def jobs(self) -> list[JobInfo]:
        """All jobs that the cluster remembers, the newest first."""
        found = self.get("/jobs/overview")["jobs"]
        jobs = [JobInfo(j["jid"], j["name"], j["state"], j["start-time"], j["duration"]) for j in found]
        return sorted(jobs, key=lambda job: -job.started)

    def find(self, job: str) -> JobInfo:
        """The job of this id or beginning of an id, or the running one of this name."""
        jobs = self.jobs()
        matching = [j for j in jobs if j.id.startswith(job)] or [
            j for j in jobs if j.name == job and j.state not in ENDED
        ]
        if len({j.id for j in matching}) == 1:
            return matching[0]
        if matching:
            raise InputError(f"{job!r} must name one job; there are {', '.join(j.id for j in matching)}")
        known = ", ".join(f"{j.name} ({j.state.lower()})" for j in jobs) or "none"
        raise InputError(f"no running job {job!r} on {self.url}; jobs there: {known}")

    def free_slots(self) -> int:
        return int(self.get("/overview")["slots-available"])

    def version(self) -> str:
        """Flink's version, such as 2.3.0."""
        return str(self.get("/overview")["flink-version"])

    def settings(self) -> dict[str, str]:
        """The JobManager's own Flink options."""
        return {entry["key"]: entry["value"] for entry in self.get("/jobmanager/config")}

    def parameters(self, job_id: str) -> dict[str, str]:
        """The job's own parameters, which it was submitted with."""
        config = self.get(f"/jobs/{job_id}/config").get("execution-config") or {}
        return {str(key): str(value) for key, value in (config.get("user-config") or {}).items()}

    def state(self, job_id: str) -> str:
        return str(self.get(f"/jobs/{job_id}")["state"])

    def all_running(self, job_id: str) -> bool:
        """Whether every task of the job runs or has ended, not only the job as a whole."""
        tasks = self.get(f"/jobs/{job_id}")["status-counts"]
        return all(state in ("RUNNING", "FINISHED") for state, count in tasks.items() if count)

    def stop(self, job_id: str, directory: str | None, *, drain: bool = False, wait: float = 300.0) -> str:
        """Stops the job with a savepoint in `directory`, and gives the savepoint's path."""
        request = {"drain": drain} | ({"targetDirectory": directory} if directory else {})
        trigger = self._post(f"/jobs/{job_id}/stop", request)["request-id"]
        return self._taken(job_id, trigger, wait)

    def cancel(self, job_id: str) -> None:
        self._call("PATCH", f"/jobs/{job_id}?mode=cancel")

    def failure(self, job_id: str) -> str | None:
        """The newest exception of the job with its stack trace, if there is one."""
        history = self.get(f"/jobs/{job_id}/exceptions").get("exceptionHistory", {})
        entries = history.get("entries", [])
        return str(entries[0]["stacktrace"]) if entries else None

    def counts(self, job_id: str) -> Counter[str]:
        """Tailrace's own counters, summed over all workers; `read` is what the source has emitted."""
        totals: Counter[str] = Counter()
        for vertex in self.get(f"/jobs/{job_id}")["vertices"]:
            for metric in subtask_metrics(self.get, job_id, vertex["id"], _counter_name, "sum"):
                totals[_counter_name(metric["id"]) or ""] += int(metric["sum"])
        return totals

    def get(self, path: str) -> Any:
        """What the REST interface answers at this path. Raises WorkError where it refuses."""
        return self._call("GET", path)

    def savepoint(self, job_id: str, directory: str | None, wait: float = 300.0) -> str:
        """Takes a savepoint of a job that goes on, and gives its path."""
        request = {"cancel-job": False} | ({"target-directory": directory} if directory else {})
        trigger = self._post(f"/jobs/{job_id}/savepoints", request)["request-id"]
        return self._taken(job_id, trigger, wait)

    def _taken(self, job_id: str, trigger: str, wait: float) -> str:
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            answer = self.get(f"/jobs/{job_id}/savepoints/{trigger}")
            if answer["status"]["id"] == "COMPLETED":
                return self._savepoint(answer["operation"])
            time.sleep(0.2)
        raise WorkError(f"the savepoint of job {job_id} was not done after {wait:.0f} s")

    def _savepoint(self, operation: dict[str, Any]) -> str:
        if "location" in operation:
            return str(operation["location"])
        trace = operation.get("failure-cause", {}).get("stack-trace", "")
        raise WorkError(f"the savepoint failed: {root_cause(trace)}")

    def _post(self, path: str, body: object) -> Any:
        return self._call("POST", path, body)

    def text(self, path: str) -> str:
        """What the REST interface answers at this path, as text: a log."""
        return self._answer("GET", path, None).text

    def _call(self, method: str, path: str, body: object = None) -> Any:
        answer = self._answer(method, path, body)
        return _json(answer, self.url) if answer.content else None

    def _answer(self, method: str, path: str, body: object) -> requests.Response:
        try:
            answer = self._session.request(method, self.url + path, json=body, timeout=self._timeout)
        except requests.RequestException as error:
            if problem := _tls_problem(error, self.access):
                raise WorkError(f"{self.url} {problem}") from error
            reason = type(error).__name__
            raise WorkError(
                f"no Flink cluster answers at {self.url} ({reason}); `tailrace up` starts one"
            ) from error
        if answer.status_code in (401, 403):
            raise WorkError(f"{self.url} refuses {_who(self.access)} (HTTP {answer.status_code})")
        if answer.status_code >= 400:
            raise WorkError(f"{self.url}{path}: {_first_error(answer)}")
        return answer


def subtask_metrics(
    get: Callable[[str], Any], job_id: str, vertex: str, wanted: Callable[[str], object], aggregates: str
) -> Iterator[dict[str, Any]]:
    """Of all subtasks of a vertex: `id`, and a number for each of the aggregates, as in min,max,sum.

    `get` asks the cluster; metrics of whose names `wanted` makes nothing are left out.
    """
    path = f"/jobs/{job_id}/vertices/{vertex}/subtasks/metrics"
    names = [each["id"] for each in get(path) if wanted(each["id"])]
    for start in range(0, len(names), 40):
        query = ",".join(quote(name, safe="") for name in names[start : start + 40])
        yield from get(f"{path}?get={query}&agg={aggregates}")


def _with_scheme(url: str) -> str:
    return url if "://" in url else f"http://{url}"


def _json(answer: requests.Response, url: str) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise WorkError(f"{url} is not Flink's REST interface: it answers no JSON") from None


def _who(access: Access) -> str:
    if access.token:
        return "the token"
    return f"the password of user {access.username!r}" if access.username else "requests without a login"


def _tls_problem(error: Exception, access: Access) -> str | None:
    """The reason out of the many layers around it."""
    text = str(error)
    if verified := re.search(r"certificate verify failed: ([^(']+)", text):
        trusted = access.ca_file or "this machine's authorities"
        return f"has a certificate that is not valid by {trusted}: {verified[1].strip()}"
    if access.secure and access.certificate_file is None and any(end in text for end in _HUNG_UP):
        return "asks for a client certificate: cluster.certificate_file and key_file must be given"
    return f"cannot be talked to by TLS: {text}" if "SSLError" in text else None


def worker_traceback(stack_trace: str) -> str | None:
    """The Python worker's own traceback inside of a Java stack trace."""
    found = _TRACEBACK.findall(stack_trace)
    return str(found[-1]) if found else None


def root_cause(stack_trace: str) -> str:
    """The innermost cause's own line of a Java stack trace, or one around it that says the same and more."""
    if option := _OPTION.search(stack_trace):
        return option[0]
    if refused := _TOO_LARGE.search(stack_trace):
        return (
            f"topic {refused[1]} refuses a record as larger than its max.message.bytes; the job goes on when "
            "it takes it"
        )
    if _UNKNOWN_STATE in stack_trace:
        return (
            "the savepoint holds state that this job has no place for: since it was taken, a key of windows, "
            "or drift, comparisons or labels were removed or changed; tailrace plan --savepoint says which. "
            "Go on with the job as it was, or start without the savepoint"
        )
    lines = stack_trace.strip().splitlines() or ["unknown"]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    chosen = causes.pop() if causes else lines[0]
    while causes and _says_more(causes[-1], chosen):
        chosen = causes.pop()
    return chosen


def _says_more(outer: str, inner: str) -> bool:
    """Whether `outer` ends with the message of `inner`, and is not just `inner` wrapped."""
    message = inner.partition(": ")[2]
    return bool(message) and outer.endswith(message) and not outer.endswith(inner)


def failure_reason(stack_trace: str) -> str:
    """What a person should read first: the worker's own error if there is one, else the innermost cause."""
    python = worker_traceback(stack_trace)
    return python.splitlines()[-1] if python else root_cause(stack_trace)


def _counter_name(metric: str) -> str | None:
    """`predicted` of `….tailrace.predicted`, `read` of the source's output; None for all others."""
    if ".tailrace." in metric:
        return metric.rsplit(".", 1)[1]
    records = metric.startswith("Source__") and metric.endswith(".numRecordsIn")
    beside = "labels" in metric or "_table_" in metric
    return "read" if records and not beside else None


def _first_error(answer: requests.Response) -> str:
    try:
        errors = answer.json().get("errors", [])
    except ValueError:
        errors = [answer.text]
    return root_cause("\n".join(map(str, errors)))[:500]


def newest_done(checkpoints: Mapping[str, Any], *, kept: bool = False) -> Mapping[str, Any] | None:
    """The newest completed checkpoint or savepoint that the cluster tells of; `kept`: that has a place."""
    latest = checkpoints.get("latest") or {}
    done = [each for each in (latest.get("completed"), latest.get("savepoint")) if each]
    done = [each for each in done if each["external_path"]] if kept else done
    return max(done, key=lambda each: int(each["latest_ack_timestamp"]), default=None)
