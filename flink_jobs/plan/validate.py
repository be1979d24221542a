"""Plans a job file, or tells all that is wrong with it, each mistake with its line and column.

Needs the model's registry and the lookup files, but neither a broker nor a JVM.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from flink_jobs.errors import Diagnostic
from flink_jobs.jobfile import JobFile, read_job
from flink_jobs.plan import Plan, plan_job
from flink_jobs.plan.diagnose import Collector
from flink_jobs.spec import JobSpec


def validated_plan(path: Path, *, bounded: bool = False, environ: Mapping[str, str] = os.environ) -> Plan:
    """The plan of a job file.

    Raises JobFileError with every mistake, in the order of lines: those of the file itself, and those of the
    model, the lookups, the expressions and whatever else it names; InputError when there is no such file.
    """
    return plan_file(read_job(path, environ), bounded=bounded)


def plan_file(
    file: JobFile, *, change: Callable[[JobSpec], JobSpec] = lambda job: job, bounded: bool = False
) -> Plan:
    """The plan of what `change` makes of a file's job. Raises JobFileError with every mistake."""
    plan, diagnostics = collect_file(file, change=change, bounded=bounded)
    if plan is None:
        raise file.error(diagnostics)
    return plan


def collect_file(
    file: JobFile, *, change: Callable[[JobSpec], JobSpec] = lambda job: job, bounded: bool = False
) -> tuple[Plan | None, tuple[Diagnostic, ...]]:
    """The same plan, or None where anything is wrong; and what planning adds to the file's own mistakes."""
    found = Collector(file.doubts)
    plan = plan_job(change(file.job), found, bounded=bounded) if file.job else None
    return None if file.diagnostics else plan, tuple(found.diagnostics)
