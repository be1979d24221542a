"""Runs a Flink session cluster on this machine: a JobManager and a TaskManager from the pyflink wheel."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
from ruamel.yaml import YAML

from flink_jobs.errors import InputError, WorkError
from flink_jobs.local.server import HOST
from flink_jobs.local.variables import passed_on
from flink_jobs.system.jars import connector_jars, token_jars
from flink_jobs.system.processes import FEW_ARENAS, ProcessId, free_port, spawn, tail, wait_until

# What `tailrace` calls a process, and what Flink's scripts call it in the names of logs.
_SERVICES = {"jobmanager": "standalonesession", "taskmanager": "taskexecutor"}
_SIZE = re.compile(r"\d+\s*(m|mb|g|gb)", re.IGNORECASE)


@dataclass(frozen=True)
class Overview:
    """What the cluster says of itself."""

    slots: int
    free_slots: int
    version: str


def overview(url: str, timeout: float = 3.0) -> Overview | None:
    """The cluster at this REST address; None when it does not answer."""
    with requests.Session() as session:
        session.trust_env = False  # a proxy has no business between two processes of one machine
        try:
            answer = session.get(f"{url}/overview", timeout=timeout).json()
            return Overview(answer["slots-total"], answer["slots-available"], answer["flink-version"])
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return None


class SessionCluster:
    """A cluster that keeps settings, logs, checkpoints and savepoints in `directory`.

    Its processes outlive this one. `memory` is the whole TaskManager process, Python workers included.
    Metrics are sent to `otlp`, an OpenTelemetry collector's URL, if there is one.
    With `metrics_port` one of them answers Prometheus there, the other on the next port, on all interfaces:
    Flink's reporter has no setting for that.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        slots: int,
        memory: str,
        metrics_port: int | None = None,
        java_options: str = "",
        otlp: str | None = None,
    ) -> None:
        if not _SIZE.fullmatch(memory):
            raise InputError(f"--memory must be a size such as 3g or 4096m; got {memory!r}")
        self.directory = directory
        self.url = f"http://{HOST}:{port}"
        self.metrics_ports = () if metrics_port is None else (metrics_port, metrics_port + 1)
        self._port = port
        self._slots = slots
        self._memory = memory
        self._java_options, self._otlp = java_options, otlp
        self._processes: dict[str, tuple[ProcessId, Path]] = {}

    def launch(self) -> Iterator[tuple[str, ProcessId, Path]]:
        """Starts both processes; yields name, process and log of each as soon as it is there."""
        self._write_conf()
        for name in _SERVICES:
            yield name, *self.launch_one(name)

    def launch_one(self, name: str) -> tuple[ProcessId, Path]:
        """Starts the jobmanager or the taskmanager, for the first time or after it died."""
        log = self.directory / "log" / f"flink-tailrace-{_SERVICES[name]}-0-local.log"
        (self.directory / f"{name}.started").touch()
        script = ["bash", str(_flink_home() / "bin" / f"{name}.sh"), "start-foreground"]
        process = ProcessId.of(spawn(script, log.with_suffix(".start"), env=self._environment()).pid)
        self._processes[name] = process, log
        return process, log

    def relaunch(self, name: str) -> tuple[ProcessId, Path]:
        """Starts one that died, with the settings of before, and the same log."""
        for stale in (self.directory / "pid").glob(f"*{_SERVICES[name]}*"):
            stale.unlink()  # else the scripts number the log on
        return self.launch_one(name)

    def stop(self) -> None:
        """Ends what this object has started and is still there."""
        for process, _ in reversed(self._processes.values()):
            process.stop()

    def wait(self, timeout: float = 120.0) -> None:
        """Waits until all slots are offered. Raises WorkError with the log of what did not come up."""

        def ready() -> bool:
            found = overview(self.url, timeout=1.0)
            return found is not None and found.slots >= self._slots

        wait_until(lambda: bool(self._dead()) or ready(), timeout, interval=0.2)
        if dead := self._dead():
            raise WorkError(f"Flink's {dead[0]} ended instead of starting:\n{self._log_tails(dead[0])}")
        if not ready():
            log = self._log_tails("taskmanager")
            raise WorkError(f"Flink at {self.url} did not offer {self._slots} slots:\n{log}")

    def _log_tails(self, name: str) -> str:
        """The ends of what the start script, the JVM and Flink wrote."""
        log = self._processes[name][1]
        return "\n".join(filter(None, (tail(log.with_suffix(kind)) for kind in (".start", ".err", ".log"))))

    def _dead(self) -> list[str]:
        return [name for name, (process, _) in self._processes.items() if not process.alive()]

    def _write_conf(self) -> None:
        conf = self.directory / "conf"
        for folder in ("conf", "log", "pid", "tmp", "checkpoints", "savepoints", "ended"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
            # State and logs hold records.
            (self.directory / folder).chmod(0o700)
        for stale in (self.directory / "pid").iterdir():
            stale.unlink()  # else the scripts number the logs on
        shipped = _flink_home() / "conf"
        # JSON strings are YAML strings.
        lines = [f"{key}: {json.dumps(value)}\n" for key, value in self._settings(shipped).items()]
        (conf / "config.yaml").write_text("".join(lines))
        shutil.copyfile(shipped / "log4j-console.properties", conf / "log4j-console.properties")

    def _settings(self, shipped: Path) -> dict[str, str]:
        java_options = YAML(typ="safe").load(shipped / "config.yaml")["env"]["java"]["opts"]["all"]
        return {
            "env.java.opts.all": f"{java_options} {self._java_options}".rstrip(),
            "env.stdout-err.redirect-to-file": "true",
            "jobmanager.rpc.address": HOST,
            "jobmanager.rpc.port": str(free_port()),
            "jobmanager.bind-host": HOST,
            "jobmanager.memory.process.size": "1g",
            "taskmanager.host": HOST,
            "taskmanager.bind-host": HOST,
            "taskmanager.numberOfTaskSlots": str(self._slots),
            "taskmanager.memory.process.size": self._memory,
            # All on this machine: a process that does not answer is dead, and its jobs can go on elsewhere.
            "heartbeat.interval": "2 s",
            "rest.address": HOST,
            "rest.bind-address": HOST,
            "rest.port": str(self._port),
            "rest.bind-port": str(self._port),
            "io.tmp.dirs": str(self.directory / "tmp"),
            "web.upload.dir": str(self.directory / "tmp"),
            "execution.checkpointing.dir": (self.directory / "checkpoints").as_uri(),
            "execution.checkpointing.savepoint-dir": (self.directory / "savepoints").as_uri(),
            # Who is not there when the JobManager dies has been running.
            "jobmanager.archive.fs.dir": (self.directory / "ended").as_uri(),
            # With _classpath: each job would load the classes of its jars anew and never free them, and the
            # TaskManager would be out of metaspace after five jobs.
            "classloader.resolve-order": "parent-first",
            "python.executable": sys.executable,
            "python.client.executable": sys.executable,
            **self._prometheus(),
            **(open_telemetry(self._otlp) if self._otlp else {}),
        }

    def _prometheus(self) -> dict[str, str]:
        if not self.metrics_ports:
            return {}
        settings = {
            "factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory",
            "port": "-".join(map(str, self.metrics_ports)),
            "filterLabelValueCharacters": "false",  # else the job flight-delay is flight_delay
        }
        return {f"metrics.reporter.prom.{key}": value for key, value in settings.items()}

    def _environment(self) -> dict[str, str]:
        return {**FEW_ARENAS, **passed_on(os.environ)} | {
            "FLINK_CONF_DIR": str(self.directory / "conf"),
            "FLINK_LOG_DIR": str(self.directory / "log"),
            "FLINK_PID_DIR": str(self.directory / "pid"),
            "FLINK_IDENT_STRING": "tailrace",
            "HOSTNAME": "local",
            # Workers import the code that came with their job, not what lies where the cluster was started.
            "PYTHONSAFEPATH": "1",
            "HADOOP_CLASSPATH": _classpath(),  # what Flink's scripts add to the class path as it is
        }


def open_telemetry(url: str) -> dict[str, str]:
    """Flink's settings for a collector that takes OTLP over HTTP there."""
    settings = {
        "factory.class": "org.apache.flink.metrics.otel.OpenTelemetryMetricReporterFactory",
        "exporter.protocol": "HTTP",
        "exporter.endpoint": url,
        "exporter.compression": "gzip",
        "service.name": "tailrace",
        "interval": "10 s",
    }
    return {f"metrics.reporter.otel.{key}": value for key, value in settings.items()}


def _classpath() -> str:
    """The jars that every job of Tailrace brings along."""
    jars = [*(_flink_home() / "opt").glob("flink-python-*.jar"), *connector_jars(), *token_jars()]
    return os.pathsep.join([*map(str, jars), *filter(None, [os.environ.get("HADOOP_CLASSPATH")])])


def _flink_home() -> Path:
    spec = importlib.util.find_spec("pyflink")
    if spec is None or spec.origin is None:
        raise InputError(
            "the package apache-flink is missing; install Tailrace with pip, or run scripts/test"
        )
    return Path(spec.origin).parent
