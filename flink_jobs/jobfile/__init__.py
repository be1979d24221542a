"""Reads a job file as a `JobSpec`, or as all that is wrong with the file.

>>> small = "{job: a, source: {topic: in, schema: {x: double}}, model: {name: m}}"
>>> load_job_text(small, "a.yaml", Path("/")).source.fields["x"].type
'double'
>>> print(read_job_text(small.replace("topic: in", "topic: in, start: last"), "a.yaml", Path("/")).error())
a.yaml:1:30: source.start: must be one of: earliest, latest, committed; got 'last'; did you mean 'latest'?

`${VAR}` and `${VAR:-default}` come from the environment, `$$` is a dollar sign. Relative paths are taken
from the folder of the job file. `project` and `profiles` have what the file leaves out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from flink_jobs.errors import Diagnostic, InputError, JobFileError, Location
from flink_jobs.jobfile.partial import NO_DOUBTS, Doubts, partial_job
from flink_jobs.jobfile.profiles import connected
from flink_jobs.jobfile.project import ProjectFile, project_of, with_defaults
from flink_jobs.jobfile.pydantic_errors import diagnostics_in, value_at
from flink_jobs.jobfile.reader import HOLE, Document, read_document
from flink_jobs.jobfile.references import reference_diagnostics
from flink_jobs.spec import JobSpec
from flink_jobs.spec.diagnostics import printable
from flink_jobs.spec.secrets import rule_at
from flink_jobs.system.masks import PROCESS
from udfs.suggest import nearest

# A hostile file of that size takes the YAML parser some seconds; a large one of a person has a tenth.
LARGEST_FILE = 131_072
MOST_DIAGNOSTICS = 100


@dataclass(frozen=True)
class JobFile:
    """A job file that was read, with all that is wrong in the file itself.

    `job` is what is right of it: without `diagnostics` the whole job; None where nothing can be made of it.
    `doubts` are what the mistakes hide from whoever plans it.
    """

    name: str
    document: Document
    job: JobSpec | None
    diagnostics: tuple[Diagnostic, ...]
    doubts: Doubts = NO_DOUBTS

    def error(self, planned: Iterable[Diagnostic] = ()) -> JobFileError:
        """The error for the file's mistakes and those found while planning, in the order of lines."""
        hide = self.document.masks.hide
        own = [_shown(diagnostic, self.document) for diagnostic in self.diagnostics]
        found = [self._at_position(each) for each in (*own, *planned)]
        found.sort(key=lambda each: (each.file != self.name, each.line or 0, each.column or 0))
        shown = [_masked(each, hide) for each in found[:MOST_DIAGNOSTICS]]
        if len(found) > MOST_DIAGNOSTICS:
            expected = f"a job file with fewer than {MOST_DIAGNOSTICS} problems"
            rest = replace(found[MOST_DIAGNOSTICS], location=(), expected=expected, found=f"{len(found)}")
            shown.append(replace(rest, suggestion=None, name=None))
        return JobFileError(shown)

    def _at_position(self, diagnostic: Diagnostic) -> Diagnostic:
        location = diagnostic.location
        if location and isinstance(location[-1], int) and location not in self.document.positions:
            location = location[:-1]  # one value in place of a list
        if diagnostic.line is None and (place := self.document.place(location)):
            file, line, column = place
            return replace(diagnostic, location=location, file=file, line=line, column=column)
        line, column = self.document.position(location)
        if diagnostic.line is not None:
            line, column = diagnostic.line, diagnostic.column or 1
        return replace(diagnostic, location=location, file=self.name, line=line, column=column)


def load_job(path: str | Path, environ: Mapping[str, str] = os.environ) -> JobSpec:
    """Read a job file.

    Raises JobFileError with every mistake in the file, and InputError when there is no such file.
    """
    return _whole(read_job(path, environ))


def load_job_text(
    text: str | bytes, file: str, base: Path, environ: Mapping[str, str] = os.environ
) -> JobSpec:
    """Read a job from YAML text; `file` names it in errors, `base` is the folder of relative paths.

    Raises JobFileError with every mistake in the text, in the order of lines, at most 100.
    """
    return _whole(read_job_text(text, file, base, environ))


def read_job(path: str | Path, environ: Mapping[str, str] = os.environ) -> JobFile:
    """A job file with its mistakes. Raises InputError when there is no such file."""
    project = project_of(Path(path), environ)
    return read_job_text(_read(Path(path)), str(path), Path(path).absolute().parent, environ, project)


def read_job_text(
    text: str | bytes,
    file: str,
    base: Path,
    environ: Mapping[str, str] = os.environ,
    project: ProjectFile | None = None,
) -> JobFile:
    """YAML text as a job file with its mistakes; a project has what it leaves out."""
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        return JobFile(file, Document(HOLE, {}, {}, ()), None, (_not_utf8(error),))
    document = read_document(decoded, environ, _is_text)
    document = with_defaults(document, project) if project else document
    job, found = _validated(document, base)
    doubts = NO_DOUBTS
    if found and isinstance(document.data, dict):
        job, doubts = partial_job(document.data, base, (diagnostic.location for diagnostic in found))
    if job:
        PROCESS.learn(document.masks)
        job = connected(job.with_masks(document.masks), environ)
    return JobFile(file, document, job, tuple(found), doubts)


def _whole(file: JobFile) -> JobSpec:
    if file.job is None or file.diagnostics:
        raise file.error()
    return file.job


def _read(path: Path) -> bytes:
    looked_in = path.absolute()
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise InputError(
            f"{path}: must be a job file; got no file at {looked_in}{_neighbour(path)}"
        ) from None
    except IsADirectoryError:
        raise InputError(f"{path}: must be a job file; got a directory at {looked_in}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: must be a readable job file; got {reason} at {looked_in}") from None
    if len(content) > LARGEST_FILE:
        raise InputError(f"{path}: must be a job file of at most 128 KiB; got a larger one at {looked_in}")
    return content


def _neighbour(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.absolute().parent.iterdir() if entry.is_file())
    except OSError:
        return ""
    name = nearest(path.name, names)
    return f"; did you mean {str(path.parent / name)!r}?" if name else ""


def _not_utf8(error: UnicodeDecodeError) -> Diagnostic:
    before = error.object[: error.start]
    line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
    found = f"the byte 0x{error.object[error.start]:02x} at byte {column} of the line"
    return Diagnostic((), "UTF-8 text", found, line=line, column=column)


def _is_text(location: Location) -> bool:
    as_text = location == ("kafka", "security", "username") or location[:2] == ("kafka", "properties")
    return as_text or rule_at(location) is not None


def _validated(document: Document, base: Path) -> tuple[JobSpec | None, list[Diagnostic]]:
    """The job, if it is one, and all that is wrong."""
    data, found = document.data, list(document.diagnostics)
    if data is HOLE:
        return None, found
    if not isinstance(data, dict):
        kind = "an empty file" if data is None else "a list" if isinstance(data, list) else "plain text"
        return None, [Diagnostic((), "a mapping of keys such as job, source and model", kind)]
    job = None
    try:
        job = JobSpec.model_validate(data, context={"base": base})
    except ValidationError as error:
        found += diagnostics_in(error, data, document.incomplete)
    if not document.incomplete:
        found += reference_diagnostics(data)
    found += _literal_secrets(document, {diagnostic.location for diagnostic in found})
    return job, found


def _literal_secrets(document: Document, wrong: Collection[Location]) -> list[Diagnostic]:
    """Secrets that stand in the file itself, and so in its version control."""
    return [
        Diagnostic(location, rule.expected, "text in the job file (not shown)")
        for location, written in document.written.items()
        if location not in wrong and (rule := rule_at(location)) and not rule.accepts(written)
        if isinstance(value_at(location, document.data), str)
    ]


def _shown(diagnostic: Diagnostic, document: Document) -> Diagnostic:
    """With the variable's name where its value would be shown."""
    location, found = diagnostic.location, diagnostic.found
    names = document.names_below(location)
    if (
        names
        and not found.startswith(("${", "text in"))
        and not isinstance(value_at(location, document.data), dict)
    ):
        return replace(diagnostic, found=f"the value of {names} (not shown)", suggestion=None, name=None)
    if location in document.variables and not found.startswith("${"):
        found += f" (from {document.variables[location]})"
    return replace(diagnostic, found=found)


def _masked(diagnostic: Diagnostic, hide: Callable[[str], str]) -> Diagnostic:
    meant = diagnostic.meant
    return replace(
        diagnostic,
        expected=hide(diagnostic.expected),
        found=printable(hide(diagnostic.found)),
        suggestion=hide(meant) if meant else None,
        name=None,
    )
