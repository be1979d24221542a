"""Lines of CSV: the same outcome alone and in any batch, with the values that Python's csv module has.

The adversaries are a producer that quotes when it likes, one that forgets to, a broken line in a batch that
would move all values after it, and readers that are lenient where the standard is not.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.errors import JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan.formats import contract_of, format_params
from tests.helpers.examples import examples
from udfs.records.contract import Contract, Field
from udfs.records.csv import CsvDecoder
from udfs.records.csv_params import CsvParams
from udfs.records.decode import Decoder, decode_batch
from udfs.records.formats import make_decoder
from udfs.records.raws import Raws

CONTRACT = Contract(
    (
        Field("id", "long", required=True),
        Field("name", "string", length=(None, 20)),
        Field("size", "double", high=1e300),
        Field("ok", "boolean"),
        Field("price", "decimal", digits=(6, 2)),
    )
)
NAMES = ("id", "name", "other", "size", "ok", "price")
Quoting = Literal[0, 1, 2, 3]


def decoder(delimiter: str = ",", null: str = "") -> CsvDecoder:
    return CsvDecoder(CONTRACT, CsvParams(NAMES, delimiter, null), 10_000)


def outcomes(read: Decoder, raws: Sequence[bytes | None]) -> list[Any]:
    decoded = decode_batch(read, list(raws))
    sent = decode_batch(read, Raws(pa.array(raws, pa.binary())))
    assert decoded.table.equals(sent.table)
    assert decoded.problems == sent.problems
    rows = dict(zip(decoded.rows.tolist(), decoded.table.to_pylist(), strict=True))
    return [rows.get(i) or decoded.problems[i] for i in range(len(raws))]


def written(row: Sequence[object], quoting: Quoting, delimiter: str) -> bytes:
    """By Python's csv module, which quotes line breaks only where lines end with them."""
    stream = io.StringIO()
    csv.writer(stream, quoting=quoting, delimiter=delimiter, lineterminator="\r\n").writerow(row)
    return stream.getvalue().removesuffix("\r\n").encode()


TEXTS = st.text(st.sampled_from('ab ,;"\n\ré|'), max_size=6) | st.text(max_size=8)
ROWS = st.tuples(
    st.integers(-(2**63), 2**63 - 1),
    TEXTS,
    TEXTS,
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.booleans(),
    st.none() | st.decimals(-999, 999, places=2),
)


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.tuples(ROWS, st.sampled_from(["", "\n", "\r\n"])), min_size=1, max_size=6),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(",;|\t"),
    st.integers(1, 6),
)
def test_what_pythons_writer_writes_is_read_alone_and_in_any_batch(
    rows: list[tuple[tuple[Any, ...], str]], quoting: Quoting, delimiter: str, cut: int
) -> None:
    read = decoder(delimiter)
    lines = []
    for (number, name, other, size, ok, price), end in rows:
        boolean = "" if ok is None else str(ok).lower()
        rest = ("" if size is None else repr(size), boolean, "" if price is None else str(price))
        lines.append(written((number, name, other), quoting, delimiter))
        lines[-1] += f"{delimiter}{delimiter.join(rest)}{end}".encode()
    together = outcomes(read, lines)
    assert together == [each for line in lines for each in outcomes(read, [line])]
    assert together == outcomes(read, lines[:cut]) + outcomes(read, lines[cut:])
    for found, ((number, name, _, size, ok, price), _) in zip(together, rows, strict=True):
        if size is not None and size > 1e300:
            assert found.reason == "out_of_range"
            continue
        assert found == {
            "id": number,
            # The writer writes an empty text without quotes where it need not.
            "name": name or ("" if quoting == csv.QUOTE_NONNUMERIC else None),
            "size": size,
            "ok": ok,
            "price": None if price is None else f"{price + 0:.2f}".replace("-0.00", "0.00"),
        }


LINES = st.text(st.sampled_from('1a,,"" \n\r.'), max_size=12) | st.text(max_size=12)
TWO = Contract((Field("a", "string"), Field("b", "string")))


@settings(max_examples=examples(500), deadline=None)
@given(st.lists(LINES, min_size=1, max_size=6), st.integers(1, 6))
def test_any_line_has_one_outcome_and_accepted_ones_pythons(lines: list[str], cut: int) -> None:
    read = CsvDecoder(TWO, CsvParams(("a", "b")), 1_000)
    raws = [line.encode("utf-8", "surrogatepass") for line in lines]
    together = outcomes(read, raws)
    assert together == [each for raw in raws for each in outcomes(read, [raw])]
    assert together == outcomes(read, raws[:cut]) + outcomes(read, raws[cut:])
    for line, found in zip(lines, together, strict=True):
        if isinstance(found, dict):
            (row,) = csv.reader(io.StringIO(line, newline=""), strict=True)
            assert [value or "" for value in found.values()] == row
        elif found.reason == "not_csv" and "\0" not in line:
            assert _is_wrong(line), found


def _is_wrong(line: str) -> bool:
    """By Python's reader, and by what it forgives: quotes within values, and several lines."""
    try:
        rows = list(csv.reader(io.StringIO(line, newline=""), strict=True))
    except csv.Error:
        return True
    outside = "".join(line.replace('""', "").split('"')[::2])
    forgiven = line.replace('""', "").count('"') % 2 or any(
        part and not part.startswith('"') and '"' in part for part in line.split(",")
    )
    breaks = outside.rstrip("\n").removesuffix("\r")
    return (
        len(rows) != 1
        or len(rows[0]) != 2
        or bool(forgiven)
        or "\n" in breaks
        or "\r" in breaks
        or line.endswith("\r")
    )


GOOD = b"1,a,,2.5,true,9.90"
BAD: dict[bytes | None, tuple[str, str]] = {
    None: ("tombstone", "the record has no value"),
    b"": ("empty", "the value is empty"),
    b"1,a,,2.5,true": ("not_csv", "expected 6 values, got 5"),
    b"1,a,,2.5,true,9.90,": ("not_csv", "expected 6 values, got 7"),
    b"\n": ("not_csv", "expected 6 values, got 1"),
    GOOD + b"\n" + GOOD: (
        "not_csv",
        "the value at character 15 has a quotation mark or line break, and no quotes",
    ),
    GOOD + b"\r": ("not_csv", "the value at character 15 has a quotation mark or line break, and no quotes"),
    b'1,a"b,,2.5,true,9.90': (
        "not_csv",
        "the value at character 3 has a quotation mark or line break, and no quotes",
    ),
    b'1,"a"b,,2.5,true,9.90': (
        "not_csv",
        "the value in quotation marks at character 3 does not end, or goes on",
    ),
    b'1,"a,,2.5,true,9.90': (
        "not_csv",
        "the value in quotation marks at character 3 does not end, or goes on",
    ),
    b"1,\xff,,2.5,true,9.90": ("invalid_utf8", "byte 2 is not valid UTF-8"),
    b"1,a,\xff,2.5,true,9.90": ("invalid_utf8", "byte 4 is not valid UTF-8"),
    b"1,a,,2.5,true," + b"9" * 10_000: ("too_large", "expected at most 10000 bytes, got 10014"),
    b",a,,2.5,true,9.90": ("null", "$.id: required long is null"),
    b"01,a,,2.5,true,9.90": ("wrong_type", "$.id: expected long, got another text"),
    b"1.0,a,,2.5,true,9.90": ("wrong_type", "$.id: expected long, got another text"),
    b"9223372036854775808,a,,,,": ("wrong_type", "$.id: expected long, got integer beyond 64 bits"),
    b'"",a,,2.5,true,9.90': ("wrong_type", "$.id: expected long, got another text"),
    b"1,a,,NaN,true,9.90": ("wrong_type", "$.size: expected double, got another text"),
    b"1,a,,1e999,true,9.90": ("not_finite", "$.size: expected a finite number, got NaN or infinity"),
    b"1,a,,2.5,True,9.90": ("wrong_type", "$.ok: expected boolean, got another text"),
    b"1,a,,2.5,true,9.999": (
        "wrong_type",
        "$.price: expected decimal(6, 2), got more digits after the point",
    ),
    b"1,abcdefghijklmnopqrstuvw,,2.5,true,1": (
        "wrong_length",
        "$.name: expected at most 20 characters, got more",
    ),
}


@pytest.mark.parametrize("raw", BAD)
def test_a_bad_line_has_its_reason_and_spares_its_neighbours(raw: bytes | None) -> None:
    good = {"id": 1, "name": "a", "size": 2.5, "ok": True, "price": "9.90"}
    before, found, after = outcomes(decoder(), [GOOD, raw, GOOD + b"\r\n"])
    assert before == after == good
    reason, message = BAD[raw]
    assert found.reason == reason
    if reason != "wrong_type" or "decimal" not in message:
        assert found.message == message


def test_null_is_a_text_of_its_own_without_quotes() -> None:
    lines = [b"1,NA,,NA,NA,NA", b'2,"NA",,1,true,1', b"3,,,1,true,1"]
    rows = outcomes(decoder(null="NA"), lines * 20)
    assert [row["name"] for row in rows[:3]] == [None, "NA", ""]
    assert rows[0]["size"] is rows[0]["ok"] is rows[0]["price"] is None
    (empty,) = outcomes(decoder(null="NA"), [b"1,a,,,true,1"])
    assert empty.message == "$.size: expected double, got another text"


def test_a_thousand_values_are_read() -> None:
    names = tuple(f"f{n}" for n in range(1_000))
    contract = Contract(tuple(Field(name, "long") for name in names))
    line = ",".join(map(str, range(1_000))).encode()
    quoted = b'"0"' + line[1:]
    read = CsvDecoder(contract, CsvParams(names), 100_000)
    assert outcomes(read, [line, quoted] * 40) == [dict(zip(names, range(1_000), strict=True))] * 80


JOB = """
job: a
source:
  topic: meters
  format: csv
  csv: {columns: [id, "Zähler (kWh)", kwh], delimiter: ";"}
  schema: {id: {type: long, required: true}, energy: {type: double, field: kwh}}
model: {name: m}
"""


def test_a_job_names_the_values_of_lines() -> None:
    job = load_job_text(JOB, "job.yaml", Path("/"))
    read = make_decoder(contract_of(job.source), 1_000, format_params(job))
    assert outcomes(read, [b"1;x;2.5"]) == [{"id": 1, "energy": 2.5}]
    plain = load_job_text(
        JOB.replace('  csv: {columns: [id, "Zähler (kWh)", kwh], delimiter: ";"}\n', ""),
        "job.yaml",
        Path("/"),
    )
    read = make_decoder(contract_of(plain.source), 1_000, format_params(plain))
    assert outcomes(read, [b"1,2.5"]) == [{"id": 1, "energy": 2.5}]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("field: kwh", "field: kw", "source.schema.energy: must be a value of csv.columns; got 'kw'"),
        (
            "field: kwh",
            "field: a.b",
            "source.schema.energy.field: must be the name of a value of csv.columns",
        ),
        ("type: double", "type: list, element: double", "source.schema.energy.type: must be string, double"),
        ('delimiter: ";"', 'delimiter: "::"', "source.csv.delimiter: must be one character of ASCII"),
        ('delimiter: ";"', "delimiter: '\"'", "source.csv.delimiter: must be one character of ASCII"),
        (
            'delimiter: ";"',
            'delimiter: ";", null: "a;"',
            "source.csv.null: must be a text without the delimiter",
        ),
        ("[id, ", "[id, id, ", "source.csv.columns[1]: must be a name listed once; got 'id'"),
        ("format: csv", "format: json", "source.csv: must be left out, as the format is json; got a value"),
        (
            "  topic",
            "  envelope: debezium\n  topic",
            "source.envelope: must be left out, as the format is csv",
        ),
    ],
)
def test_what_cannot_be_is_told(before: str, after: str, message: str) -> None:
    assert JOB.count(before) == 1
    with pytest.raises(JobFileError) as caught:
        load_job_text(JOB.replace(before, after), "job.yaml", Path("/"))
    assert message in str(caught.value)
