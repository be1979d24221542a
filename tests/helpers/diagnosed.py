"""What `tailrace validate` says of a job file."""

from __future__ import annotations

from pathlib import Path

from flink_jobs.errors import JobFileError
from flink_jobs.plan.validate import validated_plan


def diagnosed(folder: Path, text: str) -> list[str]:
    """Writes it as job.yaml into the folder; its mistakes, each from its line on, without the folder."""
    (folder / "job.yaml").write_text(text)
    try:
        validated_plan(folder / "job.yaml")
    except JobFileError as error:
        return [str(found).partition("job.yaml:")[2].replace(str(folder), "") for found in error.diagnostics]
    return []
