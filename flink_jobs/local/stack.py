"""Runs the local stack for a day's work: a Kafka broker and a Flink session cluster that outlive the command.

`state` says what runs, so that `down` never stops a process that it did not start.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from flink_jobs.errors import InputError, WorkError
from flink_jobs.kafka import ClientSettings, answers
from flink_jobs.local.broker import HOST, Broker
from flink_jobs.local.flink import SessionCluster, overview
from flink_jobs.local.state import STATE_FILE, Service, Stack, load
from flink_jobs.system.processes import find_java, require_free_port, wait_until

_CONTENTS = ("kafka", "flink", STATE_FILE, "lock")


@dataclass(frozen=True)
class Health:
    """Whether a service's process runs, and whether it answers at its address."""

    service: Service
    alive: bool
    healthy: bool


@dataclass(frozen=True)
class Options:
    """How `up` starts: ports on 127.0.0.1, task slots, memory of the TaskManager as Flink writes it (3g).

    `metrics_port` is the first of two for Prometheus, which are open on all interfaces. `java_options` are
    for both processes of Flink. `otlp` is the URL of an OpenTelemetry collector.
    """

    kafka_port: int = 9092
    flink_port: int = 8081
    slots: int = 4
    memory: str = "3g"
    metrics_port: int | None = None
    java_options: str = ""
    otlp: str | None = None


def up(
    directory: Path, options: Options, report: Callable[[str], None] = print
) -> tuple[Stack, tuple[str, ...]]:
    """Starts broker and cluster and waits until both answer; returns the stack and what this call started.

    What runs is left as it is, and what died is started beside it, at its old address and with the options of
    before. `report` hears what is being waited for. Raises InputError when a port is in use, WorkError when
    something does not come up.
    """
    directory = directory.resolve()
    with _locked(directory):
        before = load(directory)
        if before and before.alive():
            return before, ()
        if before and any(service.process.alive() for service in before.services):
            return _repair(before, report)
        if before:
            _stop(before)
        require_free_port(options.kafka_port, "the Kafka broker", "--kafka-port")
        require_free_port(options.flink_port, "Flink's REST interface", "--flink-port")
        if options.metrics_port is not None:
            for port in (options.metrics_port, options.metrics_port + 1):
                require_free_port(port, "metrics", "--metrics-port")
        find_java()
        started = _start(directory, options, report)
        return started, tuple(service.name for service in started.services)


def down(directory: Path, *, purge: bool = False) -> list[str]:
    """Stops what `up` started; returns the names of what still ran. `purge` deletes its data too."""
    directory = directory.resolve()
    if not directory.is_dir():
        return []
    with _locked(directory):
        stack = load(directory)
        stopped = _stop(stack) if stack else []
        if purge:
            _purge(directory)
    return stopped


def health(stack: Stack) -> list[Health]:
    """The state of each service."""
    cluster = overview(stack.flink_url)
    checks = {
        "kafka": lambda: answers(ClientSettings(stack.brokers)),
        "jobmanager": lambda: cluster is not None,
        "taskmanager": lambda: cluster is not None and cluster.slots > 0,
    }
    return [_health(service, checks[service.name]) for service in stack.services]


def _health(service: Service, check: Callable[[], bool]) -> Health:
    alive = service.process.alive()
    return Health(service, alive, alive and check())


def _start(directory: Path, options: Options, report: Callable[[str], None]) -> Stack:
    broker = Broker(directory=directory / "kafka", port=options.kafka_port, detached=True)
    cluster = SessionCluster(
        directory / "flink",
        options.flink_port,
        options.slots,
        options.memory,
        options.metrics_port,
        options.java_options,
        options.otlp,
    )
    metrics = tuple(f"{HOST}:{port}" for port in cluster.metrics_ports)
    stack = Stack(directory, broker.bootstrap, cluster.url, metrics=metrics)
    try:
        for service in _launch(broker, cluster):
            stack = replace(stack, services=(*stack.services, service))
            stack.save()
        report(f"waiting for the Kafka broker at {stack.brokers}")
        broker.wait()
        report(f"waiting for the Flink cluster at {stack.flink_url}")
        cluster.wait()
    except BaseException:
        _stop(stack)
        raise
    return stack


def _repair(stack: Stack, report: Callable[[str], None]) -> tuple[Stack, tuple[str, ...]]:
    """Starts what died; what does not come up is stopped again, and nothing else."""
    dead = [service for service in stack.services if not service.process.alive()]
    broker = Broker(directory=stack.directory / "kafka", port=_port(stack.brokers), detached=True)
    cluster = SessionCluster(stack.directory / "flink", _port(stack.flink_url), slots=1, memory="1g")
    try:
        for service in dead:
            report(f"starting {service.name}, which died")
            if service.name == "kafka":
                fresh = replace(service, process=broker.launch())
            else:
                process, log = cluster.relaunch(service.name)
                fresh = replace(service, process=process, log=str(log))
            services = tuple(fresh if each.name == service.name else each for each in stack.services)
            stack = replace(stack, services=services)
            stack.save()
        if broker.process:
            broker.wait()
        cluster.wait()
        if "jobmanager" in {service.name for service in dead}:
            report("waiting for the slots of jobs that are gone")
            wait_until(lambda: _all_free(stack), 60, interval=0.5)
    except BaseException:
        for service in stack.services:
            if service.name in {each.name for each in dead}:
                service.process.stop()
        raise
    return stack, tuple(service.name for service in dead)


def _all_free(stack: Stack) -> bool:
    found = overview(stack.flink_url)
    return found is not None and 0 < found.slots == found.free_slots


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _launch(broker: Broker, cluster: SessionCluster) -> Iterator[Service]:
    yield Service("kafka", broker.launch(), broker.bootstrap, str(broker.log))
    for name, process, log in cluster.launch():
        yield Service(name, process, cluster.url, str(log))


def _stop(stack: Stack) -> list[str]:
    """The cluster before the broker, so that its jobs do not see the broker go."""
    stopped = [service.name for service in reversed(stack.services) if service.process.stop()]
    (stack.directory / STATE_FILE).unlink(missing_ok=True)
    return stopped


def _purge(directory: Path) -> None:
    """Deletes what `up` made and nothing else: the directory may be anyone's."""
    for name in _CONTENTS:
        path = directory / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        directory.rmdir()


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (directory / "lock").open("a")
    except OSError as error:
        raise InputError(
            f"the directory of the local stack must be writable; got {directory}: {error}"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkError(f"another `tailrace up` or `down` is at work in {directory}") from error
        yield
