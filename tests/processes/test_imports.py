"""What is imported by a process that does one thing, and what must not be: it takes longer than the thing."""

from __future__ import annotations

import subprocess
import sys

from flink_jobs.system.jars import PROJECT


def exit_code(code: str) -> int:
    return subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode


def test_checking_job_files_does_not_load_statistics() -> None:
    """They take longer to load than a job file to check."""
    assert exit_code("import sys, flink_jobs.plan.validate\nsys.exit('scipy' in sys.modules)") == 0


def test_the_worker_needs_no_parser() -> None:
    loaded = "{'sqlglot', 'flink_jobs'} & set(sys.modules)"
    assert exit_code(f"import sys, udfs.features.expressions\nsys.exit(bool({loaded}))") == 0


def test_workers_of_json_jobs_import_nothing_for_avro() -> None:
    loaded = "{'fastavro', 'udfs.records.avro', 'udfs.records.schema_registry'} & set(sys.modules)"
    code = f"import sys, udfs.flink.functions, udfs.records.formats\nsys.exit(bool({loaded}))"
    assert exit_code(code) == 0
