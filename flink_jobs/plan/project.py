"""Plans all jobs of a project, and tells where they contradict each other.

found = validated_project(read_project(Path("tailrace.yaml")))
found.plans, found.diagnostics      # by file; all mistakes of all files
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flink_jobs.errors import Diagnostic, InputError, Location
from flink_jobs.jobfile import JobFile, read_job
from flink_jobs.jobfile.project import ProjectFile
from flink_jobs.plan import Plan
from flink_jobs.plan.outputs import outputs_of
from flink_jobs.plan.prediction_schema import prediction_fields
from flink_jobs.plan.topics import labels_location, labels_of
from flink_jobs.plan.validate import collect_file
from flink_jobs.spec import JobSpec
from udfs.records.output_schema import Kind

# What fields of a job that reads predictions may be, by what these write.
_JSON_TYPES: Mapping[Kind, tuple[str, ...]] = {
    "string": ("string",),
    "long": ("long", "double"),
    "double": ("double",),
    "boolean": ("boolean",),
    "timestamp": ("string",),
}
_AVRO_TYPES = {**_JSON_TYPES, "timestamp": ("long",)}


@dataclass(frozen=True)
class Member:
    """A job file of a project, with what was found in it; `plan` is None where anything is wrong."""

    path: Path
    file: JobFile
    plan: Plan | None
    diagnostics: tuple[Diagnostic, ...]


@dataclass
class ProjectPlan:
    """The plans by file, and all diagnostics, in the order of files and lines."""

    plans: dict[Path, Plan] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)


def validated_project(project: ProjectFile, environ: Mapping[str, str] = os.environ) -> ProjectPlan:
    """Raises JobFileError only for the project's file itself."""
    found = ProjectPlan()
    members = []
    for path in project.jobs():
        try:
            file = read_job(path, environ)
        except InputError as error:
            found.diagnostics.append(Diagnostic((), "a readable job file", str(error), file=str(path)))
            continue
        plan, diagnostics = collect_file(file)
        members.append(Member(path, file, plan, diagnostics))
    between = _between([each for each in members if each.file.job and not each.file.doubts.hides(("job",))])
    for member in members:
        all_of_it = (*member.diagnostics, *between.get(member.path, ()))
        if all_of_it or member.file.diagnostics:
            found.diagnostics += member.file.error(all_of_it).diagnostics
        if member.plan and not all_of_it:
            found.plans[member.path] = member.plan
    # What the project's own file says wrongly is found in each job that takes it.
    found.diagnostics = list({str(each): each for each in found.diagnostics}.values())
    return found


def _between(members: list[Member]) -> dict[Path, list[Diagnostic]]:
    found: dict[Path, list[Diagnostic]] = {}
    for check in (_repeated, _misread):
        for member, diagnostic in check(members):
            if not member.file.doubts.hides(diagnostic.location):
                found.setdefault(member.path, []).append(diagnostic)
    return found


def _repeated(members: list[Member]) -> Iterator[tuple[Member, Diagnostic]]:
    """Names, transactions and written topics are of one job each; the job is the consumer group, too."""
    names: dict[str, Member] = {}
    written: dict[str, Member] = {}
    for member in members:
        job = _job(member)
        if job.job in names:
            yield member, _taken(("job",), "a name of one job of the project", job.job, names[job.job])
            continue
        yield from ((member, each) for each in _mixed_transactions(member, names))
        names[job.job] = member
        for output in outputs_of(job):
            topic = output.topic(job)
            if topic in written:
                expected = "a topic that one job of the project writes"
                yield member, _taken((output.name, "topic"), expected, topic, written[topic])
            written.setdefault(topic, member)


def _mixed_transactions(member: Member, names: Mapping[str, Member]) -> Iterator[Diagnostic]:
    """At its start a sink ends open transactions whose ids begin as its own: no other's may."""
    mine = _job(member)
    for other in map(_job, names.values()):
        for first, second in ((mine, other), (other, mine)):
            prefixes = [f"{first.job}-{output.name}" for output in outputs_of(first)]
            if any(f"{second.job}-".startswith(prefix) for prefix in prefixes):
                expected = "a name that does not begin as a transaction of another job of the project"
                yield _taken(("job",), expected, mine.job, names[other.job])


def _misread(members: list[Member]) -> Iterator[tuple[Member, Diagnostic]]:
    """A job that reads another one's predictions finds its fields there."""
    predicted = {member.plan.job.predictions.topic: member.plan for member in members if member.plan}
    for member in members:
        job = _job(member)
        written = predicted.get(job.source.topic)
        if written:
            yield from ((member, each) for each in _misfits(job, written))
        labels = labels_of(job)
        if labels and (of_labels := predicted.get(labels.topic)):
            fields = _fields(of_labels)
            for key, name in (("key", labels.key or labels.on), ("field", labels.field)):
                if name not in fields:
                    yield member, _unknown((*labels_location(job), key), of_labels, name, fields)


def _misfits(job: JobSpec, written: Plan) -> Iterator[Diagnostic]:
    made = written.job.predictions.format
    read = job.source.format
    if job.source.envelope.kind != "none":
        return
    if read != made:
        yield Diagnostic(("source", "format"), f"{made}, as the predictions of {written.job.job} are", read)
        return
    fields, types = _fields(written), _AVRO_TYPES if made == "avro" else _JSON_TYPES
    for name, declared in job.source.fields.items():
        path, location = declared.field or name, ("source", "schema", name)
        yield from _misfit(written, fields, types, location, path, declared.type)


def _misfit(
    written: Plan,
    fields: Mapping[str, Kind],
    types: Mapping[Kind, tuple[str, ...]],
    location: Location,
    path: str,
    kind: str,
) -> Iterator[Diagnostic]:
    first, *below = path.split(".")
    if first not in fields:
        yield _unknown(location, written, first, fields)
    elif below and fields[first] != "map":
        yield Diagnostic(location, f"without fields below {first}, a {fields[first]}", repr(path))
    elif not below and kind not in types.get(fields[first], ()):
        wanted = " or ".join(types.get(fields[first], ("read by the fields below it",)))
        yield Diagnostic(location, f"{wanted}, as {first} is in the predictions of {written.job.job}", kind)


def _fields(written: Plan) -> dict[str, Kind]:
    return prediction_fields(written.job, written.columns, written.labels, written.manifest)


def _unknown(location: Location, written: Plan, name: str, fields: Mapping[str, Kind]) -> Diagnostic:
    expected = f"a field of the predictions of {written.job.job} ({', '.join(fields)})"
    return Diagnostic(location, expected, repr(name), name=name, choices=tuple(fields))


def _taken(location: Location, expected: str, name: str, other: Member) -> Diagnostic:
    return Diagnostic(location, expected, f"{name!r}, also in {other.file.name}")


def _job(member: Member) -> JobSpec:
    assert member.file.job is not None
    return member.file.job
