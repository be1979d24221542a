"""Drift records as an Arrow table and in Parquet, one row per window, segment, version and column.

    write_parquet(records, Path("drift.parquet"))
    pandas.read_parquet("drift.parquet").query("verdict == 'drift'")

Of the record: job, model, version, window_start, window_end (timestamps, UTC), closed, segment_column,
segment_value (both null for all records together), predicted, dead, late, duplicates, key_sample,
freshness_ms, level, window_verdict, drifted, problems, joint, reference, partial, learning, sequential. Of
the column: all fields of `ColumnReport` under their own names; `name` is null in the single row of a record
without columns. `statistics`, `quantiles` and `reference_quantiles` are maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from flink_jobs.errors import InputError
from udfs.drift.records import DriftRecord

Row = dict[str, Any]

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TIME = pa.timestamp("ms", tz="UTC")
_REALS = pa.map_(_TEXT, _REAL)
_STATISTIC = pa.struct({"value": _REAL, "threshold": _REAL, "upper": _REAL, "p": _REAL, "fixed": pa.bool_()})
_PAIR = pa.struct({"first": _TEXT, "second": _TEXT, "reference": _REAL, "current": _REAL, "cell": _TEXT})
_JOINT = pa.struct(
    {"n": _WHOLE, "value": _REAL, "threshold": _REAL, "p": _REAL, "q": _REAL, "verdict": _TEXT}
    | {"pairs": pa.list_(_PAIR), "test": _TEXT}
)
_BINS = pa.struct({"labels": pa.list_(_TEXT), "reference": pa.list_(_REAL), "current": pa.list_(_REAL)})
_PREVIOUS = pa.struct({"n": _WHOLE, "effect": _REAL, "p": _REAL, "q": _REAL, "verdict": _TEXT})
_PROBLEM = pa.struct({"stage": _TEXT, "reason": _TEXT, "field": _TEXT, "count": _WHOLE})
_CHART = pa.struct(
    {
        "column": _TEXT,
        "value": _REAL,
        "threshold": _REAL,
        "direction": _TEXT,
        "since": _TIME,
        "open": pa.bool_(),
    }
)
_RECORD = {
    **dict.fromkeys(("job", "model"), _TEXT),
    "version": _WHOLE,
    **dict.fromkeys(("window_start", "window_end"), _TIME),
    **dict.fromkeys(("closed", "segment_column", "segment_value"), _TEXT),
    **dict.fromkeys(("predicted", "dead", "late", "duplicates", "key_sample"), _WHOLE),
    **dict.fromkeys(("freshness_ms", "level"), _REAL),
    "window_verdict": _TEXT,
    "drifted": pa.list_(_TEXT),
    "problems": pa.list_(_PROBLEM),
    "joint": _JOINT,
    "reference": _TEXT,
    **dict.fromkeys(("partial", "learning"), pa.bool_()),
    "sequential": pa.list_(_CHART),
}
_COLUMN = {
    **dict.fromkeys(("name", "role", "kind"), _TEXT),
    "n": _WHOLE,
    "verdict": _TEXT,
    **dict.fromkeys(("p", "q", "effect", "min_effect", "visible_effect"), _REAL),
    "direction": _TEXT,
    **dict.fromkeys(("null_rate", "reference_null_rate"), _REAL),
    **dict.fromkeys(("invalid", "below", "above", "other", "unseen"), _WHOLE),
    "unseen_examples": pa.list_(_TEXT),
    **dict.fromkeys(("mean", "reference_mean", "std", "reference_std"), _REAL),
    **dict.fromkeys(("quantiles", "reference_quantiles"), _REALS),
    "statistics": pa.map_(_TEXT, _STATISTIC),
    "bins": _BINS,
    "previous": _PREVIOUS,
    **dict.fromkeys(("reference_unseen", "n_effective", "ratio", "min_ratio"), _REAL),
}
SCHEMA = pa.schema(_RECORD | _COLUMN, metadata={"schema": "tailrace.drift/1"})
_VOLUME = ("predicted", "dead", "late", "duplicates", "key_sample")
_MAPS = ("quantiles", "reference_quantiles", "statistics")


def to_arrow(records: Iterable[DriftRecord]) -> pa.Table:
    """One row per record and column, as the module says; raises ValueError for a time that is none."""
    return pa.Table.from_pylist([row for record in records for row in _rows(record)], schema=SCHEMA)


def from_arrow(table: pa.Table) -> list[DriftRecord]:
    """The records again. Raises msgspec.ValidationError for values that no record has."""
    records: list[Row] = []
    head: Row = {}
    for row in table.to_pylist():
        name = row["name"]
        known = {column["name"] for column in records[-1]["columns"]} if records else set()
        if not records or name is None or name in known or any(row[key] != head[key] for key in _RECORD):
            head = row
            records.append(_record(row))
        if name is not None:
            records[-1]["columns"].append(_column(row))
    return [msgspec.convert(record, DriftRecord) for record in records]


def write_parquet(records: Iterable[DriftRecord], path: Path) -> None:
    """Raises InputError when the file cannot be written."""
    try:
        pq.write_table(to_arrow(records), path, compression="zstd")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error


def read_parquet(path: Path) -> list[DriftRecord]:
    """What `write_parquet` wrote; raises InputError for any other file."""
    try:
        return from_arrow(_whole(pq.read_table(path)))
    except (OSError, ValueError, TypeError, msgspec.ValidationError) as error:
        raise InputError(f"{path} must be drift records in Parquet; {error}") from error


def _whole(table: pa.Table) -> pa.Table:
    """With all columns; files of earlier versions have fewer, and fewer fields in them."""
    for field in SCHEMA:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


def _rows(record: DriftRecord) -> Iterator[Row]:
    data = msgspec.to_builtins(record)
    window, segment = data["window"], data["segment"] or {"column": None, "value": None}
    head = {key: data.get(key) for key in _RECORD} | {
        "window_start": datetime.fromisoformat(window["start"]),
        "window_end": datetime.fromisoformat(window["end"]),
        "closed": window["closed"],
        "segment_column": segment["column"],
        "segment_value": segment["value"],
        **{key: data["records"][key] for key in _VOLUME},
        "window_verdict": data["verdict"],
        "sequential": _charts(data["sequential"], datetime.fromisoformat),
    }
    without: Row = {"name": None, **{key: {} for key in _MAPS}}
    for column in data["columns"] or (without,):
        maps = {key: list(column[key].items()) for key in _MAPS}
        maps["statistics"] = [(name, {"fixed": False, **value}) for name, value in maps["statistics"]]
        yield head | column | maps


def _joint(joint: Row | None) -> Row | None:
    return joint and {**joint, "test": joint.get("test") or "correlations"}


def _record(row: Row) -> Row:
    segment = {"column": row["segment_column"], "value": row["segment_value"]}
    return {
        **{key: row[key] for key in ("job", "model", "version", "freshness_ms", "level")},
        "window": {
            "start": _iso(row["window_start"]),
            "end": _iso(row["window_end"]),
            "closed": row["closed"],
        },
        "segment": segment if segment["column"] is not None else None,
        "records": {key: row[key] for key in _VOLUME},
        "problems": row["problems"],
        "verdict": row["window_verdict"],
        "drifted": row["drifted"],
        "columns": [],
        "joint": _joint(row["joint"]),
        # Files of earlier versions have none of these.
        "reference": row["reference"] or "all",
        "partial": row["partial"] or False,
        "learning": row["learning"] or False,
        "sequential": _charts(row["sequential"], _iso),
    }


def _column(row: Row) -> Row:
    # Files of earlier versions have none of these.
    added = {"reference_unseen": row["reference_unseen"] or 0.0, "ratio": row["ratio"] or 1.0}
    return {key: row[key] for key in _COLUMN} | {key: dict(row[key]) for key in _MAPS} | added


def _charts(charts: list[Row] | None, time: Callable[[Any], Any]) -> list[Row] | None:
    if charts is None:
        return None
    return [chart | {"since": time(chart["since"]) if chart["since"] else None} for chart in charts]


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
