"""Makes records that are hard to read, and holds both ways of decoding to an independent strict reading.

The same records are cut into batches at random and read quickly and carefully; each must have the same
outcome as alone, and the values must be the same to the last bit.
"""

from __future__ import annotations

import json
import random
import struct
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from tests.helpers import strict_json
from udfs.records.contract import Contract, Field
from udfs.records.decode import decode_batch
from udfs.records.json import JsonDecoder
from udfs.records.raws import Raws

CONTRACT = Contract(
    (
        Field("id", "long", required=True),
        Field("amount", "double"),
        Field("near", "double", values=(2**53 + 1, 1.5, 0, -(2**53) - 1)),
        Field("limited", "double", low=-(2**53) - 1, high=2**60),
        Field("count", "long", low=-(2**63) + 1, high=2**63 - 2),
        Field("chosen", "long", values=(2**53 + 1, 2**63 - 1, 0)),
        Field("kind", "string", values=("a", "é", "\u2028", '"')),
        Field("text", "string"),
        Field("flag", "boolean"),
    )
)
MAX_BYTES = 4_000
Outcome = tuple[object, ...]


class CarefulDecoder(JsonDecoder):
    """Reads each record alone."""

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        return None


def make_records(rng: random.Random, count: int) -> list[bytes | None]:
    """Records of which most are valid, and many at the edge of being so."""
    return [_make_record(rng) for _ in range(count)]


def differences(raws: Sequence[bytes | None], rng: random.Random) -> tuple[Counter[str], list[str]]:
    """How many records had which outcome, and what did not agree, in words."""
    quick, careful = JsonDecoder(CONTRACT, MAX_BYTES), CarefulDecoder(CONTRACT, MAX_BYTES)
    found: list[str] = []
    counts: Counter[str] = Counter()
    start = 0
    while start < len(raws):
        stop = start + rng.choice((1, 2, 3, 10, 33, 100, 500))
        batch = raws[start:stop]
        start = stop
        for raw, one, other in zip(batch, _outcomes(quick, batch), _outcomes(careful, batch), strict=True):
            expected = strict_json.read(raw, CONTRACT, MAX_BYTES)
            counts["refused" if expected is None else "valid"] += 1
            counts[f"reason {one[2]}" if one[0] == "refused" else "read"] += 1
            wrong = one != other or "unexpected" in one
            if expected is None:
                wrong |= one[0] != "refused"
            else:
                wrong |= one != _bits(expected)
            if wrong:
                found.append(f"{raw!r}: expected {expected}, quickly {one}, carefully {other}")
    return counts, found


def _outcomes(decoder: JsonDecoder, batch: Sequence[bytes | None]) -> Iterator[Outcome]:
    decoded = decode_batch(decoder, Raws(pa.array(batch, pa.binary())))
    rows = dict(zip(decoded.rows.tolist(), decoded.table.to_pylist(), strict=True))
    assert sorted([*rows, *decoded.problems]) == list(range(len(batch))), "one outcome for each record"
    for i in range(len(batch)):
        problem = decoded.problems.get(i)
        yield ("refused", problem.stage, problem.reason) if problem else _bits(rows[i])


def _bits(record: dict[str, object]) -> Outcome:
    return tuple(
        struct.pack(">d", value) if isinstance(value, float) else (type(value).__name__, value)
        for value in record.values()
    )


def _make_record(rng: random.Random) -> bytes | None:
    if rng.random() < 0.01:
        return rng.choice(
            (None, b"", b" \n", b"oops", b"null", b"[1]", b"\xef\xbb\xbf{}", b'{"id":1}{"id":2}')
        )
    names = [field.name for field in CONTRACT.fields if field.name == "id" or rng.random() < 0.5]
    if rng.random() < 0.05:
        names += rng.choices(["extra", "id", "", "a.b"], k=2)
    rng.shuffle(names)
    space = rng.choice(("", "", "", " ", "\t", "\r\n"))
    members = (f"{json.dumps(name)}{space}:{space}{_make_value(rng, name)}" for name in names)
    raw = ("{" + f"{space},".join(members) + "}" + space).encode("utf-8", "surrogatepass")
    return _spoiled(rng, raw) if rng.random() < 0.03 else raw


def _make_value(rng: random.Random, name: str) -> str:
    kind = next((field.type for field in CONTRACT.fields if field.name == name), None)
    if kind is None or rng.random() < 0.03:
        return _make_odd(rng)
    if rng.random() < 0.05:
        return "null"
    if kind == "boolean":
        return rng.choice(("true", "false"))
    if kind == "string":
        text = rng.choice(
            ("a", "é", "\u2028", '"', *(("\U0001f600", "NaN", "", "\x7f", "}\n{") if name == "text" else ()))
        )
        return json.dumps(text, ensure_ascii=rng.random() < 0.5) if rng.random() < 0.99 else '"\\ud800"'
    if name in ("near", "chosen") and rng.random() < 0.95:
        return rng.choice(
            ("9007199254740993", "0", "-0") + (("-9007199254740992", "15e-1") if name == "near" else ())
        )
    if name in ("limited", "count") and rng.random() < 0.7:
        return str(rng.randint(-(2**53) - 1, 2**53 + 1))
    return _make_whole(rng) if kind == "long" or rng.random() < 0.4 else _make_number(rng)


def _make_odd(rng: random.Random) -> str:
    depth = rng.choice((1, 3, 99, 100, 101, 1100))
    odd = (
        "NaN",
        "-Infinity",
        "{}",
        "[[1,{}]]",
        "1.0",
        "1e2",
        "01",
        "+1",
        ".5",
        "1.",
        "-",
        "1e",
        "tru",
        '"1"',
    )
    return rng.choice((*odd, "true", "-0", "[" * depth + "]" * depth, "9" * rng.choice((400, 4301)), "1e999"))


def _make_whole(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return str(rng.randint(-1000, 1000))
    near = rng.choice((2**53, 2**54, 2**60, 2**62, 2**63, 10**15, rng.getrandbits(63), rng.getrandbits(1000)))
    return rng.choice(("", "-")) + str(max(near + rng.choice((-1025, -2, -1, 0, 1, 2, 1025)), 0))


def _make_number(rng: random.Random) -> str:
    """Doubles of any bits, decimals of any length, and those that lie half way between two doubles."""
    shape = rng.randrange(4)
    if shape == 0:
        (number,) = struct.unpack(">d", rng.getrandbits(64).to_bytes(8, "big"))
        return json.dumps(number)
    if shape == 1:
        digits = "".join(rng.choices("0123456789", k=rng.choice((1, 17, 40, 800))))
        return f"{rng.choice(('', '-'))}{rng.randrange(10)}.{digits}e{rng.randint(-340, 310)}"
    if shape == 2:
        half = 2 * rng.getrandbits(52) + 2**53 + 1
        return f"{half * 5 ** (k := rng.randrange(1, 60))}e-{k}" if rng.random() < 0.5 else f"{half}.0"
    return rng.choice(
        ("0.0", "-0.0", "-0e5", "-1e-400", "5e-324", "2.4703282292062327e-324", "1.7976931348623159e308")
    )


def _spoiled(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    if rng.random() < 0.3:
        return raw[:at]
    return raw[:at] + bytes([rng.randrange(256)]) + raw[at + rng.randrange(2) :]
