"""Finds the jars that the pyflink wheel lacks: Kafka connectors and a Kafka broker."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from flink_jobs.errors import InputError
from flink_jobs.system.data import PROJECT, data_file, is_checkout

__all__ = ["PROJECT", "broker_classpath", "connector_jars", "jar_folder", "jar_folders", "token_jars"]

SUMS = "conf/jars.sha256"


def connector_jars() -> list[Path]:
    """The Kafka connector for Flink SQL, and zstd. Raises InputError when one was not fetched."""
    return [_find("flink", name)[0] for name in ("flink-sql-connector-kafka-*.jar", "zstd-jni-*.jar")]


def token_jars() -> list[Path]:
    """What the connector's Kafka client reads tokens with, and does not bring along: Jackson, jose4j."""
    names = ("jackson-annotations", "jackson-core", "jackson-databind", "jose4j")
    return [_find("kafka", f"{name}-*.jar")[0] for name in names]


def broker_classpath() -> str:
    """The class path of a Kafka broker. Raises InputError when its jars were not fetched."""
    jars = _find("kafka", "kafka_*.jar")
    return os.pathsep.join(str(jar) for jar in sorted(jars[0].parent.glob("*.jar")))


def jar_folder() -> Path:
    """Where jars are fetched to: TAILRACE_JARS, else a folder of the user's cache for this very list."""
    return Path(configured) if (configured := os.environ.get("TAILRACE_JARS")) else _cached()


def _cached() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or ""
    parent = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
    version = hashlib.sha256(data_file(SUMS).read_bytes()).hexdigest()[:12]
    return parent / "tailrace" / f"jars-{version}"


def jar_folders() -> list[Path]:
    """Where jars are looked for, in this order."""
    if configured := os.environ.get("TAILRACE_JARS"):
        return [Path(configured)]
    ours = [PROJECT / ".jars"] if is_checkout(PROJECT) else []
    return list(dict.fromkeys([*ours, Path.cwd() / ".jars", _cached()]))


def _find(folder: str, pattern: str) -> list[Path]:
    for parent in jar_folders():
        if found := sorted((parent / folder).glob(pattern)):
            return found
    looked_in = ", ".join(str(parent / folder) for parent in jar_folders())
    raise InputError(f"no {pattern} found; looked in {looked_in}; run `tailrace jars fetch`")
