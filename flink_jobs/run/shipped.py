"""What goes along with a job to its workers: our code, and with `runtime.artifacts` what else they need.

Flink takes `shipped_folder(job)` to the workers. With a store that is little: the names of the rest, by which
workers fetch and check what `publish(plan)` has put there.
"""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import udfs
from flink_jobs.errors import WorkError
from flink_jobs.plan import Plan, Runnable
from flink_jobs.plan.lookups import file_lookups
from flink_jobs.plan.model import version_along
from flink_jobs.registry import Registry
from flink_jobs.registry.store import ClientStore
from flink_jobs.spec import JobSpec
from flink_jobs.system.temporary import own_folder
from udfs.model.manifest import MANIFEST_FILE
from udfs.store.artifacts import CODE_FILE, FOLDER, STORE_FILE, artifact_name

_SOURCE = Path(udfs.__file__).parent
# Enough of our code to fetch the rest of it.
_FETCHING = ("errors.py", "store")
_START = '''"""What runs inside Flink's Python workers, fetched from runtime.artifacts by its SHA-256."""

from udfs.store.artifacts import code_folder

__path__.append(code_folder())
'''
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def shipped_folder(job: JobSpec) -> Path:
    """A folder with what goes along and nothing else: Flink puts it on the workers' path."""
    folder = own_folder("udfs")
    if job.runtime.artifact_store:
        _add_start(job.runtime.artifact_store, folder)
        return folder
    shutil.copytree(_SOURCE, folder / "udfs", ignore=shutil.ignore_patterns("__pycache__"))
    if job.runtime.artifacts == "flink":
        (folder / FOLDER).mkdir()
        for name, data in _lookups(job):
            (folder / FOLDER / name).write_bytes(data)
    return folder


def _add_start(store: str, folder: Path) -> None:
    (folder / "udfs").mkdir()
    (folder / "udfs" / "__init__.py").write_text(_START)
    for path in sorted(_SOURCE.rglob("*.py")):
        name = path.relative_to(_SOURCE)
        if name.parts[0] in _FETCHING:
            (folder / "udfs" / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, folder / "udfs" / name)
    (folder / FOLDER).mkdir()
    (folder / FOLDER / STORE_FILE).write_text(store)
    (folder / FOLDER / CODE_FILE).write_text(artifact_name(_code(), ".zip"))


def publish(plan: Runnable) -> None:
    """Puts what workers need into the job's store, unless it is there: each file under its SHA-256.

    A client that is killed leaves what the next one goes on with. Raises WorkError for a file there whose
    content is not what its name says, InputError and WorkError as stores do.
    """
    if plan.job.runtime.artifact_store is None:
        return
    store = ClientStore(plan.job.runtime.artifact_store)
    code = _code()
    for name, data in [(artifact_name(code, ".zip"), code), *_lookups(plan.job), *_version(plan)]:
        if not _holds(store, name, data):
            store.write_once(name, data)
            if not _holds(store, name, data):
                raise WorkError(f"{store.where(name)} must be there, as it was just written; it is not")


def _holds(store: ClientStore, name: str, data: bytes) -> bool:
    try:
        found = store.read(name)
    except FileNotFoundError:
        return False
    if found != data:
        raise WorkError(
            f"{store.where(name)} was changed: it must hold what its name says, and nothing but Tailrace may "
            "write there. Find out who did, then delete it and submit again"
        )
    return True


def _code() -> bytes:
    """All of our code as an archive, the same bytes for the same code."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(_SOURCE.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = Path("udfs", path.relative_to(_SOURCE)).as_posix()
                archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _lookups(job: JobSpec) -> Iterator[tuple[str, bytes]]:
    for file in file_lookups(job).values():
        data = file.read_bytes()
        yield artifact_name(data, file.suffix), data


def _version(plan: Runnable) -> Iterator[tuple[str, bytes]]:
    """The files of the model's version, its manifest at the end."""
    along = version_along(plan.job, plan.manifest) if isinstance(plan, Plan) else None
    if along is None or not isinstance(plan, Plan):
        return
    store = ClientStore(Registry(plan.job.model.registry).location(plan.manifest.name, plan.manifest.version))
    for name in sorted(store.names(""), key=lambda name: name == MANIFEST_FILE):
        yield f"{along}/{name}", store.read(name)
