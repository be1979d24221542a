"""Runs the local stack for a day's work: a Kafka broker and a Flink session cluster that outlive the command.

A schema registry belongs to it where it was asked for.

`state` says what runs, so that `down` never stops a process that it did not start.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from flink_jobs.errors import InputError, WorkError
from flink_jobs.kafka import ClientSettings, answers
from flink_jobs.local.broker import Broker
from flink_jobs.local.flink import SessionCluster, overview
from flink_jobs.local.schema_registry import LocalRegistry, registry_answers
from flink_jobs.local.server import HOST
from flink_jobs.local.state import STATE_FILE, Service, Stack, load
from flink_jobs.system.fetch_registry import registry_program
from flink_jobs.system.processes import find_java, require_free_port, wait_until

REGISTRY = "schema-registry"
_CONTENTS = ("kafka", "flink", "registry", STATE_FILE, "lock")


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
    for both processes of Flink. `otlp` is the URL of an OpenTelemetry collector. With `registry_port` there
    is a schema registry.
    """

    kafka_port: int = 9092
    flink_port: int = 8081
    slots: int = 4
    memory: str = "3g"
    metrics_port: int | None = None
    java_options: str = ""
    otlp: str | None = None
    registry_port: int | None = None


def up(
    directory: Path, options: Options, report: Callable[[str], None] = print
) -> tuple[Stack, tuple[str, ...]]:
    """Starts broker, cluster and registry, waits until they answer; returns the stack and what was started.

    What runs is left as it is, and what died is started beside it, at its old address and with the options of
    before. `report` hears what is being waited for. Raises InputError when a port is in use, WorkError when
    something does not come up.
    """
    directory = directory.resolve()
    with _locked(directory):
        before = load(directory)
        if before and any(service.process.alive() for service in before.services):
            whole, started = (before, ()) if before.alive() else _repair(before, report)
            if options.registry_port is None or whole.schema_registry:
                return whole, started
            return _with_registry(whole, options.registry_port, report), (*started, REGISTRY)
        if before:
            _stop(before)
        require_free_port(options.kafka_port, "the Kafka broker", "--kafka-port")
        require_free_port(options.flink_port, "Flink's REST interface", "--flink-port")
        if options.metrics_port is not None:
            for port in (options.metrics_port, options.metrics_port + 1):
                require_free_port(port, "metrics", "--metrics-port")
        if options.registry_port is not None:
            require_free_port(options.registry_port, "the schema registry", "--registry-port")
            registry_program()
        find_java()
        fresh = _start(directory, options, report)
        return fresh, tuple(service.name for service in fresh.services)


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
        REGISTRY: lambda: registry_answers(stack.schema_registry or ""),
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
    registry = None if options.registry_port is None else _registry(directory, options.registry_port)
    if registry:
        stack = replace(stack, schema_registry=registry.url)
    try:
        for service in _launch(broker, cluster, registry):
            stack = replace(stack, services=(*stack.services, service))
            stack.save()
        report(f"waiting for the Kafka broker at {stack.brokers}")
        broker.wait()
        report(f"waiting for the Flink cluster at {stack.flink_url}")
        cluster.wait()
        if registry:
            report(f"waiting for the schema registry at {stack.schema_registry}")
            registry.wait()
    except BaseException:
        _stop(stack)
        raise
    return stack


def _registry(directory: Path, port: int) -> LocalRegistry:
    return LocalRegistry(directory=directory / "registry", port=port, detached=True)


def _launched(registry: LocalRegistry) -> Service:
    return Service(REGISTRY, registry.launch(), registry.url, str(registry.log))


def _with_registry(stack: Stack, port: int, report: Callable[[str], None]) -> Stack:
    """Beside what runs."""
    registry = _registry(stack.directory, port)
    service = _launched(registry)
    report(f"waiting for the schema registry at {registry.url}")
    try:
        registry.wait()
    except BaseException:
        registry.stop()
        raise
    stack = replace(stack, services=(*stack.services, service), schema_registry=registry.url)
    stack.save()
    return stack


def _repair(stack: Stack, report: Callable[[str], None]) -> tuple[Stack, tuple[str, ...]]:
    """Starts what died; what does not come up is stopped again, and nothing else."""
    dead = [service for service in stack.services if not service.process.alive()]
    broker = Broker(directory=stack.directory / "kafka", port=_port(stack.brokers), detached=True)
    cluster = SessionCluster(stack.directory / "flink", _port(stack.flink_url), slots=1, memory="1g")
    port = urlsplit(stack.schema_registry).port if stack.schema_registry else None
    registry = None if port is None else _registry(stack.directory, port)
    try:
        for service in dead:
            report(f"starting {service.name}, which died")
            if service.name == "kafka":
                fresh = replace(service, process=broker.launch())
            elif registry and service.name == REGISTRY:
                fresh = replace(service, process=registry.launch())
            else:
                process, log = cluster.relaunch(service.name)
                fresh = replace(service, process=process, log=str(log))
            services = tuple(fresh if each.name == service.name else each for each in stack.services)
            stack = replace(stack, services=services)
            stack.save()
        if broker.process:
            broker.wait()
        cluster.wait()
        if registry and registry.process:
            registry.wait()
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


def _launch(broker: Broker, cluster: SessionCluster, registry: LocalRegistry | None) -> Iterator[Service]:
    yield Service("kafka", broker.launch(), broker.bootstrap, str(broker.log))
    if registry:
        yield _launched(registry)
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
