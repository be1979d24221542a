"""From a job file to a `JobSpec`, or to all that is wrong with the file.

    job = load_job("conf/flight_delay.yaml")
    job = load_job_text("job: …", "job.yaml", base=Path("/jobs"), environ={"BROKERS": "kafka:9092"})

`${VAR}` and `${VAR:-default}` come from the environment, `$$` is a dollar sign. Relative paths are taken
from the folder of the job file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from flink_jobs.errors import InputError, JobFileError, Problem
from flink_jobs.jobfile import references as consistency
from flink_jobs.jobfile.pydantic_errors import diagnostics_in, value_at
from flink_jobs.jobfile.reader import HOLE, Document, read_document
from flink_jobs.spec import JobSpec
from flink_jobs.spec.diagnostics import Diagnostic, Location, dotted, nearest, printable

LARGEST_FILE = 1_000_000
MOST_PROBLEMS = 100
SECRETS: tuple[Location, ...] = (("kafka", "security", "password"), ("predictions", "pii_key"))
_TEXTS: tuple[Location, ...] = (*SECRETS, ("kafka", "security", "username"))


def load_job(path: str | Path, environ: Mapping[str, str] = os.environ) -> JobSpec:
    """Read a job file.

    Raises JobFileError with every problem in the file, and InputError when there is no such file.
    """
    place = Path(path)
    return load_job_text(_read(place), str(path), place.absolute().parent, environ)


def load_job_text(
    text: str | bytes, file: str, base: Path, environ: Mapping[str, str] = os.environ
) -> JobSpec:
    """Read a job from YAML text; `file` names it in problems, `base` is the folder of relative paths.

    Raises JobFileError with every problem in the text, in the order of lines, at most 100.
    """
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise JobFileError([_not_utf8(error, file)]) from None
    document = read_document(decoded, environ, _is_text)
    job = _validated(document, base)
    if isinstance(job, JobSpec):
        return job
    raise JobFileError(_problems(job, document, file))


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
        raise InputError(f"{path}: must be a job file of at most 1 MB; got a larger one at {looked_in}")
    return content


def _neighbour(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.absolute().parent.iterdir() if entry.is_file())
    except OSError:
        return ""
    name = nearest(path.name, names)
    return f"; did you mean {str(path.parent / name)!r}?" if name else ""


def _not_utf8(error: UnicodeDecodeError, file: str) -> Problem:
    before = error.object[: error.start]
    column = len(before) - before.rfind(b"\n")
    found = f"the byte 0x{error.object[error.start]:02x} at byte {column} of the line"
    return Problem(file, before.count(b"\n") + 1, "file", "UTF-8 text", found)


def _is_text(location: Location) -> bool:
    return location in _TEXTS or location[:2] == ("kafka", "properties")


def _validated(document: Document, base: Path) -> JobSpec | list[Diagnostic]:
    data, found = document.data, list(document.diagnostics)
    if data is HOLE:
        return found
    if not isinstance(data, dict):
        kind = "an empty file" if data is None else "a list" if isinstance(data, list) else "plain text"
        return [Diagnostic((), "a mapping of keys such as job, source and model", kind)]
    job = None
    try:
        job = JobSpec.model_validate(data, context={"base": base})
    except ValidationError as error:
        found += diagnostics_in(error, data, document.incomplete)
    if not document.incomplete:
        found += consistency.reference_diagnostics(data)
    found += _literal_secrets(document)
    return job if job and not found else found


def _literal_secrets(document: Document) -> list[Diagnostic]:
    """Secrets that stand in the file itself, and so in its version control."""
    expected = "a secret from the environment, ${VARIABLE}, or from a file, {file: path}"
    return [
        Diagnostic(place, expected, "text in the job file (not shown)")
        for place in SECRETS
        if place not in document.variables and _is_text_at(place, document.data)
    ]


def _is_text_at(place: Location, data: object) -> bool:
    parent = value_at(place[:-1], data)
    return isinstance(parent, dict) and isinstance(parent.get(place[-1]), str)


def _problems(diagnostics: list[Diagnostic], document: Document, file: str) -> list[Problem]:
    placed = [
        (diagnostic.line or document.line(diagnostic.location), diagnostic) for diagnostic in diagnostics
    ]
    placed.sort(key=lambda pair: pair[0])
    problems = [_problem(diagnostic, line, document, file) for line, diagnostic in placed[:MOST_PROBLEMS]]
    if len(placed) > MOST_PROBLEMS:
        line = placed[MOST_PROBLEMS][0]
        expected = f"a job file with fewer than {MOST_PROBLEMS} problems"
        problems.append(Problem(file, line, "file", expected, f"{len(placed)}"))
    return problems


def _problem(diagnostic: Diagnostic, line: int, document: Document, file: str) -> Problem:
    place, found, suggestion = diagnostic.location, diagnostic.found, diagnostic.suggestion
    if suggestion is None and diagnostic.name is not None:
        suggestion = nearest(diagnostic.name, diagnostic.choices)
    if place in document.variables and not diagnostic.found.startswith("${"):
        found += f" (from {document.variables[place]})"
    return Problem(file, line, dotted(place), diagnostic.expected, printable(found), suggestion)
