"""Makes Avro schemas, and records written by Apache's own library.

Both ways of reading are held to what was written, and to one another where the bytes were spoiled. Expected
values are those that the records were made of, never read by code of ours.
"""

from __future__ import annotations

import io
import json
import random
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import avro.io
import avro.schema
import pyarrow as pa

from udfs.records.avro import AvroDecoder
from udfs.records.contract import Contract, Field
from udfs.records.decode import decode_batch
from udfs.types import ColumnType

MAX_BYTES = 4_000
Outcome = tuple[object, ...]
_LONGS = (0, 1, -1, 63, 64, -65, 2**31 - 1, 2**53 + 1, 2**63 - 1, -(2**63))
_TEXTS = ("", "a", "é", "\u2028", "\U0001f600", "x" * 200)


class CarefulDecoder(AvroDecoder):
    """Reads each record alone."""

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        return None


@dataclass(frozen=True)
class Topic:
    """A writer's schema, and a contract of columns in it."""

    schema: str
    contract: Contract

    def write(self, record: dict[str, Any]) -> bytes:
        """The record as Apache's library writes it."""
        return write(self.schema, record)


def write(schema: str, record: Any) -> bytes:
    """A record as Apache's library writes it; logical types are left out, so that stored values are given."""
    stream = io.BytesIO()
    avro.io.DatumWriter(avro.schema.parse(json.dumps(_stored(json.loads(schema))))).write(
        record, avro.io.BinaryEncoder(stream)
    )
    return stream.getvalue()


def _stored(schema: Any) -> Any:
    if isinstance(schema, dict):
        dropped = ("logicalType", "precision", "scale")
        return {key: _stored(value) for key, value in schema.items() if key not in dropped}
    return [_stored(each) for each in schema] if isinstance(schema, list) else schema


def make_topic(rng: random.Random) -> Topic:
    """A schema of some fields, of which some are columns of a fitting type, at the top or below."""
    names = iter(range(1_000))
    schema = _record(rng, names, 0)
    paths = list(_scalars(schema, ()))
    chosen = rng.sample(paths, min(len(paths), rng.randrange(1, 8)))
    fields = [Field(f"c{i}", _column_type(rng, kind), path=path) for i, (path, kind) in enumerate(chosen)]
    return Topic(json.dumps(schema), Contract((*fields, Field("absent", "string"))))


def _record(rng: random.Random, names: Iterator[int], depth: int) -> dict[str, Any]:
    fields = [
        {"name": f"f{next(names)}", "type": _type(rng, names, depth)} for _ in range(rng.randrange(1, 7))
    ]
    return {"type": "record", "name": f"R{next(names)}", "fields": fields}


def _type(rng: random.Random, names: Iterator[int], depth: int) -> Any:
    shape = rng.random()
    if shape < 0.5 or depth > 2:
        return _scalar(rng, names)
    if shape < 0.75:
        branches = ["null", _scalar(rng, names) if rng.random() < 0.7 else _record(rng, names, depth + 1)]
        rng.shuffle(branches)
        return branches
    if shape < 0.85:
        return _record(rng, names, depth + 1)
    if shape < 0.9:
        return rng.choice((["string", "long"], ["null", "double", "string"], ["boolean"]))
    inner = _scalar(rng, names) if rng.random() < 0.7 else _record(rng, names, depth + 1)
    return {"type": "array", "items": inner} if rng.random() < 0.5 else {"type": "map", "values": inner}


def _scalar(rng: random.Random, names: Iterator[int]) -> Any:
    kinds = ("boolean", "int", "long", "float", "double", "string", "bytes", "enum", "fixed")
    kind = rng.choice(kinds)
    if kind == "enum":
        return {"type": "enum", "name": f"E{next(names)}", "symbols": ["A", "B", "C"]}
    return (
        {"type": "fixed", "name": f"F{next(names)}", "size": rng.choice((1, 3))} if kind == "fixed" else kind
    )


def _scalars(schema: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Paths to what may be a column, also within a union with null."""
    branches = schema if isinstance(schema, list) else [schema]
    for branch in branches:
        kind = branch["type"] if isinstance(branch, dict) else branch
        if kind == "record":
            for field in branch["fields"]:
                yield from _scalars(field["type"], (*path, field["name"]))
        elif kind in ("boolean", "int", "long", "float", "double", "string", "enum"):
            yield path, kind
            return


def _column_type(rng: random.Random, kind: str) -> ColumnType:
    match kind:
        case "boolean":
            return "boolean"
        case "int" | "long":
            return rng.choice(("long", "double"))
        case "float" | "double":
            return "double"
    return "string"


def make_value(rng: random.Random, schema: Any) -> Any:
    """A value that Apache's library writes for the type."""
    if isinstance(schema, list):
        return make_value(rng, rng.choice(schema))
    kind = schema["type"] if isinstance(schema, dict) else schema
    match kind:
        case "record":
            return {field["name"]: make_value(rng, field["type"]) for field in schema["fields"]}
        case "array":
            return [make_value(rng, schema["items"]) for _ in range(rng.randrange(4))]
        case "map":
            return {rng.choice(_TEXTS): make_value(rng, schema["values"]) for _ in range(rng.randrange(3))}
        case "enum":
            return rng.choice(schema["symbols"])
        case "fixed":
            return rng.randbytes(schema["size"])
        case "null":
            return None
        case "boolean":
            return rng.random() < 0.5
        case "int":
            return rng.choice((0, -1, 64, 2**31 - 1, -(2**31)))
        case "long":
            return rng.choice(_LONGS)
        case "float":
            return struct.unpack("<f", struct.pack("<f", rng.uniform(-1e6, 1e6)))[0]
        case "double":
            return rng.choice((0.0, -0.0, 0.1, 1e308, rng.uniform(-1, 1)))
        case "bytes":
            return rng.randbytes(rng.randrange(4))
    return rng.choice(_TEXTS)


def expected(topic: Topic, record: dict[str, Any]) -> Outcome | None:
    """The columns that the record was made of; None where its outcome is another."""
    values: list[object] = []
    for field in topic.contract.fields:
        found: Any = record
        for step in field.steps:
            found = found.get(step) if isinstance(found, dict) else None
        if found is None or (field.type == "double" and type(found) in (int, float)):
            values.append(None if found is None else float(found) + 0.0)
        elif type(found) is {"string": str, "boolean": bool, "long": int}.get(field.type):
            values.append(found)
        else:
            return None
    return _bits(values)


def spoiled(rng: random.Random, raw: bytes) -> bytes:
    """The record cut short, with other bytes, with a huge varint in it, or with more behind it."""
    at = rng.randrange(len(raw) + 1)
    match rng.randrange(5):
        case 0:
            return raw[:at]
        case 1:
            return raw[:at] + rng.randbytes(1) + raw[at + 1 :]
        case 2:
            return raw[:at] + b"\xff" * rng.randrange(1, 12) + raw[at:]
        case 3:
            return raw + rng.randbytes(rng.randrange(1, 4))
    return rng.randbytes(rng.randrange(60))


def differences(rng: random.Random, count: int) -> tuple[Counter[str], list[str]]:
    """How many records of one random topic had which outcome, and what did not agree, in words."""
    topic = make_topic(rng)
    schema = json.loads(topic.schema)
    made = [make_value(rng, schema) for _ in range(count)]
    share = rng.choice((0.0, 0.02, 0.5))
    raws: list[bytes] = []
    wanted: list[Outcome | None] = []
    for record in made:
        raw = topic.write(record)
        bad = rng.random() < share
        raws.append(spoiled(rng, raw) if bad else raw)
        wanted.append(None if bad and raws[-1] != raw else expected(topic, record))
    quick = AvroDecoder(topic.contract, MAX_BYTES, topic.schema)
    careful = CarefulDecoder(topic.contract, MAX_BYTES, topic.schema)
    counts: Counter[str] = Counter()
    found: list[str] = []
    start = 0
    while start < len(raws):
        stop = start + rng.choice((1, 3, 33, 200))
        both = zip(outcomes(quick, raws[start:stop]), outcomes(careful, raws[start:stop]), strict=True)
        for raw, want, (one, other) in zip(raws[start:stop], wanted[start:stop], both, strict=True):
            counts[str(one[2]) if one[:1] == ("refused",) else "read"] += 1
            if (
                one != other
                or "unexpected" in one
                or (want is not None and want != one and len(raw) <= MAX_BYTES)
            ):
                found.append(f"{topic.schema} {raw!r}: expected {want}, quickly {one}, carefully {other}")
        start = stop
    counts["quick" if quick._only._step else "by record"] += 1
    return counts, found


def outcomes(decoder: AvroDecoder, batch: Sequence[bytes | None]) -> Iterator[Outcome]:
    """What became of each record, with values to the last bit."""
    decoded = decode_batch(decoder, batch)
    rows = dict(zip(decoded.rows.tolist(), decoded.table.to_pylist(), strict=True))
    assert sorted([*rows, *decoded.problems]) == list(range(len(batch))), "one outcome for each record"
    for i in range(len(batch)):
        problem = decoded.problems.get(i)
        yield ("refused", problem.stage, problem.reason) if problem else _bits(list(rows[i].values()))


def _bits(values: Sequence[object]) -> Outcome:
    return tuple(
        struct.pack(">d", value) if isinstance(value, float) else (type(value).__name__, value)
        for value in values
    )
