"""Labelled rows in the model's inputs: records through the job file, once for the same records and job.

data = load_data(trainer, job, features_on_flink, cache=Path(".tailrace/features"), note=print)
data.rows.frame(), data.rows.labels, data.rows.times
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flink_jobs.errors import InputError
from flink_jobs.history import Replay, read_tables
from flink_jobs.history.records import from_table, read_history_table
from flink_jobs.history.table_files import label_type
from flink_jobs.kafka import Message
from flink_jobs.plan.columns import job_columns
from flink_jobs.plan.personal import personal_columns
from flink_jobs.spec import JobSpec
from flink_jobs.training.contract import Trainer
from flink_jobs.training.lineage import features_fingerprint, table_fingerprint
from flink_jobs.training.splits import Mask, Times
from udfs.features.columns import FEEDS
from udfs.model.formats.inputs import frame, trained
from udfs.model.manifest import Input, InputType, Output, Signature
from udfs.profile.vectors import elements_of
from udfs.records.vectors import part_names
from udfs.types import ARROW

Labels = npt.NDArray[Any]
Note = Callable[[str], None]
_ROW, _TIME = "@row", "@event_time"
_LOST = b"tailrace.lost"
_TYPES: tuple[InputType, ...] = ("double", "long", "string", "boolean")


@dataclass(frozen=True)
class Computed:
    """Features of records: row i of `table` and `times` (datetime64[ms]) belongs to record `rows[i]`.

    `lost` records have no features: they are dead letters or late.
    """

    table: pa.Table
    rows: npt.NDArray[np.int64]
    times: Times
    lost: int = 0


ComputeFeatures = Callable[[JobSpec, pa.Table, Sequence[str], Note], Computed]
TRAINERS_TABLES = "tables={NAME: function} of the Trainer"


@dataclass(frozen=True)
class LabelledRows:
    """n labelled rows in the order of event time: a column per input, labels, datetime64[ms] times."""

    inputs: pa.Table
    labels: Labels
    times: Times

    def __len__(self) -> int:
        return len(self.labels)

    def frame(self) -> pd.DataFrame:
        """The inputs as the worker gives them to a model."""
        return frame(self.inputs)

    def where(self, mask: Mask) -> LabelledRows:
        return LabelledRows(self.inputs.filter(pa.array(mask)), self.labels[mask], self.times[mask])


@dataclass(frozen=True)
class Data:
    """`records` were read, `lost` of them are dead letters or late; fingerprints are `sha256:…`.

    `private` inputs are personal data, which the version's files must not tell.
    """

    rows: LabelledRows
    signature: Signature
    records: int
    lost: int
    fingerprint: str
    features_fingerprint: str
    cached: bool
    private: frozenset[str] = frozenset()
    #: Vectors of the job whose elements are inputs.
    vectors: tuple[str, ...] = ()


def features_on_flink(
    job: JobSpec,
    records: pa.Table,
    columns: Sequence[str],
    note: Note,
    brokers: str | None = None,
    tables: Mapping[str, Sequence[Message]] | None = None,
) -> Computed:
    """The features as a job computes them: on a Flink of its own, and on a broker too, if none is given.

    `tables` are the changes of lookups whose tables are topics. Raises JobFailedError when the job fails,
    WorkError when the broker does not come up.
    """
    read = from_table(job, records, "history()")
    with Replay(read.read_by(job), read.records, brokers=brokers, tables=tables) as replay:
        note(f"{len(read.records):,} records on a broker")
        found = replay.features(columns, lambda counts: note(f"{counts['read']:,} of {len(read.records):,}"))
    times = found.context.column("event_time").cast(pa.timestamp("ms")).to_numpy()
    return Computed(found.table, found.rows, times, found.read - found.table.num_rows)


def load_data(trainer: Trainer, job: JobSpec, features: ComputeFeatures, cache: Path, note: Note) -> Data:
    """The trainer's labelled rows. Raises InputError where records, labels or inputs do not fit the job.

    Personal data is not kept in the cache.
    """
    signature = job_signature(trainer, job)
    private = private_inputs(signature, job)
    records = read_history(trainer, job)
    names = [job.model.inputs.get(name, name) for name in trainer.inputs]
    tables = read_tables(job, {name: give() for name, give in trainer.tables.items()}, TRAINERS_TABLES)
    data_key = table_fingerprint(records)
    features_key = features_fingerprint(job, names, tables)
    place = cache / f"{data_key[7:23]}-{features_key[7:23]}.parquet"
    computed = None if private else _read_cache(place)
    if cached := computed is not None:
        note(f"computed before: {place}")
    else:
        compute: Callable[..., Computed] = features
        more = {"tables": tables} if tables else {}
        computed = compute(job, records.drop([trainer.label]), names, note, **more)
        if private:
            note(f"not kept, as they are personal data: {', '.join(sorted(private))}")
        else:
            _write_cache(place, computed)
    assert computed is not None
    rows = _labelled(computed, records.column(trainer.label), signature, trainer)
    known = {item.name for item in signature.inputs} - private
    vectors = tuple(
        name for name, size in job.source.vectors.items() if known.issuperset(part_names(name, size))
    )
    lost = computed.lost
    return Data(rows, signature, records.num_rows, lost, data_key, features_key, cached, private, vectors)


def require_vectors(rows: LabelledRows, vectors: Sequence[str]) -> None:
    """Raises InputError for a vector that no held-out row has: drift is measured from the mean of these."""
    for name in vectors:
        parts = [rows.inputs[part] for part in elements_of(name, rows.inputs.column_names)]
        if not np.logical_and.reduce([part.is_valid().to_numpy() for part in parts]).any():
            raise InputError(
                f"the vector {name!r} must be there in at least one of the {len(rows):,} held-out rows; it "
                "is null in all: leave it out of inputs, or look whether history() has it"
            )


def private_inputs(signature: Signature, job: JobSpec) -> frozenset[str]:
    """The inputs that are personal data.

    Raises InputError for texts: a model's file has those that it was fitted on.
    """
    labels = personal_columns(job, job_columns(job))
    private = [item for item in signature.inputs if job.model.inputs.get(item.name, item.name) in labels]
    if texts := [item.name for item in private if item.type == "string"]:
        raise InputError(
            f"inputs must not be texts that are personal data, as the model's file would hold them; got "
            f"{', '.join(texts)}; privacy.declassify in the job file says of a column that it is none"
        )
    return frozenset(item.name for item in private)


def job_signature(trainer: Trainer, job: JobSpec) -> Signature:
    """The inputs with the types that the job's columns have. Raises InputError for others."""
    if job.score != "per_event":
        raise InputError("a job must score each event to be trained on records; this one scores windows")
    columns = job_columns(job)
    inputs = []
    for name in trainer.inputs:
        column = columns.columns.get(job.model.inputs.get(name, name))
        if column is None:
            known = ", ".join(columns.columns)
            raise InputError(f"inputs must be columns of {trainer.job} ({known}); got {name!r}")
        kind = next((kind for kind in _TYPES if kind == column.type and column.type in FEEDS[kind]), None)
        if kind is None:
            raise InputError(f"inputs must be {', '.join(_TYPES)}; {name} is a {column.type}")
        inputs.append(trained(Input(name=name, type=kind)))
    return Signature(inputs=tuple(inputs), output=trainer.output)


def read_history(trainer: Trainer, job: JobSpec) -> pa.Table:
    """What `history` gives, as a table with the label. Raises InputError when it is something else."""
    found = trainer.history()
    if isinstance(found, str | os.PathLike):
        types = {trainer.label: label_type(trainer.output)}
        try:
            found = read_history_table(job, Path(found), types=types)
        except InputError as error:
            raise InputError(f"history() must give a Parquet or CSV file; {error}") from error
    if not isinstance(found, pa.Table):
        raise InputError(f"history() must give an Arrow table or a path; got a {type(found).__name__}")
    if trainer.label not in found.column_names:
        raise InputError(f"history() must have the column {trainer.label!r}, the label; it has "
                         f"{', '.join(found.column_names)}")  # fmt: skip
    if trainer.label in job.source.columns:
        raise InputError(
            f"the label {trainer.label!r} must not be a field of source.schema: a record does not have it"
        )
    return found


def _labelled(
    computed: Computed, label: pa.ChunkedArray, signature: Signature, trainer: Trainer
) -> LabelledRows:
    """Rows whose label is known, by event time; those of the same time in the order of their records."""
    label = label.combine_chunks().take(pa.array(computed.rows))
    known = pc.is_valid(label).to_numpy(zero_copy_only=False)
    order = np.lexsort((computed.rows, computed.times))
    order = order[known[order]]
    if not len(order):
        raise InputError(f"history() must have rows with a known {trainer.label}; got none")
    table = computed.table.rename_columns(list(signature.names)).take(pa.array(order))
    inputs = table.cast(pa.schema([(item.name, ARROW[item.type]) for item in signature.inputs]))
    labels = _values(label.take(pa.array(order)), signature.output, trainer.label)
    return LabelledRows(inputs.combine_chunks(), labels, computed.times[order])


def _values(label: pa.Array, output: Output, name: str) -> Labels:
    if output.kind == "regression":
        try:
            return np.asarray(label.cast(pa.float64()).to_numpy(zero_copy_only=False))
        except pa.ArrowException:
            raise InputError(f"{name} must be numbers; got {label.type}") from None
    found = set(pc.unique(label).to_pylist())
    if unknown := [value for value in found if value not in output.classes]:
        classes = ", ".join(map(str, output.classes))
        raise InputError(f"{name} must be one of the classes {classes}; got {unknown[0]!r}")
    return np.array(label.to_pylist(), dtype=np.array(output.classes).dtype)


def _read_cache(place: Path) -> Computed | None:
    if not place.is_file():
        return None
    table = pq.read_table(place)
    lost = int(table.schema.metadata[_LOST])
    rows = table.column(_ROW).to_numpy()
    return Computed(table.drop([_ROW, _TIME]), rows, table.column(_TIME).to_numpy(), lost)


def _write_cache(place: Path, computed: Computed) -> None:
    """Whole or not at all."""
    table = computed.table.append_column(_ROW, pa.array(computed.rows))
    table = table.append_column(_TIME, pa.array(computed.times, pa.timestamp("ms")))
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(f".{os.getpid()}.part")
    pq.write_table(table.replace_schema_metadata({_LOST: str(computed.lost)}), part, compression="zstd")
    part.replace(place)
