"""Comparison records out of a topic or a file, and what a job's gate says of them.

records = read_comparisons("flight-delay.comparisons", brokers)
report = judge_job(Path("conf/flight_delay.yaml"), version=2, windows=12, brokers=None)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from flink_jobs.errors import InputError
from flink_jobs.jobfile import load_job
from flink_jobs.kafka import ClientSettings, read_topic
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.params import gate_of
from udfs.rollout.compare import add_up
from udfs.rollout.gate import judge_gate
from udfs.rollout.records import ComparisonRecord, GateReport


def read_comparisons(source: str, settings: ClientSettings | None) -> list[ComparisonRecord]:
    """All records of a file of JSON lines where there is one of that name, else of the topic, by window.

    Raises InputError when there is neither or a line is no record.
    """
    path = Path(source)
    if path.is_file():
        lines: Iterable[bytes] = filter(None, path.read_bytes().splitlines())
    elif settings is None or "/" in source:
        raise InputError(f"{source} must be a file of comparison records; there is no such file")
    else:
        lines = [record.value or b"" for record in read_topic(settings, source)]
    records = [_decoded(line, f"{source}, record {number}") for number, line in enumerate(lines, 1)]
    return sorted(records, key=lambda record: record.window.start)


def judge_job(
    job_file: Path,
    version: int,
    windows: int,
    brokers: str | None,
    environ: Mapping[str, str] = os.environ,
) -> GateReport:
    """The job's gate, of the last windows that the version scored in, added up; `brokers` replace its own."""
    job = load_job(job_file, environ)
    if job.comparisons is None:
        raise InputError(f"{job_file}: must have a comparisons section, which holds the gate")
    settings = client_settings(job)
    records = read_comparisons(
        job.comparisons.topic, replace(settings, brokers=brokers) if brokers else settings
    )
    about = [r for r in records if any(pair.version == version for pair in r.pairs)][-windows:]
    if not about:
        return GateReport(version, "wait", ("it has not scored beside a champion yet",))
    return judge_gate(gate_of(job.comparisons), add_up(about), version)


def _decoded(line: bytes, place: str) -> ComparisonRecord:
    try:
        return msgspec.json.decode(line, type=ComparisonRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{place}: must be a tailrace.comparison/1 record; {error}") from None
