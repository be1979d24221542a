"""Follows personal data through a job's columns: what carries a label, of which fields, and by which way.

>>> from pathlib import Path
>>> from flink_jobs.jobfile import load_job_text
>>> from flink_jobs.plan.columns import job_columns
>>> schema = "{email: {type: string, pii: hash}, amount: double}"
>>> features = "{derive: {who: LOWER(email), big: amount > 9}}"
>>> text = f"{{job: a, source: {{topic: in, schema: {schema}}}, features: {features}, model: {{name: m}}}}"
>>> job = load_job_text(text, "a.yaml", Path("/"))
>>> {name: label.treatment for name, label in personal_columns(job, job_columns(job)).items()}
{'email': 'hash', 'who': 'hash'}

A column that is computed from labelled ones carries the strictest of their labels: expressions, the results
and conditions of windows, and what a lookup finds by a labelled key. How many records there are, and when
they came, is no personal data of theirs. Only `privacy.declassify` drops a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from flink_jobs.errors import Location
from flink_jobs.plan.columns import JobColumns, condition_name, origin_of, vector_parts
from flink_jobs.plan.diagnose import Collector
from flink_jobs.spec import Declassified, JobSpec
from flink_jobs.spec.aggregates import Aggregate
from udfs.records.personal import SHORTEST_HASH_KEY, PrivacyParams, RecordTreatment, Treatment, strictest

# Results that are numbers of records or times between them.
_OF_RECORDS = frozenset({"count", "time_since_last"})


@dataclass(frozen=True)
class Label:
    """How a column is treated, the labelled columns that it is made of at first, and what makes it."""

    treatment: Treatment
    fields: tuple[str, ...]
    way: str


Labels = Mapping[str, Label]


def personal_columns(job: JobSpec, columns: JobColumns) -> dict[str, Label]:
    """The label of each column that has one, without those that are declassified."""
    free = {each.column for each in job.privacy.declassify}
    return {name: label for name, label in _all_labels(job, columns, free).items() if name not in free}


def _all_labels(job: JobSpec, columns: JobColumns, free: set[str]) -> dict[str, Label]:
    """With those of declassified columns; what is made of these has none of theirs."""
    labels: dict[str, Label] = {}

    def inherit(name: str, used: Iterable[str], way: str, own: Treatment | None = None) -> None:
        names = {*used} - free
        found = [label for each, label in labels.items() if each in names]
        if own:
            found.append(Label(own, (name,), way))
        if found:
            fields = dict.fromkeys(field for label in found for field in label.fields)
            labels[name] = Label(strictest(label.treatment for label in found), tuple(fields), way)

    for name, field in job.source.declared.items():
        inherit(name, (), origin_of(job, name), field.pii)
    for part, name in vector_parts(job).items():
        inherit(part, (name,), origin_of(job, name))
    for name, expression in columns.conditions:
        inherit(name, expression.columns, expression.text)
    for name, aggregate in _aggregates(job):
        inherit(name, _used(aggregate), str(aggregate))
    for title, lookup in job.features.lookups.items():
        for name, taken in lookup.select.items():
            inherit(name, lookup.by, f"lookup {title} by {', '.join(lookup.by)}", taken.pii)
    for name, expression in columns.derived:
        inherit(name, expression.columns, expression.text)
    kept = columns.columns.keys()
    return {name: label for name, label in labels.items() if name in kept}


def _aggregates(job: JobSpec) -> Iterator[tuple[str, Aggregate]]:
    for window in job.features.windows.values():
        yield from window.select.items()


def _used(aggregate: Aggregate) -> Iterator[str]:
    if aggregate.column and aggregate.function not in _OF_RECORDS:
        yield aggregate.column
    if aggregate.where:
        yield condition_name(aggregate.where)


def has_personal_data(job: JobSpec) -> bool:
    """Whether anything that the job reads carries a label."""
    looked_up = [taken.pii for lookup in job.features.lookups.values() for taken in lookup.select.values()]
    fields = [field.pii for field in job.source.declared.values()]
    return any((job.source.key_pii, *fields, *looked_up))


def records_treatment(job: JobSpec, output: str) -> RecordTreatment:
    """What becomes of whole records in this output, `dead_letters` or `late`."""
    asked: RecordTreatment | None = getattr(job, output).pii
    return asked or ("drop" if has_personal_data(job) else "keep")


def key_treatment(job: JobSpec, labels: Labels) -> Treatment | None:
    """That of the keys of predictions: of the records' own, or of the values that windows are by."""
    if job.score == "per_event":
        return record_key_treatment(job)
    found = [labels[name].treatment for name in _window_keys(job) if name in labels]
    return strictest(found) if found else None


def record_key_treatment(job: JobSpec) -> Treatment | None:
    """As the job says, or that of the strictest of the columns that are made of the key."""
    fields = job.source.key.fields.values() if job.source.key else ()
    found = [field.pii for field in fields if field.pii]
    return job.source.key_pii or (strictest(found) if found else None)


def _window_keys(job: JobSpec) -> list[str]:
    return [name for window in job.features.windows.values() for name in window.by]


def privacy_params(job: JobSpec, labels: Labels) -> PrivacyParams:
    """What workers are told."""
    key, encryption = job.predictions.pii_key, job.privacy.encrypt_key
    names = _window_keys(job) if job.score == "per_window" else _text_key(job)
    return PrivacyParams(
        columns={name: label.treatment for name, label in labels.items()},
        key=key_treatment(job, labels),
        key_field=names[0] if len(names) == 1 else "",
        dead=records_treatment(job, "dead_letters"),
        late=records_treatment(job, "late"),
        hash_key=key.get_secret_value().encode() if key else b"",
        encryption=encryption.params if encryption else None,
    )


def _text_key(job: JobSpec) -> list[str]:
    """The column that is the key itself, so that both are hashed alike."""
    key = job.source.key
    return [*key.fields] if key and key.format == "text" else []


def check_personal(job: JobSpec, columns: JobColumns, found: Collector) -> dict[str, Label]:
    """The labels; adds to `found` what would let personal data out, and declassified columns without any."""
    labels = personal_columns(job, columns)
    _check_hash_key(job, found)
    _check_declassified(job, columns, found)
    _check_event_time(job, found)
    for index, name in enumerate(job.predictions.include):
        if name in labels:
            _check_written(job, name, labels[name], ("predictions", "include", index), found)
    for section in ("drift", "quality"):
        _check_segments(job, section, labels, found)
    if key := key_treatment(job, labels):
        location = _key_location(job)
        _check_key_of(job, key, location, found)
    for output in ("dead_letters", "late"):
        if records_treatment(job, output) == "encrypt" and job.privacy.encrypt_key is None:
            expected = "keep or drop, unless privacy.encrypt_key is given"
            found.add((output, "pii"), expected, "encrypt")
    _check_duplicates(job, labels, found)
    return labels


def _key_location(job: JobSpec) -> Location:
    if job.source.key_pii:
        return "source", "key_pii"
    return ("source", "key", "fields") if job.score == "per_event" else ("features", "windows")


def _check_segments(job: JobSpec, section: str, labels: Labels, found: Collector) -> None:
    """Of fields with pii the file itself was told."""
    asked = getattr(job, section)
    for index, name in enumerate(asked.segments if asked else ()):
        if name in labels and not (name in job.source.columns and job.source.columns[name].pii):
            location = (section, "segments", index)
            found.add(location, "a column without personal data", _described(name, labels[name]))


def _check_hash_key(job: JobSpec, found: Collector) -> None:
    key = job.predictions.pii_key
    if key and len(key.get_secret_value().encode()) < SHORTEST_HASH_KEY:
        expected = f"a key of at least {SHORTEST_HASH_KEY} bytes"
        found.add(("predictions", "pii_key"), expected, "a shorter one (not shown)")


def _check_declassified(job: JobSpec, columns: JobColumns, found: Collector) -> None:
    labelled = _all_labels(job, columns, {each.column for each in job.privacy.declassify})
    for index, each in enumerate(job.privacy.declassify):
        location, name = ("privacy", "declassify", index, "column"), each.column
        if name not in columns.columns and not found.is_unknown(name):
            known = ", ".join(columns.columns)
            found.add(
                location, f"a column of the job ({known})", repr(name), name=name, choices=columns.columns
            )
        elif name in job.source.columns and name in labelled:
            expected = "a column made of personal data; a field without it has no pii"
            found.add(location, expected, f"{name!r}, a field with pii: {labelled[name].treatment}")
        elif name in columns.columns and name not in labelled:
            found.add(location, "a column made of personal data", f"{name!r}, which is not")


def _check_event_time(job: JobSpec, found: Collector) -> None:
    name = job.source.event_time.field
    read = {**job.source.fields, **job.source.envelope.fields}
    if name and name in read and (pii := read[name].pii):
        expected = "left out for the event time, which each output has"
        section = ("schema",) if name in job.source.fields else ("envelope", "fields")
        found.add(("source", *section, name, "pii"), expected, pii)


def _check_written(job: JobSpec, name: str, label: Label, location: Location, found: Collector) -> None:
    if label.treatment == "drop":
        found.add(location, "a column without pii: drop", _described(name, label))
    elif label.treatment == "hash" and job.predictions.pii_key is None:
        expected = "a column without pii: hash, unless predictions.pii_key is given"
        found.add(location, expected, _described(name, label))
    elif label.treatment == "encrypt" and job.privacy.encrypt_key is None:
        expected = "a column without pii: encrypt, unless privacy.encrypt_key is given"
        found.add(location, expected, _described(name, label))


def _check_key_of(job: JobSpec, treatment: Treatment, location: Location, found: Collector) -> None:
    if treatment == "hash" and job.predictions.pii_key is None:
        found.add(location, "without keys with pii: hash, unless predictions.pii_key is given", "hash")
    elif treatment == "encrypt" and job.privacy.encrypt_key is None:
        found.add(location, "without keys with pii: encrypt, unless privacy.encrypt_key is given", "encrypt")


def _check_duplicates(job: JobSpec, labels: Labels, found: Collector) -> None:
    """Keys that are counted are kept as hashes, which only a key protects."""
    name = job.drift.duplicates if job.drift else False
    private = bool(record_key_treatment(job)) if name is True else name in labels
    if private and job.predictions.pii_key is None:
        expected = "left out for personal data, unless predictions.pii_key is given"
        shown = "true" if name is True else repr(name)
        found.add(("drift", "duplicates"), expected, shown)


def _described(name: str, label: Label) -> str:
    """The column, and where its label is from."""
    if label.fields == (name,):
        return repr(name)
    return f"{name!r}, made of {', '.join(label.fields)} ({label.way})"


def declassified(job: JobSpec, columns: JobColumns) -> list[tuple[Declassified, Label]]:
    """What `privacy.declassify` lets out, with the label that it would have."""
    labelled = _all_labels(job, columns, {each.column for each in job.privacy.declassify})
    return [(each, labelled[each.column]) for each in job.privacy.declassify if each.column in labelled]


def without_records(job: JobSpec) -> JobSpec:
    """The job for whom outcomes are enough: no key is needed, and no whole record is written again."""
    if not has_personal_data(job):
        return job
    dropped = {
        name: getattr(job, name).model_copy(update={"pii": "drop"}) for name in ("dead_letters", "late")
    }
    return job.model_copy(update=dropped)


def only_records(job: JobSpec) -> PrivacyParams:
    """What workers are told where columns and keys stay as they are."""
    return PrivacyParams(dead=records_treatment(job, "dead_letters"), late=records_treatment(job, "late"))
