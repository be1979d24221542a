"""Writes the first files of a job: the job file, records to test it with, and a train.py for its model.

fields = guessed_fields([b'{"card": "a", "amount": 12.5, "at": "2026-01-01T00:00:00Z"}'])
files = starter_files(Start("payments", "payments", "card_fraud", "models", signature, fields), golden)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from flink_jobs.spec.scalars import RESERVED_COLUMNS
from udfs.features.columns import FEEDS
from udfs.model.manifest import Input, Signature
from udfs.scoring.params import PREDICTION_FIELDS
from udfs.types import ColumnType

_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?")
_NAMES = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TIME_NAMES = re.compile(r"(^|_)(at|time|timestamp|ts|date)$|time", re.IGNORECASE)
# 2001 to 2100, in each unit.
_SINCE = {"ms": (10**12, 41 * 10**11), "s": (10**9, 41 * 10**8), "us": (10**15, 41 * 10**14)}
GOLDEN_RECORDS = 3


@dataclass(frozen=True)
class GuessedField:
    """A field as records have it; `unit` where its values look like times; `path` if not at the top."""

    type: ColumnType
    required: bool
    unit: str | None = None
    path: str = ""


@dataclass(frozen=True)
class Start:
    """What a job begins with; `source` are further lines of its section, `registry` as the file says it."""

    job: str
    topic: str
    model: str
    registry: str
    signature: Signature
    fields: Mapping[str, GuessedField] = field(default_factory=dict)
    source: tuple[str, ...] = ()


def guessed_fields(records: Iterable[bytes]) -> dict[str, GuessedField]:
    """The fields of sampled JSON objects, by their values; those that no type fits are left out."""
    objects = [read for each in records if isinstance(read := _json(each), dict)]
    names = dict.fromkeys(name for each in objects for name in each if _NAMES.fullmatch(name))
    found: dict[str, GuessedField] = {}
    for name in names:
        values = [each.get(name) for each in objects]
        present = [value for value in values if value is not None]
        kind = _type(present)
        if kind:
            column = f"sent_{name}" if name.startswith("_") or name in RESERVED_COLUMNS else name
            path = name if column != name else ""
            found[column] = GuessedField(kind, len(present) == len(objects), _unit(kind, present), path)
    return found


def _json(record: bytes) -> Any:
    try:
        return json.loads(record)
    except ValueError:
        return None


def _type(values: Sequence[Any]) -> ColumnType | None:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "long"
    if kinds and kinds <= {int, float}:
        return "double"
    return "string" if kinds == {str} else None


def _unit(kind: ColumnType, values: Sequence[Any]) -> str | None:
    if kind == "string":
        return "iso8601" if all(_ISO.fullmatch(value) for value in values) else None
    if kind == "long":
        return next((u for u, (low, high) in _SINCE.items() if all(low < v < high for v in values)), None)
    return None


def event_time(fields: Mapping[str, GuessedField]) -> str | None:
    """The field that is most likely the event time: it is in every record, and looks like one."""
    times = [name for name, each in fields.items() if each.unit and each.required]
    return next((name for name in times if _TIME_NAMES.search(name)), times[0] if times else None)


def job_file(start: Start) -> str:
    """The text of a job file that validates."""
    when = event_time(start.fields)
    lines = ["version: 1", f"job: {start.job}", "source:", f"  topic: {_text(start.topic)}", *start.source]
    if when:
        unit = start.fields[when].unit
        lines.append(f"  event_time: {{field: {when}, unit: {unit}, out_of_order: 5s}}")
    lines.append("  schema:")
    lines += [f"    {line}" for line in _schema(start)]
    lines.append(f"model: {{name: {start.model}, registry: {_text(start.registry)}}}")
    shown = [name for name in start.fields if name not in (*start.signature.names, *PREDICTION_FIELDS)]
    if include := shown[:3]:
        lines.append(f"predictions: {{include: [{', '.join(include)}]}}")
    return "\n".join(lines) + "\n"


def _schema(start: Start) -> list[str]:
    inputs = {each.name: each for each in start.signature.inputs}
    lines = [_field(name, each, inputs.get(name)) for name, each in start.fields.items()]
    for name, wanted in inputs.items():
        if name not in start.fields:
            seen = " # not in the sample" if start.fields else ""
            lines.append(f"{name}: {_declared(wanted.type, not wanted.nullable, '')}{seen}")
    return lines


def _field(name: str, seen: GuessedField, wanted: Input | None) -> str:
    """As the model wants it, where that is another type than the sample's; null where the model takes it."""
    if wanted is None:
        return f"{name}: {_declared(seen.type, seen.required, seen.path)}"
    kind = wanted.type
    required = seen.required or not wanted.nullable
    if seen.type in FEEDS[kind]:
        return f"{name}: {_declared(seen.type, required, seen.path)}"
    return f"{name}: {_declared(kind, required, seen.path)} # a {seen.type} in the sample: dead letters"


def _declared(kind: str, required: bool, path: str) -> str:
    more = ", required: true" * required + f", field: {path}" * bool(path)
    return f"{{type: {kind}{more}}}" if more else kind


def _text(value: str) -> str:
    return value if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", value) else json.dumps(value)


def golden_records(start: Start, golden: pa.Table) -> str:
    """Golden rows as records, each with the prediction that the model's maker saw, and one that is broken."""
    rows = golden.slice(0, GOLDEN_RECORDS).to_pylist()
    when = event_time(start.fields)
    lines: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        value = {
            each.path or name: _placeholder(each.type) for name, each in start.fields.items() if each.required
        }
        value |= {name: row[name] for name in start.signature.names}
        if when:
            seen = start.fields[when]
            value[seen.path or when] = _moment(seen.unit or "ms", number)
        lines.append({"value": value, "expect": {"prediction": row["expected.prediction"]}})
    lines.append({"value": "{", "expect": {"dead": "not_json"}})
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def _placeholder(kind: ColumnType) -> Any:
    return {"string": "x", "double": 1.0, "long": 1, "boolean": True}[kind]


def _moment(unit: str, number: int) -> Any:
    if unit == "iso8601":
        return f"2026-01-01T00:00:{number:02}Z"
    return (1_767_225_600 + number) * {"s": 1, "ms": 1_000, "us": 1_000_000}[unit]


_TRAIN = '''\
"""Trains {model} anew: tailrace train {folder}. Say where the history is, and what is to be predicted."""

from pathlib import Path

from sklearn.ensemble import {estimator}
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from flink_jobs import Output, Trainer


def history():
    """A Parquet or CSV file with a record per row, in the order in which they were sent, and the label."""
    return Path(__file__).with_name("history.parquet")


TRAINER = Trainer(
    name={model!r},
    job=Path({job!r}),
    inputs={inputs!r},
    label="label",
    output=Output(kind={kind!r}{classes}),
    history=history,
    build=lambda parameters: make_pipeline(SimpleImputer(), {estimator}(**parameters)),
    parameters={{}},
)
'''


def trainer_file(start: Start, job: str) -> str | None:
    """A train.py; None for a kind of output that is not trained. `job` is the job file, relative to it."""
    output = start.signature.output
    if output.kind not in ("binary", "multiclass", "regression"):
        return None
    regression = output.kind == "regression"
    return _TRAIN.format(
        model=start.model,
        folder=f"{start.registry}/{start.model}",
        estimator="RandomForestRegressor" if regression else "RandomForestClassifier",
        job=job,
        inputs=tuple(start.signature.names),
        kind=output.kind,
        classes="" if regression else f", classes={output.classes!r}",
    )


def relative_registry(place: str, folder: Path) -> str:
    """A folder of models as the job file in this folder calls it; URIs as they are."""
    if "://" in place:
        return place
    path = Path(place).absolute()
    return str(path.relative_to(folder.absolute())) if path.is_relative_to(folder.absolute()) else str(path)
