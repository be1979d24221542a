"""`tailrace` as a shell calls it, in a process of its own that begins with the libraries of others imported.

To import them takes most of a command's CPU. Tests of signals, and of who is killed when, do without.
"""

from __future__ import annotations

from flink_jobs.system.warm_workers import warm_python

_LIBRARIES = (
    *("confluent_kafka.admin", "fastavro", "jmespath", "msgspec", "pandas", "pydantic", "pyarrow.parquet"),
    *(
        "pyflink.datastream",
        "pyflink.java_gateway",
        "pyflink.table",
        "requests",
        "rich.console",
        "rich.table",
    ),
    *("ruamel.yaml", "scipy.stats", "sqlglot", "typer"),
)


def tailrace_command() -> list[str]:
    """What the words of a command follow."""
    return [warm_python(*_LIBRARIES), "-m", "flink_jobs.cli"]
