"""What goes along with a job to its workers: our code, and with `runtime.artifacts` its lookup files."""

from __future__ import annotations

import shutil
from pathlib import Path

import udfs
from flink_jobs.plan.lookups import artifact_name, file_lookups
from flink_jobs.spec import JobSpec
from flink_jobs.system.temporary import own_folder
from udfs.features.artifacts import FOLDER


def shipped_folder(job: JobSpec) -> Path:
    """A folder with what goes along and nothing else: Flink puts it on the workers' path."""
    folder = own_folder("udfs")
    source = Path(udfs.__file__).parent
    shutil.copytree(source, folder / "udfs", ignore=shutil.ignore_patterns("__pycache__"))
    if job.runtime.artifacts == "flink":
        (folder / FOLDER).mkdir()
        for file in file_lookups(job).values():
            _add(file, folder / FOLDER)
    return folder


def _add(file: Path, folder: Path) -> None:
    """Named by the copy, which stays as it is whatever becomes of the file."""
    part = folder / f"part{file.suffix}"
    shutil.copyfile(file, part)
    part.rename(folder / artifact_name(part))
