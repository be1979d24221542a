"""From a job file to a `JobSpec`, or to all that is wrong with the file.

    job = load_job("conf/flight_delay.yaml")
    job = load_job_text("job: …", "job.yaml", base=Path("/jobs"), environ={"BROKERS": "kafka:9092"})

`${VAR}` and `${VAR:-default}` come from the environment, `$$` is a dollar sign. Relative paths are taken
from the folder of the job file.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import ValidationError

from flink_jobs.errors import InputError, JobFileError, Problem
from flink_jobs.jobfile import references as consistency
from flink_jobs.jobfile.pydantic_errors import diagnostics_in, value_at
from flink_jobs.jobfile.reader import HOLE, Document, read_document
from flink_jobs.spec import JobSpec
from flink_jobs.spec.diagnostics import Diagnostic, Location, dotted, printable
from flink_jobs.spec.secrets import rule_at
from flink_jobs.system.masks import PROCESS
from udfs.suggest import nearest

LARGEST_FILE = 1_000_000
MOST_PROBLEMS = 100


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
        PROCESS.learn(job.masks)
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
    as_text = location == ("kafka", "security", "username") or location[:2] == ("kafka", "properties")
    return as_text or rule_at(location) is not None


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
    found += _literal_secrets(document, {diagnostic.location for diagnostic in found})
    return job.with_masks(document.masks) if job and not found else found


def _literal_secrets(document: Document, wrong: Collection[Location]) -> list[Diagnostic]:
    """Secrets that stand in the file itself, and so in its version control."""
    return [
        Diagnostic(location, rule.expected, "text in the job file (not shown)")
        for location, written in document.written.items()
        if location not in wrong and (rule := rule_at(location)) and not rule.accepts(written)
        if isinstance(value_at(location, document.data), str)
    ]


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
    hide, names = document.masks.hide, document.names_below(place)
    if (
        names
        and not found.startswith(("${", "text in"))
        and not isinstance(value_at(place, document.data), dict)
    ):
        found = f"the value of {names} (not shown)"
        return Problem(file, line, dotted(place), hide(diagnostic.expected), found)
    if suggestion is None and diagnostic.name is not None:
        suggestion = nearest(diagnostic.name, diagnostic.choices)
    if place in document.variables and not diagnostic.found.startswith("${"):
        found += f" (from {document.variables[place]})"
    hidden = hide(suggestion) if suggestion else None
    return Problem(file, line, dotted(place), hide(diagnostic.expected), printable(hide(found)), hidden)
