"""A real PostgreSQL for tests, of its own data folder, on 127.0.0.1 only; and Debezium on its log.

with PostgreSQL() as server:
    server.run("CREATE TABLE cards (id text PRIMARY KEY, tier text)")
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from flink_jobs.system.jars import PROJECT, broker_classpath
from flink_jobs.system.processes import free_port, wait_until

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
JARS = PROJECT / ".debezium"
MISSING = "PostgreSQL and Debezium are not there: run scripts/registry_env"


class PostgreSQL:
    """Logical replication is on; the user `tailrace` may do all, without a password."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="tailrace-postgresql-"))
        # It refuses to run as root.
        self._as = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []

    def __enter__(self) -> Self:
        assert PROGRAMS, MISSING
        if self._as:
            shutil.chown(self._folder, "postgres", "postgres")
        data = str(self._folder / "data")
        self._call("initdb", "-D", data, "-U", "tailrace", "--auth=trust", "--no-sync", "-E", "UTF8")
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
            "wal_level": "logical",
            "fsync": "off",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._call("pg_ctl", "-D", data, "-w", "-l", str(self._folder / "log"), "-o", options, "start")
        return self

    def __exit__(self, *_: object) -> None:
        self._call("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self._folder)

    def run(self, text: str) -> list[list[str]]:
        """What psql says of statements, as texts; a null is an empty one."""
        told = self._call(
            "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "tailrace", "-d", "postgres",
            "-v", "ON_ERROR_STOP=1", "-qAt", "-F", "\t", "-c", text,
        )  # fmt: skip
        return [line.split("\t") for line in told.splitlines()]

    def _call(self, program: str, *arguments: str) -> str:
        command = [*self._as, str(PROGRAMS[-1] / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/")
        assert done.returncode == 0, done.stderr
        return done.stdout


class Debezium:
    """Kafka Connect with Debezium's connector, which writes each change of tables to `PREFIX.public.TABLE`.

    `converter` are the settings of its converters, as Connect knows them.
    """

    def __init__(
        self, server: PostgreSQL, brokers: str, prefix: str, tables: str, converter: dict[str, str]
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tailrace-debezium-"))
        port = free_port()
        self._address = f"http://127.0.0.1:{port}"
        of_both = {f"{part}.{name}": value for part in ("key", "value") for name, value in converter.items()}
        worker = {
            "bootstrap.servers": brokers,
            "listeners": self._address,
            "offset.storage.file.filename": str(self._folder / "offsets"),
            "offset.flush.interval.ms": "1000",
            "plugin.discovery": "only_scan",
            **of_both,
        }
        connector = {
            "name": prefix,
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "tasks.max": "1",
            "plugin.name": "pgoutput",
            "database.hostname": "127.0.0.1",
            "database.port": str(server.port),
            "database.user": "tailrace",
            "database.password": "none",
            "database.dbname": "postgres",
            "topic.prefix": prefix,
            "table.include.list": tables,
            "slot.name": prefix.replace("-", "_"),
            "publication.name": f"of_{prefix.replace('-', '_')}",
            "publication.autocreate.mode": "filtered",
            "decimal.handling.mode": "string",
        }
        for name, settings in (("worker", worker), ("connector", connector)):
            lines = [f"{key}={value}" for key, value in settings.items()]
            (self._folder / f"{name}.properties").write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Self:
        assert JARS.is_dir(), MISSING
        log = (self._folder / "log").open("wb")
        files = [str(self._folder / f"{name}.properties") for name in ("worker", "connector")]
        main = "org.apache.kafka.connect.cli.ConnectStandalone"
        # What it needs to log, it has not itself.
        logs = [
            jar for jar in broker_classpath().split(os.pathsep) if "log4j" in jar or "slf4j-simple" in jar
        ]
        java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command = [*java, "-cp", os.pathsep.join([f"{JARS}/*", *logs]), main]
        self._process = subprocess.Popen([*command, *files], stdout=log, stderr=subprocess.STDOUT)
        log.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)
        shutil.rmtree(self._folder)

    def log(self) -> str:
        """What it said so far."""
        return (self._folder / "log").read_text()


__all__ = ["JARS", "MISSING", "PROGRAMS", "Debezium", "PostgreSQL", "wait_until"]
