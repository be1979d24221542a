"""Looks at what Tailrace needs on this machine and around it; each finding says what is so, and the fix.

    findings = [*on_this_machine(), broker(settings, named=True), *cluster(access)]
    any(finding.status == "wrong" for finding in findings)

The decisions are functions of what was found; only those without arguments, and those that are given an
address, look for themselves.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from flink_jobs.errors import TailraceError
from flink_jobs.kafka import ClientSettings, cluster_limits
from flink_jobs.kafka.rights import missing_rights
from flink_jobs.plan.clients import client_settings
from flink_jobs.registry import Registry
from flink_jobs.run.access import Access
from flink_jobs.run.cluster import ENDED, Cluster
from flink_jobs.run.preflight import CHECKPOINT_DIR, needed_rights, topics_read
from flink_jobs.spec import JobSpec
from flink_jobs.system.data import data_file
from flink_jobs.system.fetch_jars import wanted, wrong_jars
from flink_jobs.system.jars import connector_jars
from flink_jobs.system.processes import find_java

CONSTRAINTS = "conf/constraints.txt"
_GIGABYTE = 1024**3
_LITTLE, _TOO_LITTLE = 5 * _GIGABYTE, _GIGABYTE
_FILES = 4096
_CLOCK_ERROR_S = 2.0
_TIME_ERROR = 5  # of adjtimex(2): the clock is not synchronized


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it is as it must be, what was found, and how to put it right."""

    name: str
    status: Literal["ok", "odd", "wrong", "not asked"]
    found: str
    fix: str | None = None

    def as_data(self) -> dict[str, str | None]:
        """For JSON."""
        return asdict(self)


def on_this_machine(folder: Path) -> Iterator[Finding]:
    """All that no server is asked for; `folder` is where commands are run."""
    yield python(sys.version_info[:3], sys.executable)
    yield packages(_installed(), _tested())
    yield _java()
    yield _jars()
    yield clock(_kernel_says())
    yield disk({place: shutil.disk_usage(place).free for place in _places(folder)})
    yield rights([place for place in _places(folder) if not os.access(place, os.W_OK | os.X_OK)])
    yield open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def python(version: tuple[int, ...], executable: str) -> Finding:
    """Only 3.11 has been tested: docs/install.md says what keeps the others out."""
    found = f"{'.'.join(map(str, version))}, {executable}"
    if version[:2] == (3, 11):
        return Finding("python", "ok", found)
    return Finding("python", "wrong", found, "install Tailrace with Python 3.11")


def packages(installed: Mapping[str, str], tested: Mapping[str, str]) -> Finding:
    """Those that are here against those that Tailrace was tested with."""
    other = {name: version for name, version in installed.items() if tested.get(name, version) != version}
    flink = installed.get("apache-flink")
    if flink is None:
        return Finding("packages", "wrong", "apache-flink is missing", "pip install tailrace")
    if not other:
        return Finding("packages", "ok", f"as tested, apache-flink {flink} among them")
    listed = [f"{name} {version} (tested: {tested[name]})" for name, version in sorted(other.items())]
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    fix = f"pip install -c {data_file(CONSTRAINTS)} tailrace"
    return Finding("packages", "odd", ", ".join(listed[:5]) + more, fix)


def java(command: str, says: str) -> Finding:
    """What `java -version` says; Flink 2.3 runs on 17 and 21, Kafka's broker on 17 and newer."""
    match = re.search(r'version "(\d+)', says)
    found = f"{match[1] if match else 'unknown'}, {command}"
    if match and int(match[1]) >= 17:
        return Finding("java", "ok", found)
    fix = "install Java 17 (Debian, Ubuntu: sudo apt-get install openjdk-17-jre-headless) or set JAVA_HOME"
    return Finding("java", "wrong", found, fix)


def clock(synchronized: bool | None) -> Finding:
    """Releases count from moments of event time, and leases are judged by each machine's clock."""
    if synchronized is None:
        return Finding("clock", "not asked", "the kernel does not tell")
    if synchronized:
        return Finding("clock", "ok", "synchronized")
    fix = "run chrony or systemd-timesyncd; in a container, on its host"
    return Finding("clock", "odd", "the kernel calls it not synchronized", fix)


def disk(free: Mapping[Path, int]) -> Finding:
    """The place with least room decides."""
    place, least = min(free.items(), key=lambda entry: entry[1])
    found = f"{least / _GIGABYTE:.1f} GiB free in {place}"
    if least >= _LITTLE:
        return Finding("disk", "ok", found)
    fix = "make room for topics, checkpoints and logs, or set TMPDIR"
    return Finding("disk", "odd" if least >= _TOO_LITTLE else "wrong", found, fix)


def rights(closed: list[Path]) -> Finding:
    """Folders that are written to."""
    if not closed:
        return Finding("rights", "ok", "the folders in use can be written")
    shown = ", ".join(map(str, closed))
    return Finding("rights", "wrong", f"no right to write in {shown}", "run in a folder of your own")


def open_files(limit: int) -> Finding:
    """A broker has a file open for each segment, RocksDB for each table."""
    if limit == resource.RLIM_INFINITY or limit >= _FILES:
        return Finding(
            "open files", "ok", "no limit" if limit == resource.RLIM_INFINITY else f"up to {limit}"
        )
    return Finding("open files", "odd", f"up to {limit}", f"ulimit -n {_FILES}")


def broker(settings: ClientSettings, named: bool) -> Finding:
    """Whether it answers; nobody's fault where none was named and none runs here."""
    try:
        limits = cluster_limits(settings)
    except TailraceError as error:
        if not named:
            return Finding("broker", "not asked", "none is named, and none runs here", "tailrace up")
        return Finding("broker", "wrong", str(error), "docs/connections.md")
    longest = limits.transaction_max_timeout_ms
    shown = "" if longest is None else f", transactions of up to {longest / 1000:.0f} s"
    return Finding("broker", "ok", f"{settings.brokers} answers{shown}")


def broker_rights(job: JobSpec) -> Finding:
    """What the job may do at its brokers, but for topics that are still to be made."""
    try:
        lines = missing_rights(client_settings(job), needed_rights(job, topics_read(job)))
    except TailraceError as error:
        return Finding("kafka rights", "wrong", str(error), "docs/connections.md")
    if lines:
        return Finding("kafka rights", "wrong", f"{job.job} lacks {len(lines)}", "; ".join(lines))
    return Finding("kafka rights", "ok", f"{job.job} may read, and write in transactions")


def models(place: Path | str, named: bool) -> Finding:
    """The registry of models."""
    try:
        found = Registry(place).models()
    except TailraceError as error:
        return Finding("models", "wrong" if named else "not asked", str(error), "docs/models.md")
    except OSError as error:
        return Finding("models", "wrong", f"{place}: {error.strerror or error}", "docs/models.md")
    return Finding("models", "ok", f"{len(found)} in {place}")


def cluster(access: Access) -> Iterator[Finding]:
    """What the cluster says of itself, and how its clock and ours differ where a job tells it."""
    found = Cluster(access)
    try:
        facts = ClusterFacts(
            access.url, found.version(), found.free_slots(), any(map(found.settings().get, CHECKPOINT_DIR))
        )
        yield judge_cluster(facts, metadata.version("apache-flink"))
        running = [job for job in found.jobs() if job.state not in ENDED]
        if running:
            began = running[0].started + running[0].duration
            yield clocks(began / 1000 - time.time())
    except TailraceError as error:
        yield Finding("cluster", "wrong", str(error), "tailrace up, or --cluster; docs/connections.md")


@dataclass(frozen=True)
class ClusterFacts:
    """What matters of a cluster."""

    url: str
    version: str
    free_slots: int
    keeps_checkpoints: bool


def judge_cluster(found: ClusterFacts, ours: str) -> Finding:
    """Whether a job can be sent there."""
    told = f"{found.url}, Flink {found.version}, {found.free_slots} free slots"
    if found.version.split(".")[:2] != ours.split(".")[:2]:
        return Finding("cluster", "wrong", told, f"it must be Flink {ours}, as here")
    if not found.free_slots:
        return Finding("cluster", "odd", told, "stop a job, or add a TaskManager")
    if not found.keeps_checkpoints:
        fix = "set execution.checkpointing.dir there, or runtime.checkpoint.dir in each job file"
        return Finding("cluster", "odd", f"{told}, no folder for checkpoints", fix)
    return Finding("cluster", "ok", told)


def clocks(seconds: float) -> Finding:
    """How far the cluster's clock is ahead of this machine's."""
    found = f"the cluster's is {seconds:+.1f} s from this machine's"
    if abs(seconds) <= _CLOCK_ERROR_S:
        return Finding("clocks", "ok", found)
    fix = "synchronize both; a release's --lead must be longer than they differ"
    return Finding("clocks", "wrong", found, fix)


def _java() -> Finding:
    try:
        command = find_java()
        done = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=30)
    except TailraceError as error:
        return Finding("java", "wrong", str(error), java("", "").fix)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("java", "wrong", f"java does not run: {error}", java("", "").fix)
    return java(command, done.stderr + done.stdout)


def _jars() -> Finding:
    try:
        folder = connector_jars()[0].parents[1]
    except TailraceError as error:
        return Finding("jars", "wrong", str(error), "tailrace jars fetch")
    listed = wanted()
    if wrong := wrong_jars(folder, listed):
        return Finding("jars", "wrong", f"{wrong[0]}, in {folder}", "tailrace jars fetch")
    return Finding("jars", "ok", f"{len(listed)} in {folder}, each with its checksum")


def _places(folder: Path) -> list[Path]:
    return [folder, Path(tempfile.gettempdir())]


def _installed() -> dict[str, str]:
    return {_canonical(each.name): each.version for each in metadata.distributions() if each.name}


def _tested() -> dict[str, str]:
    lines = (line.partition("==") for line in data_file(CONSTRAINTS).read_text().splitlines())
    return {_canonical(name): version for name, _, version in lines}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _kernel_says() -> bool | None:
    """adjtimex(2) without changing anything, as `timedatectl` and chrony read it."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref((ctypes.c_char * 512)()))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR
