"""Lists of Avro, written by Apache's library: the same outcome alone and in any batch.

The adversaries are a producer with another schema inside its arrays, and one whose arrays are too long.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.avro_records import CarefulDecoder, write
from tests.helpers.examples import examples
from udfs.records.avro import AvroDecoder, WriterSchema
from udfs.records.avro_schema import SchemaError, parse_schema
from udfs.records.contract import Contract, Field, ListField
from udfs.records.decode import decode_batch

ITEM = {
    "type": "record",
    "name": "Item",
    "fields": [
        {"name": "note", "type": "string"},
        {"name": "sku", "type": ["null", {"type": "enum", "name": "Sku", "symbols": ["a", "b"]}]},
        {"name": "qty", "type": "int"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def schema(**fields: Any) -> str:
    return json.dumps(
        {"type": "record", "name": "R", "fields": [{"name": n, "type": t} for n, t in fields.items()]}
    )


SCHEMA = schema(
    id="long",
    skipped=array(array("string")),
    deep=[
        "null",
        {"type": "record", "name": "D", "fields": [{"name": "tags", "type": ["null", array("string")]}]},
    ],
    items=array(["null", ITEM]),
    xs=array(["null", "int", "double"]),
)
CONTRACT = Contract(
    (Field("id", "long", required=True),),
    (
        ListField("tags", (Field("", "string", values=("x", "é")),), length=(None, 3), path=("deep", "tags")),
        ListField("items", (Field("sku", "string"), Field("qty", "double", high=9), Field("at", "string"))),
        ListField("xs", (Field("", "double"),)),
    ),
)
TIMES = {0: "1970-01-01T00:00:00.000Z", 1_357_034_400_005: "2013-01-01T10:00:00.005Z"}
RECORDS = st.fixed_dictionaries(
    {
        "id": st.integers(-9, 9),
        "skipped": st.lists(st.lists(st.text(max_size=3), max_size=2), max_size=2),
        "deep": st.none()
        | st.fixed_dictionaries({"tags": st.none() | st.lists(st.sampled_from(["x", "é", "y"]), max_size=4)}),
        "items": st.lists(
            st.none()
            | st.fixed_dictionaries(
                {
                    "note": st.text(max_size=3),
                    "sku": st.sampled_from([None, "a", "b"]),
                    "qty": st.integers(0, 10),
                    "at": st.sampled_from([*TIMES]),
                }
            ),
            max_size=4,
        ),
        "xs": st.lists(st.none() | st.integers(-9, 9) | st.floats(-2, 2), max_size=3),
    }
)


def outcomes(decoder: AvroDecoder, raws: list[bytes]) -> list[Any]:
    decoded = decode_batch(decoder, list(raws))
    assert decoded.table.schema == decoder.contract.arrow_schema()
    rows = dict(zip(decoded.rows.tolist(), decoded.table.to_pylist(), strict=True))
    return [rows.get(i) or decoded.problems[i] for i in range(len(raws))]


def expected(record: dict[str, Any]) -> Any:
    """The columns, or the place of the first mistake."""
    tags = (record["deep"] or {}).get("tags")
    if tags is not None and len(tags) > 3:
        return "$.deep.tags"
    for place, tag in enumerate(tags or []):
        if tag == "y":
            return f"$.deep.tags[{place}]"
    for place, item in enumerate(record["items"]):
        if item and item["qty"] > 9:
            return f"$.items[{place}].qty"
    items = [
        item and {"sku": item["sku"], "qty": float(item["qty"]), "at": TIMES[item["at"]]}
        for item in record["items"]
    ]
    xs = [None if x is None else float(x) for x in record["xs"]]
    return {"id": record["id"], "tags": tags, "items": items, "xs": xs}


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=5))
def test_lists_are_read_as_they_were_written(records: list[Any]) -> None:
    raws = [write(SCHEMA, record) for record in records]
    read = AvroDecoder(CONTRACT, 10_000, SCHEMA)
    together = outcomes(read, raws)
    assert together == outcomes(CarefulDecoder(CONTRACT, 10_000, SCHEMA), raws)
    assert together == [found for raw in raws for found in outcomes(read, [raw])]
    for found, record in zip(together, records, strict=True):
        where = expected(record)
        assert found == where if isinstance(where, dict) else found.message.startswith(f"{where}: ")


def test_a_value_that_cannot_be_is_told_with_its_place() -> None:
    good = {"id": 1, "skipped": [], "deep": None, "items": [], "xs": []}
    item = {"note": "", "sku": None, "qty": 1, "at": 0}
    raws = [write(SCHEMA, good | {"items": [item, item | {"at": at}]}) for at in (0, 2**62)]
    fine, found = outcomes(AvroDecoder(CONTRACT, 10_000, SCHEMA), raws)
    assert fine["items"][1]["at"] == TIMES[0]
    assert found.message == "$.items[1].at: expected a date of the years 1 to 9999, got another value"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xs": "long"}, "$.xs: expected a list, the writer has long"),
        ({"xs": ["string", array("int")]}, "$.xs: expected a list, the writer has string"),
        ({"xs": array("string")}, "$.xs[]: expected double, the writer has string"),
        ({"items": array("int")}, "$.items[]: expected a record, the writer has int"),
        (
            {"items": array(ITEM | {"fields": [{"name": "qty", "type": "string"}]})},
            "$.items[].qty: expected double, the writer has string",
        ),
        ({"deep": array("string")}, "$.deep: expected a record, the writer has array"),
    ],
)
def test_a_schema_that_cannot_fill_a_list_is_refused(change: dict[str, Any], message: str) -> None:
    fields = {each["name"]: each["type"] for each in json.loads(SCHEMA)["fields"]} | change
    with pytest.raises(SchemaError) as caught:
        WriterSchema(CONTRACT, parse_schema(schema(**fields)))
    assert str(caught.value) == message


def test_lists_that_a_schema_does_not_have_are_missing_or_the_readers_default() -> None:
    contract = Contract((Field("id", "long"),), (ListField("xs", (Field("", "long"),)),))
    writer = parse_schema(schema(id="long"))
    raw = write(schema(id="long"), {"id": 1})
    assert WriterSchema(contract, writer).read(raw) == {"id": 1}
    defaults: tuple[Any, ...] = (None, [])
    for default in defaults:
        field = {"name": "xs", "type": ["null", array("long")] if default is None else array("long")}
        reader = {
            "type": "record",
            "name": "R",
            "fields": [{"name": "id", "type": "long"}, field | {"default": default}],
        }
        assert WriterSchema(contract, writer, parse_schema(json.dumps(reader))).read(raw)["xs"] == default


def test_members_are_found_by_the_readers_aliases() -> None:
    contract = Contract((), (ListField("items", (Field("qty", "long"),)),))
    old = {"type": "record", "name": "Item", "fields": [{"name": "quantity", "type": "int"}]}
    new = {
        "type": "record",
        "name": "Item",
        "fields": [{"name": "qty", "type": "int", "aliases": ["quantity"]}],
    }
    writer, reader = (parse_schema(schema(items=array(item))) for item in (old, new))
    raw = write(schema(items=array(old)), {"items": [{"quantity": 3}]})
    assert WriterSchema(contract, writer, reader).read(raw) == {"items": [{"qty": 3}]}


def test_a_hostile_list_costs_bounded_time() -> None:
    """100,000 elements of a byte each, among good records, and a count that claims more than there is."""
    contract = Contract((), (ListField("xs", (Field("", "long"),), length=(None, 5)),))
    text = schema(xs=array("long"))
    many, good = write(text, {"xs": [0] * 100_000}), write(text, {"xs": [1]})
    claims = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01" + good[1:]
    started = time.process_time()
    first, long, lies, last = outcomes(AvroDecoder(contract, 2_000_000, text), [good, many, claims, good])
    assert time.process_time() - started < 6
    assert first == last == {"xs": [1]}
    assert (long.reason, lies.reason) == ("wrong_length", "not_avro")


def test_members_may_be_within_records_of_elements() -> None:
    size = {"type": "record", "name": "Size", "fields": [{"name": "kg", "type": "int"}]}
    line = {"type": "record", "name": "Line", "fields": [{"name": "size", "type": ["null", size]}]}
    contract = Contract((), (ListField("lines", (Field("kg", "long", high=9, path=("size", "kg")),)),))
    text = schema(lines=array(line))
    records = [{"lines": [{"size": {"kg": 1}}, {"size": None}]}, {"lines": [{"size": {"kg": 10}}]}]
    good, bad = outcomes(AvroDecoder(contract, 1000, text), [write(text, record) for record in records])
    assert good == {"lines": [{"kg": 1}, {"kg": None}]}
    assert bad.message == "$.lines[0].size.kg: expected at most 9, got a larger number"
