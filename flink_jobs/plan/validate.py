"""Plans a job file, or tells all that is wrong with it, each mistake with its line and column.

Needs the model's registry and the lookup files, but neither a broker nor a JVM.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from flink_jobs.jobfile import read_job
from flink_jobs.plan import Plan, plan_job
from flink_jobs.plan.diagnose import Collector


def validated_plan(path: Path, *, bounded: bool = False, environ: Mapping[str, str] = os.environ) -> Plan:
    """The plan of a job file.

    Raises JobFileError with every mistake, in the order of lines: those of the file itself, and those of the
    model, the lookups, the expressions and whatever else it names; InputError when there is no such file.
    """
    file = read_job(path, environ)
    found = Collector(file.doubts)
    plan = plan_job(file.job, found, bounded=bounded) if file.job else None
    if plan is None or file.diagnostics:
        raise file.error(found.diagnostics)
    return plan
