"""Columns of keys and headers: each bad one has its reason, and a batch decides as each record alone.

The adversaries are producers whose keys and headers are missing, of other bytes, or text that only looks like
a number; and a job that is started again from state with columns that it did not have.
"""

from __future__ import annotations

import io
import json
import re
from decimal import Decimal

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import examples, sized
from udfs.records.beside import BesideParams
from udfs.records.contract import Contract, Field
from udfs.records.decode import Decoded, decode_batch
from udfs.records.formats import FormatParams
from udfs.records.raws import Raws
from udfs.records.text import TextDecoder
from udfs.scoring.checker import RecordChecker
from udfs.scoring.outcomes import DEAD, PREDICTED
from udfs.scoring.params import PackParams, SourceParams
from udfs.scoring.recheck import Rechecker, checked_columns
from udfs.windows.blobs import row_schema

KEY = BesideParams(
    Contract((Field("customer", "string", required=True, path=("of", "customer")), Field("part", "long"))),
    FormatParams("json"),
)
TENANT = BesideParams(Contract((Field("tenant", "string", required=True, values=("a", "b")),)), header="x-t")
TRIES = BesideParams(Contract((Field("tries", "long", low=0),)), header="tries")
SOURCE = SourceParams("orders", Contract((Field("n", "long", required=True),)), beside=(KEY, TENANT, TRIES))
Part = bytes | None
Record = tuple[Part, Part, Part, Part]
GOOD: Record = (b'{"n": 1}', b'{"of": {"customer": "ann"}, "part": 7}', b"a", b"3")


def check(records: list[Record]) -> Decoded:
    value, *beside = zip(*records, strict=True)
    rows = len(records)
    times, late = np.full(rows, 1_767_225_600_000), np.zeros(rows, np.bool_)
    arrays = [Raws(pa.array(part, pa.binary())) for part in beside]
    return RecordChecker(SOURCE).check(Raws(pa.array(value, pa.binary())), times, late, arrays)


ONE_OF, TRIED = "expected one of a, b, got another value", "header 'tries': expected"
BAD: list[tuple[Record, str, str]] = [
    ((b"oops", None, None, None), "not_json", "expecting value at character 0"),
    ((GOOD[0], None, b"a", None), "missing", "key $.of.customer: required string is missing"),
    ((GOOD[0], b"", b"a", None), "empty", "key: the value is empty"),
    ((GOOD[0], b"7", b"a", None), "not_an_object", "key: expected a JSON object, got number"),
    ((GOOD[0], b'{"of": 1}', b"a", None), "wrong_type", "key $.of: expected an object, got number"),
    ((GOOD[0], GOOD[1], None, b"x"), "missing", "header 'x-t': required string is missing"),
    ((GOOD[0], GOOD[1], b"c", None), "not_in_values", f"header 'x-t': {ONE_OF}"),
    ((GOOD[0], GOOD[1], b"\xff", None), "invalid_utf8", "header 'x-t': byte 0 is not valid UTF-8"),
    ((GOOD[0], GOOD[1], b"a", b"-1"), "out_of_range", f"{TRIED} at least 0, got a smaller number"),
    ((GOOD[0], GOOD[1], b"a", b" 1"), "wrong_type", f"{TRIED} long, got another text"),
    ((GOOD[0], GOOD[1], b"a", b"9" * 19), "wrong_type", f"{TRIED} long, got integer beyond 64 bits"),
]  # fmt: skip


@pytest.mark.parametrize(("record", "reason", "message"), BAD)
def test_a_bad_key_or_header_has_its_reason_and_spares_its_neighbours(
    record: Record, reason: str, message: str
) -> None:
    decoded = check([GOOD, record, GOOD])
    ((row, problem),) = decoded.problems.items()
    assert (row, problem.reason, problem.message) == (1, reason, message)
    assert decoded.rows.tolist() == [0, 2]
    fields = {"n": 1, "customer": "ann", "part": 7, "tenant": "a", "tries": 3}
    assert decoded.table.to_pylist() == [fields] * 2


def test_what_may_be_missing_is_null() -> None:
    decoded = check([(GOOD[0], b'{"of": {"customer": "ann"}}', b"b", None)] * 3)
    fields = {"n": 1, "customer": "ann", "part": None, "tenant": "b", "tries": None}
    assert decoded.table.to_pylist() == [fields] * 3


parts = st.sampled_from([*GOOD, None, b"", b"b", b"1", b"x", b"\xff", b'{"of":null}', b'{"n":"1"}'])
records = st.one_of(st.just(GOOD), st.tuples(parts, parts, parts, parts))


@settings(max_examples=sized(200, 25))
@given(st.lists(records, min_size=1, max_size=80))
def test_a_batch_decides_as_each_record_alone(batch: list[Record]) -> None:
    together = check(batch)
    rows = dict(zip(together.rows.tolist(), together.table.to_pylist(), strict=True))
    assert sorted([*rows, *together.problems]) == list(range(len(batch))), "one outcome for each record"
    for i, record in enumerate(batch):
        alone = check([record])
        assert alone.problems.get(0) == together.problems.get(i)
        assert alone.problems or alone.table.to_pylist()[0] == rows[i]


texts = st.one_of(
    st.text("0123456789-+.eE tru", max_size=25),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["true", "false", "True", "1\n", "", "٣", "1_0", "9" * 5000, "1e999", "-0"]),
).map(str.encode)


@settings(max_examples=examples(300))
@given(st.lists(texts, min_size=1, max_size=40), st.sampled_from(["long", "double", "boolean"]))
def test_text_is_a_number_where_json_says_so(raws: list[bytes], kind: str) -> None:
    """Python's JSON reader is the judge."""
    decoder = TextDecoder(Contract((Field("x", kind),)), 10_000)  # type: ignore[arg-type]
    decoded = decode_batch(decoder, raws)
    values = dict(zip(decoded.rows.tolist(), decoded.table["x"].to_pylist(), strict=True))
    for row, raw in enumerate(raws):
        try:
            assert raw == raw.strip()
            found = json.loads(raw, parse_int=Decimal, parse_constant=lambda text: None)
        except (ValueError, AssertionError):
            found = None
        wanted = {"long": Decimal, "double": (Decimal, float), "boolean": bool}[kind]
        good = isinstance(found, wanted)  # type: ignore[arg-type]
        if kind == "long" and good:
            good = -(2**63) <= found < 2**63
        if kind == "double" and good:
            good = abs(float(found)) != float("inf")
        assert (row in values) == good, raw
        if good:
            assert values[row] == (float(found) if kind == "double" else found)


def test_keys_of_avro_are_read_by_their_own_schema() -> None:
    schema = {"type": "record", "name": "K", "fields": [{"name": "id", "type": "string"}]}
    part = BesideParams(Contract((Field("id", "string"),)), FormatParams("avro", json.dumps(schema)))
    source = SourceParams("orders", Contract((Field("n", "long"),)), beside=(part,))
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), {"id": "ann"})
    keys: list[Part] = [stream.getvalue(), b"\x01", None]
    times, late = np.full(3, 1_767_225_600_000), np.zeros(3, np.bool_)
    decoded = RecordChecker(source).check([b"{}"] * 3, times, late, [keys])
    assert decoded.table["id"].to_pylist() == ["ann", None]
    assert re.match("key: the bytes are not of the schema", decoded.problems[1].message)


def test_records_that_wait_in_state_get_the_columns_of_the_job_that_goes_on() -> None:
    params = PackParams(SOURCE, ("customer",), (0,))
    headers: list[list[tuple[str, bytes]]] = [[("x-t", b"a"), ("tries", b"3")], [("other", b"1")]]
    rows = pa.RecordBatch.from_pylist(
        [
            {
                "_key": GOOD[1],
                "_value": GOOD[0],
                "_header_names": [name for name, _ in each],
                "_header_values": [value for _, value in each],
                "_partition": 0,
                "_offset": offset,
                "_timestamp": 1_767_225_600_000,
                "_time": 1_767_225_600_000,
            }
            for offset, each in enumerate(headers)
        ],
        row_schema(()),
    )
    again = Rechecker(params)(rows)
    (kept,) = again.rows.to_pylist()
    names = [name for name, _ in checked_columns(params)]
    assert [kept[name] for name in names] == [1, "ann", 7, "a", 3]
    assert again.dead.column("_offset").to_pylist() == [1]
    assert json.loads(again.problems[0])["message"] == "header 'x-t': required string is missing"
    assert (PREDICTED, DEAD) == (0, 1)
