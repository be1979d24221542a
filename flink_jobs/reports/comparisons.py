"""Comparison records out of a topic or a file, and what a job's gate says of them.

records = read_comparisons("flight-delay.comparisons", brokers)
report = judge_job(Path("conf/flight_delay.yaml"), version=2, brokers=None)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from flink_jobs.errors import InputError
from flink_jobs.jobfile import load_job
from flink_jobs.kafka import ClientSettings, read_topic
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.params import gate_of
from udfs.rollout.compare import add_up, with_designs
from udfs.rollout.gate import Evidence, Gate, judge_gate
from udfs.rollout.label_tests import as_labelled, on_same_records
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
    brokers: str | None,
    environ: Mapping[str, str] = os.environ,
) -> GateReport:
    """The job's gate, of all that its comparisons know of the version; `brokers` replace its own."""
    job = load_job(job_file, environ)
    if job.comparisons is None:
        raise InputError(f"{job_file}: must have a comparisons section, which holds the gate")
    settings = client_settings(job)
    records = read_comparisons(
        job.comparisons.topic, replace(settings, brokers=brokers) if brokers else settings
    )
    return judge_records(gate_of(job, job.comparisons), records, version)


def judge_records(gate: Gate, records: Sequence[ComparisonRecord], version: int) -> GateReport:
    """By the windows under the newest release in which the version scored, and all its labels."""
    about = [record for record in records if _release_of(record, version)]
    if not about:
        return GateReport(version, "wait", ("it has not scored beside a champion yet",))
    newest = [r for r in about if _release_of(r, version) == _release_of(about[-1], version)]
    ratios = [p.latency_ratio for r in newest for p in r.pairs if p.version == version]
    timed = [ratio for ratio in ratios if ratio is not None]
    watched = [r.gate for r in records if r.gate and r.gate.version == version]
    known = as_labelled(watched[-1].quality) if watched and watched[-1].quality else None
    total = add_up(newest)
    found = Evidence(
        with_designs(total, watched[-1]) if watched else total,
        newest[-1],
        looks=max(watched[-1].windows if watched else 0, len(about)),
        timed=len(timed),
        slow=sum(ratio > (gate.latency or 0.0) for ratio in timed),
        labelled=known or on_same_records(add_up(about), version),
    )
    return judge_gate(gate, found, version)


def _release_of(record: ComparisonRecord, version: int) -> int | None:
    """Under which release the version scored beside a champion in this window."""
    if not any(pair.version == version for pair in record.pairs):
        return None
    return next((r.release for r in record.versions if r.version == version and r.role != "champion"), None)


def _decoded(line: bytes, place: str) -> ComparisonRecord:
    try:
        return msgspec.json.decode(line, type=ComparisonRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{place}: must be a tailrace.comparison/2 record; {error}") from None
