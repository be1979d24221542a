"""Makes and checks golden rows: inputs with the predictions of the model's own library for them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from udfs.errors import ModelError
from udfs.model.contract import Model, Scored
from udfs.model.manifest import GOLDEN_FILE
from udfs.tables import reader_of

_PREFIX = "expected."


def make(inputs: pa.Table, said: Scored) -> bytes:
    """The golden file: `inputs` and what is `said` of them, as Parquet."""
    table = inputs
    for name, values in _outputs(said).items():
        table = table.append_column(_PREFIX + name, pa.array(values))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def check(model: Model, data: bytes, tolerance: float) -> None:
    """Raise `ModelError` unless `model` reproduces the golden file `data`.

    Numbers may differ by `tolerance`, absolute below 1 and relative above; labels not at all.
    """
    table = _read(data, model.signature.schema())
    inputs = table.select(model.signature.names)
    try:
        outputs = _outputs(model.predict(inputs))
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"its golden rows cannot be scored: {type(error).__name__}: {error}") from error
    expected = {name[len(_PREFIX) :]: table[name] for name in table.column_names if name.startswith(_PREFIX)}
    if expected.keys() != outputs.keys():
        raise ModelError(f"{GOLDEN_FILE} must expect {sorted(outputs)}; got {sorted(expected)}")
    for name, column in expected.items():
        _compare(name, column, outputs[name], tolerance)


def _read(data: bytes, schema: pa.Schema) -> pa.Table:
    try:
        table = pq.read_table(reader_of(data))
    except (pa.ArrowException, OSError) as error:
        raise ModelError(f"{GOLDEN_FILE} must be a Parquet file: {error}") from None
    inputs = pa.schema([field for field in table.schema if not field.name.startswith(_PREFIX)])
    if not inputs.equals(schema):
        raise ModelError(f"{GOLDEN_FILE} must have the inputs {_show(schema)}; got {_show(inputs)}")
    if not table.num_rows:
        raise ModelError(f"{GOLDEN_FILE} must have rows; got none")
    return table


def _show(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _outputs(scored: Scored) -> dict[str, Any]:
    columns: dict[str, Any] = {"prediction": list(scored.prediction)}
    if scored.score is not None:
        columns["score"] = scored.score
    if scored.probabilities is not None:
        columns |= {f"p_{i}": column for i, column in enumerate(scored.probabilities.T)}
    return columns


def _compare(name: str, expected: pa.ChunkedArray, got: Any, tolerance: float) -> None:
    if pa.types.is_floating(expected.type):
        _compare_numbers(name, expected.to_numpy(), np.asarray(got, dtype=np.float64), tolerance)
        return
    for row, (was, now) in enumerate(zip(expected.to_pylist(), got, strict=True)):
        if was != now:
            raise ModelError(f"golden row {row}: {name} must be {was!r}; got {now!r}")


def _compare_numbers(name: str, was: Any, now: Any, tolerance: float) -> None:
    apart = np.abs(now - was) / np.maximum(1.0, np.abs(was))
    wrong = ~(apart <= tolerance)
    if wrong.any():
        row = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
        expected, found = float(was[row]), float(now[row])
        raise ModelError(
            f"golden row {row}: {name} must be {expected!r} within {tolerance:g}; got {found!r} "
            f"({wrong.sum()} of {len(was)} rows differ, by up to {apart[row]:.3g})"
        )
