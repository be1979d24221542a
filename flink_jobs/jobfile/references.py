"""Checks that the parts of a job file fit together: names, references, topics, personal data.

>>> source = {"topic": "in", "schema": {"x": "long"}, "event_time": {"field": "x", "unit": "iso8601"}}
>>> print(*reference_diagnostics({"source": source}))
source.event_time.unit: must be ms or s or us, as x is a long; got iso8601; did you mean 'ms'?

The checks read raw data, so that they also work on a file with other mistakes in it. What is wrong in
itself is passed over: each mistake is reported once, where it is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flink_jobs.errors import Diagnostic, Location, dotted
from flink_jobs.jobfile.declared import Outline, Result, mapping, texts
from flink_jobs.spec import OPTIONAL_SUFFIXES, OUTPUT_SUFFIXES, with_default_topics
from flink_jobs.spec.aggregates import EVENT_AGGREGATES, NUMERIC_AGGREGATES
from flink_jobs.spec.features import GROUP_WINDOW_KINDS, WINDOW_KINDS

# The type of a field that holds an event time in a unit.
_UNIT_TYPES: Mapping[str, str] = {"iso8601": "string", "ms": "long", "s": "long", "us": "long"}
_TYPE_UNITS = {"string": ("iso8601",), "long": ("ms", "s", "us")}
KEY_TYPES = frozenset({"string", "long", "boolean"})
# Aggregates whose result is one of the values themselves.
REVEALING_AGGREGATES = frozenset({"min", "max", "first", "last", "lag", "percentile", "top"})


def reference_diagnostics(data: object) -> list[Diagnostic]:
    """All places where one part of the job file contradicts another."""
    if not isinstance(data, dict):
        return []
    job = Outline(data)
    checks = (
        _event_time,
        _repeated_names,
        _window_kinds,
        _window_references,
        _lookup_references,
        _included,
        _passed_headers,
        _inputs,
        _topics,
        _drift,
        _labels,
        _quality,
        _max_rate,
        _lifecycle,
    )
    return [diagnostic for check in checks for diagnostic in check(job)]


def _event_time(job: Outline) -> Iterator[Diagnostic]:
    """The field of the event time is declared, with the type of its unit."""
    event_time = mapping(mapping(job.data, "source"), "event_time") or {}
    unit = event_time.get("unit", "ms")
    if job.schema is None or not isinstance(unit, str) or unit not in _UNIT_TYPES:
        return
    wanted = _UNIT_TYPES[unit]
    for location, name in texts(event_time, "field", ("source", "event_time")):
        declared = job.field_type(name)
        if name not in job.of_values:
            example = name if name.isprintable() else "NAME"
            expected = f"a field of source.schema, such as {example}: {{type: {wanted}, required: true}}"
            yield _unknown(location, expected, name, job.of_values)
        elif declared is not None and declared != wanted:
            yield _wrong_unit(name, declared, unit, "unit" in event_time)


def _wrong_unit(name: str, declared: str, unit: str, written: bool) -> Diagnostic:
    if written and declared in _TYPE_UNITS:
        units = _TYPE_UNITS[declared]
        location = ("source", "event_time", "unit")
        return Diagnostic(location, f"{' or '.join(units)}, as {name} is a {declared}", unit, units[0])
    expected = f"a {_UNIT_TYPES[unit]} field, as the unit is {unit}"
    suggestion = "unit: iso8601" if declared == "string" else None
    return Diagnostic(("source", "event_time", "field"), expected, f"{name!r}, a {declared}", suggestion)


def _repeated_names(job: Outline) -> Iterator[Diagnostic]:
    taken: dict[str, Location] = {}
    made: dict[Location, str] = {location: str(location[-1]) for location in job.declared or {}}
    made |= {result.location: result.name for result in job.results} | (job.lookup_names or {})
    made |= {("features", "derive", name): name for name in job.derived or {}}
    for location, name in made.items():
        if name in taken:
            yield Diagnostic(location, "a column name used once", f"{name!r}, also at {dotted(taken[name])}")
        taken.setdefault(name, location)


def _window_kinds(job: Outline) -> Iterator[Diagnostic]:
    kinds = {name: kind for name, raw in (job.windows or {}).items() if (kind := _kind(raw))}
    if job.per_window and job.windows is not None and len(job.windows) != 1:
        yield _wrong_number(len(job.windows))
        return
    for name, kind in kinds.items():
        location = ("features", "windows", name)
        if job.per_window and kind not in GROUP_WINDOW_KINDS:
            yield Diagnostic(location, "a tumble, hop or session window with score: per_window", f"{kind}")
        elif not job.per_window and kind in GROUP_WINDOW_KINDS and _is_per_event(job):
            expected = "an over or rows window, as tumble, hop and session need score: per_window"
            yield Diagnostic(location, expected, kind)
        elif kind in GROUP_WINDOW_KINDS:
            yield from _of_events(job, name)


def _wrong_number(windows: int) -> Diagnostic:
    if windows:
        expected = "exactly one tumble, hop or session window with score: per_window"
        return Diagnostic(("features", "windows"), expected, f"{windows} windows")
    expected = "per_event, unless features.windows has a tumble, hop or session window"
    return Diagnostic(("score",), expected, "'per_window' without a window")


def _is_per_event(job: Outline) -> bool:
    return bool(job.data.get("score", "per_event") == "per_event")


def _of_events(job: Outline, window: str) -> Iterator[Diagnostic]:
    """Aggregates that are about the records before one."""
    for result in job.results:
        aggregate = result.aggregate
        if result.window == window and aggregate and aggregate.function in EVENT_AGGREGATES:
            expected = "left to over and rows windows, whose results are about one record and those before it"
            yield Diagnostic(result.location, expected, str(aggregate))


def _kind(raw: object) -> str | None:
    given = [kind for kind in WINDOW_KINDS if isinstance(raw, dict) and raw.get(kind) is not None]
    return given[0] if len(given) == 1 else None


def _window_references(job: Outline) -> Iterator[Diagnostic]:
    fields = list(job.fields or {})
    for window, raw in (job.windows or {}).items() if fields else ():
        for location, name in texts(raw, "by", ("features", "windows", window)):
            declared = job.field_type(name)
            if name not in fields:
                yield _unknown(location, "a field of source.schema", name, fields)
            elif declared and declared not in KEY_TYPES:
                yield Diagnostic(
                    location, "a field of type string, long or boolean", f"{name!r}, a {declared}"
                )
    for result in job.results if fields else ():
        yield from _argument(job, result, fields)


def _argument(job: Outline, result: Result, fields: list[str]) -> Iterator[Diagnostic]:
    aggregate = result.aggregate
    if aggregate is None or aggregate.column is None:
        return
    declared = job.field_type(aggregate.column)
    if aggregate.column not in fields:
        yield _unknown(result.location, "an aggregate of a field of source.schema", aggregate.column, fields)
    elif aggregate.function in NUMERIC_AGGREGATES and declared in ("string", "boolean"):
        expected = f"{aggregate.function} of a double or long"
        yield Diagnostic(result.location, expected, f"{aggregate}, of a {declared}")
    elif declared in ("decimal", "bytes") and aggregate.function in (*NUMERIC_AGGREGATES, "min", "max"):
        hint = f", such as a second field of type double with field: {aggregate.column}"
        expected = f"{aggregate.function} of a double or long{hint * (declared == 'decimal')}"
        yield Diagnostic(result.location, expected, f"{aggregate}, of a {declared}")


def _lookup_references(job: Outline) -> Iterator[Diagnostic]:
    if job.fields is None or not job.window_names_known:
        return
    fields = job.window_keys if job.per_window else job.fields
    columns = [*fields, *(result.name for result in job.results)]
    for lookup, raw in (job.lookups or {}).items():
        for location, name in texts(raw, "by", ("features", "lookups", lookup)):
            if name not in columns:
                yield _unknown(location, "a field of source.schema or a column of a window", name, columns)


def _included(job: Outline) -> Iterator[Diagnostic]:
    predictions = mapping(job.data, "predictions")
    included: set[str] = set()
    for location, name in texts(predictions, "include", ("predictions",)):
        if name in included:
            yield Diagnostic(location, "a column listed once", f"{name!r} again")
        elif job.columns is not None and name not in job.columns:
            yield _unknown(location, _column_expected(job), name, job.columns)
        else:
            yield from _private(job, location, name, "pii_key" in (predictions or {}))
        included.add(name)


def _passed_headers(job: Outline) -> Iterator[Diagnostic]:
    """Headers that predictions get: each once, of one record, and without personal data."""
    private = {
        (raw.get("header", name) if isinstance(raw, dict) else name): name
        for name, raw in (mapping(mapping(job.data, "source"), "headers") or {}).items()
        if job.pii(name)
    }
    seen: set[str] = set()
    for location, name in texts(mapping(job.data, "predictions"), "headers", ("predictions",)):
        if job.per_window:
            yield Diagnostic(location, "left out with score: per_window, which scores no record", repr(name))
        elif name in private:
            got = f"{name!r}, labelled at source.headers.{private[name]}"
            yield Diagnostic(location, "a header without personal data", got)
        elif name in seen:
            yield Diagnostic(location, "a header listed once", f"{name!r} again")
        seen.add(name)


def _inputs(job: Outline) -> Iterator[Diagnostic]:
    columns, inputs = job.columns, mapping(mapping(job.data, "model"), "inputs")
    for key, name in (inputs or {}).items():
        if columns is not None and isinstance(name, str) and name not in columns:
            yield _unknown(("model", "inputs", key), _column_expected(job), name, columns)


def _column_expected(job: Outline) -> str:
    return (
        "a key or result of the window, or a column made from them"
        if job.per_window
        else "a column of the job"
    )


def _private(job: Outline, location: Location, name: str, has_key: bool) -> Iterator[Diagnostic]:
    """Personal data leaves the job only as its label says; `flink_jobs.plan.personal` follows it further."""
    pii = job.pii(name)
    if pii == "drop":
        yield Diagnostic(location, "a column without pii: drop", repr(name))
    elif pii == "hash" and not has_key:
        yield Diagnostic(
            location, "a column without pii: hash, unless predictions.pii_key is given", repr(name)
        )
    elif pii == "encrypt" and (mapping(job.data, "privacy") or {}).get("encrypt_key") is None:
        yield Diagnostic(
            location, "a column without pii: encrypt, unless privacy.encrypt_key is given", repr(name)
        )
    for result in job.results:
        aggregate = result.aggregate
        if result.name == name and aggregate and aggregate.function in REVEALING_AGGREGATES:
            hidden = job.pii(aggregate.column or "")
            if hidden and name not in _declassified(job):
                yield Diagnostic(
                    location, "a column without personal data", f"{name!r}, a value of a pii: {hidden} field"
                )


def _declassified(job: Outline) -> list[str]:
    listed = (mapping(job.data, "privacy") or {}).get("declassify")
    return [
        name for each in (listed if isinstance(listed, list) else []) for _, name in texts(each, "column", ())
    ]


def _topics(job: Outline) -> Iterator[Diagnostic]:
    source = (mapping(job.data, "source") or {}).get("topic")
    taken: dict[str, Location] = {source: ("source", "topic")} if isinstance(source, str) else {}
    read = dict(taken)
    for section, labels in _labels_sections(job).items():
        topic, location = labels.get("topic"), (section, "labels", "topic")
        if isinstance(topic, str) and topic in read:
            yield Diagnostic(location, "a topic of its own", f"{topic!r}, also at source.topic")
        elif isinstance(topic, str):
            taken.setdefault(topic, location)
    for lookup in job.lookups or {}:
        topic, location = (mapping(job.lookups, lookup) or {}).get("topic"), ("features", "lookups", lookup)
        if isinstance(topic, str) and topic in read:
            yield Diagnostic((*location, "topic"), "a topic of its own", f"{topic!r}, also at source.topic")
        elif isinstance(topic, str):
            taken.setdefault(topic, (*location, "topic"))
    for section in (*OUTPUT_SUFFIXES, *OPTIONAL_SUFFIXES):
        topic = (mapping(with_default_topics(job.data), section) or {}).get("topic")
        if isinstance(topic, str) and topic in taken:
            found = f"{topic!r}, also at {dotted(taken[topic])}"
            yield Diagnostic((section, "topic"), "a topic of its own", found)
        elif isinstance(topic, str):
            taken[topic] = (section, "topic")


def _drift(job: Outline) -> Iterator[Diagnostic]:
    drift = mapping(job.data, "drift")
    compared = [key for key in ("shadows", "comparisons") if job.data.get(key) is not None]
    fired = [*compared, *(["quality"] if job.data.get("quality") is not None else [])]
    if drift is None and not fired and job.data.get("alerts") is not None:
        expected = "left out, as there is no drift, comparisons or quality section"
        yield Diagnostic(("alerts",), expected, "alerts")
    use = (mapping(job.data, "model") or {}).get("use", "champion")
    if compared and use != "champion":
        expected = "left out, as model.use is one version, which nothing can be compared with"
        yield Diagnostic((compared[0],), expected, compared[0])
    for location, name in texts(drift, "segments", ("drift",)):
        if job.columns is not None and name not in job.columns:
            yield _unknown(location, _column_expected(job), name, job.columns)
        elif job.pii(name):
            yield Diagnostic(location, "a column without personal data", repr(name))


def _labels_sections(job: Outline) -> dict[str, dict[str, Any]]:
    """By the section that they are in."""
    sections = {name: mapping(mapping(job.data, name), "labels") for name in ("comparisons", "quality")}
    return {name: labels for name, labels in sections.items() if labels is not None}


def _labels(job: Outline) -> Iterator[Diagnostic]:
    for section, labels in _labels_sections(job).items():
        if job.per_window:
            expected = "left out with score: per_window, as labels are of single records"
            yield Diagnostic((section, "labels"), expected, "labels")
            continue
        for location, name in texts(labels, "on", (section, "labels")):
            if job.columns is not None and name not in job.columns:
                yield _unknown(location, _column_expected(job), name, job.columns)
            elif job.field_type(name) == "double":
                expected = "a column of type string, long or boolean"
                yield Diagnostic(location, expected, f"{name!r}, a double")


def _quality(job: Outline) -> Iterator[Diagnostic]:
    """Segments leave the job by name; of groups only counts do, by the values that the file has."""
    for location, name in texts(mapping(job.data, "quality"), "segments", ("quality",)):
        if job.pii(name):
            yield Diagnostic(location, "a column without personal data (groups may be)", repr(name))


def _max_rate(job: Outline) -> Iterator[Diagnostic]:
    """An alert needs windows to be of, and alerts are those of drift."""
    asked = mapping(job.data, "dead_letters") or {}
    alerts = asked.get("then", "alert") == "alert"
    if asked.get("max_rate") is not None and alerts and job.data.get("drift") is None:
        location = ("dead_letters", "max_rate")
        yield Diagnostic(
            location, "with drift, whose windows it is of, or with then: stop", "no drift section"
        )
    if asked.get("max_rate") is None and asked.get("then") == "stop":
        yield Diagnostic(("dead_letters", "then"), "with a max_rate", "then: stop without")


def _lifecycle(job: Outline) -> Iterator[Diagnostic]:
    """What it decides by is there, and what it releases is followed."""
    lifecycle = mapping(job.data, "lifecycle")
    if lifecycle is None:
        return
    if (mapping(job.data, "model") or {}).get("use", "champion") != "champion":
        expected = "left out, as model.use is one version, which no release changes"
        yield Diagnostic(("lifecycle",), expected, "lifecycle")
    train = mapping(lifecycle, "train") or {}
    for name in ("drift", "quality"):
        if train.get(name) is not None and job.data.get(name) is None:
            expected = f"left out, as there is no {name} section"
            yield Diagnostic(("lifecycle", "train", name), expected, name)
    realized = (mapping(train, "quality") or {}).get("source", "realized") == "realized"
    if mapping(train, "quality") is not None and realized and not _labels_sections(job):
        expected = "estimated, as there are no labels (quality.labels)"
        yield Diagnostic(("lifecycle", "train", "quality", "source"), expected, "realized", "estimated")
    for location, name in texts(mapping(lifecycle, "canary"), "key", ("lifecycle", "canary")):
        if job.columns is not None and name not in job.columns:
            yield _unknown(location, _column_expected(job), name, job.columns)


def _unknown(location: Location, expected: str, name: str, choices: list[str]) -> Diagnostic:
    return Diagnostic(location, expected, f"{name!r:.62}", None, name, tuple(choices))
