"""Lists of JSON: the same outcome alone and in any batch, held to Python's own reading of the text.

The adversaries are a producer whose lists are sometimes something else, inside too, and one that sends
lists of a million elements, or lists within lists, to fill memory.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import examples, sized
from udfs.records.cloudevents import CloudEvents
from udfs.records.contract import Contract, Field, ListField
from udfs.records.debezium import EnvelopeParams
from udfs.records.decode import Decoder, decode_batch
from udfs.records.formats import FormatName, FormatParams, make_decoder

ITEMS = ListField(
    "items", (Field("sku", "string"), Field("qty", "long", required=True, low=0), Field("price", "double"))
)
TAGS = ListField("tags", (Field("", "string", values=("a", "b", "é")),), length=(None, 3))
LEVELS = ListField("levels", (Field("", "double", high=9),), required=True, path=("deep", "levels"))
CONTRACT = Contract((Field("id", "long", required=True),), (ITEMS, TAGS))
DEEP = Contract(CONTRACT.fields, (*CONTRACT.lists, LEVELS))
FORMATS: list[FormatName] = ["json", "messagepack"]


def written(record: object, name: str) -> bytes:
    return json.dumps(record).encode() if name == "json" else msgspec.msgpack.encode(record)


class Careful:
    """Reads each record alone."""

    def __init__(self, inner: Decoder) -> None:
        self.contract, self._inner = inner.contract, inner

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        return None

    def decode_record(self, raw: bytes | None) -> Any:
        return self._inner.decode_record(raw)


def decoder(contract: Contract, name: FormatName = "json", max_bytes: int = 100_000) -> Decoder:
    return make_decoder(contract, max_bytes, FormatParams(name))


def outcomes(decoder: Decoder, raws: Sequence[bytes]) -> list[Any]:
    decoded = decode_batch(decoder, list(raws))
    assert decoded.table.schema == decoder.contract.arrow_schema()
    rows = dict(zip(decoded.rows.tolist(), decoded.table.to_pylist(), strict=True))
    assert sorted([*rows, *decoded.problems]) == list(range(len(raws)))
    return [rows.get(i) or decoded.problems[i] for i in range(len(raws))]


# Python's own reading.


def is_of(kind: str, value: object) -> bool:
    if value is None:
        return True
    wanted: dict[str, Any] = {"string": str, "double": (int, float), "long": int, "boolean": bool}
    return isinstance(value, wanted[kind]) and (kind == "boolean" or not isinstance(value, bool))


def item(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        raise ValueError
    sku, qty, price = (value.get(name) for name in ("sku", "qty", "price"))
    if not (is_of("string", sku) and is_of("long", qty) and is_of("double", price)):
        raise ValueError
    if qty is None or not 0 <= qty < 2**63:
        raise ValueError
    return {"sku": sku, "qty": qty, "price": None if price is None else float(price)}


def expected(record: Any) -> dict[str, Any] | None:
    """The columns; None where the record is refused."""
    try:
        number = record["id"]
        if not is_of("long", number) or number is None or not -(2**63) <= number < 2**63:
            return None
        items, tags = record.get("items"), record.get("tags")
        if not all(each is None or isinstance(each, list) for each in (items, tags)):
            return None
        found = None if items is None else [item(each) for each in items]
        if tags is not None and (len(tags) > 3 or not all(each in ("a", "b", "é", None) for each in tags)):
            return None
        return {"id": number, "items": found, "tags": tags}
    except (ValueError, KeyError, TypeError):
        return None


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(-2, 2), st.sampled_from(["a", "b", "é", ""])
)
NAMES = st.sampled_from(["id", "items", "tags", "sku", "qty", "price", "zip"])
ANY = st.recursive(
    LEAVES,
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)
ITEM = st.fixed_dictionaries(
    {"qty": st.integers(0, 2**63)},
    optional={"sku": st.sampled_from(["x", "é"]) | LEAVES, "price": st.floats(-2, 2) | LEAVES, "zip": ANY},
)
USUAL = st.fixed_dictionaries(
    {"id": st.integers(-9, 9)},
    optional={
        "items": st.none() | st.lists(ITEM, max_size=4) | st.lists(ITEM | ANY, max_size=3),
        "tags": st.lists(st.sampled_from(["a", "b", "é", None]), max_size=4) | ANY,
        "zip": ANY,
    },
)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=examples(200), deadline=None)
@given(st.lists(USUAL | ANY, min_size=1, max_size=6), st.integers(1, 6))
def test_outcomes_are_pythons_alone_and_in_any_batch(name: FormatName, records: list[Any], cut: int) -> None:
    read = decoder(CONTRACT, name)
    if name == "messagepack":
        records = [each for each in records if not _beyond_64_bits(each)] or [{"id": 1}]
    raws = [written(record, name) for record in records]
    together = outcomes(read, raws)
    assert together == outcomes(Careful(read), raws)
    assert together == [each for raw in raws for each in outcomes(read, [raw])]
    assert together == outcomes(read, raws[:cut]) + outcomes(read, raws[cut:])
    for found, record in zip(together, records, strict=True):
        assert (found if isinstance(found, dict) else None) == expected(record)


def _beyond_64_bits(record: object) -> bool:
    return "9223372036854775808" in json.dumps(record)


@pytest.mark.parametrize(
    ("items", "reason", "message"),
    [
        ("3", "wrong_type", "$.items: expected a list, got integer"),
        ('{"qty":1}', "wrong_type", "$.items: expected a list, got object"),
        (
            '[{"qty":1},{"qty":-1}]',
            "out_of_range",
            "$.items[1].qty: expected at least 0, got a smaller number",
        ),
        ('[{"qty":1},{}]', "missing", "$.items[1].qty: required long is missing"),
        ("[null]", "null", "$.items[0].qty: required long is null"),
        ("[[]]", "wrong_type", "$.items[0]: expected an object, got array"),
        ('[{"qty":1},{"qty":1},{"qty":"1"}]', "wrong_type", "$.items[2].qty: expected long, got string"),
        ('[{"qty":1,"qty":2}]', "duplicate_key", "$.items[0].qty: stands more than once"),
        ('[{"qty":1,"price":NaN}]', "not_finite", "$.items[0].price: got NaN"),
        (
            '[{"qty":1,"price":1e400}]',
            "not_finite",
            "$.items[0].price: expected a finite number, got NaN or infinity",
        ),
        ('[{"qty":1,"sku":"\\ud800"}]', "invalid_utf8", "$.items[0].sku: has half of a surrogate pair"),
        ('[{"qty":1,"sku":{}}]', "wrong_type", "$.items[0].sku: expected string, got object"),
        (
            f"[{','.join(['null'] * 1001)}]",
            "wrong_length",
            "$.items: expected at most 1000 elements, got more",
        ),
    ],
)
def test_what_is_wrong_inside_is_told_with_its_place(items: str, reason: str, message: str) -> None:
    good = b'{"id":1,"items":[{"qty":2,"sku":"a","price":1}],"tags":[]}'
    raw = b'{"id":2,"items":%b}' % items.encode()
    for read in (decoder(CONTRACT), Careful(decoder(CONTRACT))):
        before, found, after = outcomes(read, [good, raw, good])
        assert before == after == {"id": 1, "items": [{"qty": 2, "sku": "a", "price": 1.0}], "tags": []}
        assert (found.reason, found.message) == (reason, message)


def test_lists_may_be_within_objects() -> None:
    read = decoder(DEEP)
    raws = [b'{"id":1,"deep":{"levels":[1,2.5,null]}}', b'{"id":1,"deep":{"levels":[1,10]}}', b'{"id":1}']
    raws += [b'{"id":1,"deep":{"levels":null}}', b'{"id":1,"deep":[]}']
    for each in (read, Careful(read)):
        good, *bad = outcomes(each, raws)
        assert good["levels"] == [1.0, 2.5, None]
        assert [(problem.reason, problem.message) for problem in bad] == [
            ("out_of_range", "$.deep.levels[1]: expected at most 9, got a larger number"),
            ("missing", "$.deep.levels: required list is missing"),
            ("null", "$.deep.levels: required list is null"),
            ("wrong_type", "$.deep: expected an object, got array"),
        ]


def test_long_lists_are_read_at_once() -> None:
    """More brackets than levels are allowed are no more levels; brackets within strings are none."""
    record = {"id": 1, "items": [{"qty": n, "sku": "}]{[" * 3} for n in range(200)]}
    raw = json.dumps(record, separators=(",", ":")).encode()
    table = decoder(CONTRACT).decode_columns([raw] * 3)
    assert table is not None
    assert table.column("items").to_pylist()[2][199]["qty"] == 199
    deep = b'{"id":1,"zip":%b1%b}' % (b"[" * 150, b"]" * 150)
    assert decoder(CONTRACT).decode_columns([raw, deep]) is None
    assert outcomes(decoder(CONTRACT), [raw, deep])[1].reason == "too_deep"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("what", ["million", "nested", "objects"])
def test_hostile_lists_cost_bounded_time_and_memory(name: FormatName, what: str) -> None:
    """A record of megabytes, among good ones, is a dead letter: within a hundredfold of its bytes.

    Memory is counted of a tenth of it, as counting makes all of it many times as slow.
    """
    element: dict[str, Any] = {"million": 1, "nested": [[[]]], "objects": {}}
    count = {"million": 1_000_000, "nested": 300_000, "objects": 600_000}[what] // sized(1, 5)
    whole, tenth = (written({"id": 1, "tags": [element[what]] * n}, name) for n in (count, count // 10))
    good = written({"id": 1, "tags": ["a"]}, name)
    read = decoder(CONTRACT, name, max_bytes=10_000_000)
    started = time.process_time()
    found = outcomes(read, [good, whole, good])
    took = time.process_time() - started
    tracemalloc.start()
    found += outcomes(read, [good, tenth, good])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for before, hostile, after in (found[:3], found[3:]):
        assert before == after == {"id": 1, "items": None, "tags": ["a"]}
        assert (hostile.reason, hostile.message) == (
            "wrong_length",
            "$.tags: expected at most 3 elements, got more",
        )
    assert peak < 200 * len(tenth)
    assert took < 20  # a second; that of quadratic work would be hours


def test_lists_may_be_within_envelopes() -> None:
    """Debezium's rows, also deleted ones as they were, and the data of CloudEvents in both modes."""
    envelope = EnvelopeParams("debezium", before=True)
    read = make_decoder(CONTRACT, 1000, FormatParams("json", envelope=envelope))
    row, other = ({"id": n, "items": [{"qty": n}], "tags": ["a"]} for n in (1, 2))
    events = [
        {"op": "c", "before": None, "after": row},
        {"op": "d", "before": other, "after": None},
        {"op": "u", "before": other, "after": row | {"tags": ["z"]}},
    ]
    created, deleted, wrong = outcomes(read, [json.dumps(event).encode() for event in events])
    assert [created["id"], created["items"][0]["qty"]] == [1, 1]
    assert [deleted["id"], deleted["items"][0]["qty"]] == [2, 2]
    assert wrong.message == "$.after.tags[0]: expected one of a, b, é, got another value"

    cloud = CloudEvents(CONTRACT, decoder(CONTRACT), frozenset(), 1000)
    whole = {"specversion": "1.0", "id": "1", "source": "/", "type": "t", "data": row}
    raws = [json.dumps(each).encode() for each in (whole, row)]
    given_headers: dict[str, list[bytes | None]] = {
        "content-type": [b"application/cloudevents+json", b"application/json"],
        "ce_specversion": [None, b"1.0"],
        **{f"ce_{name}": [None, b"1"] for name in ("id", "source", "type")},
    }
    decoded = cloud.decode(raws, [given_headers[name] for name in cloud.headers])
    assert not decoded.problems
    assert decoded.table.to_pylist() == [created, created]


DEEPER = ListField(
    "items",
    (
        Field("sku", "string", path=("product", "sku")),
        Field("kg", "double", high=9, path=("product", "size", "kg")),
        Field("qty", "long"),
    ),
    path=("order", "lines"),
)


def walked(element: Any, steps: Sequence[str], kind: str) -> Any:
    """The member by Python; raises ValueError where it cannot be."""
    for step in steps:
        if element is None:
            return None
        if not isinstance(element, dict):
            raise ValueError
        element = element.get(step)
    if not is_of(kind, element):
        raise ValueError
    return float(element) if kind == "double" and element is not None else element


def with_objects(record: Any) -> Any:
    try:
        lines = walked_lines(record)
        if lines is None:
            return {"items": None}
        found: list[dict[str, Any] | None] = []
        for each in lines:
            if each is None:
                found.append(None)
                continue
            row = {field.name: walked(each, field.steps, field.type) for field in DEEPER.members}
            if not isinstance(each, dict) or (row["kg"] or 0) > 9:
                raise ValueError
            found.append(row)
        return {"items": found}
    except ValueError:
        return None


def walked_lines(record: Any) -> Any:
    order = record.get("order")
    if order is None:
        return None
    if not isinstance(order, dict) or not isinstance(order.get("lines"), list | None):
        raise ValueError
    return order.get("lines")


SIZES = st.none() | st.fixed_dictionaries({}, optional={"kg": st.floats(-2, 2) | st.integers(8, 10) | LEAVES})
PRODUCTS = st.none() | LEAVES | st.fixed_dictionaries({}, optional={"sku": LEAVES, "size": SIZES | LEAVES})
LINES = st.lists(
    st.none()
    | LEAVES
    | st.fixed_dictionaries({}, optional={"product": PRODUCTS, "qty": st.integers(0, 9) | LEAVES}),
    max_size=3,
)
ORDERED = st.fixed_dictionaries(
    {}, optional={"order": st.none() | LEAVES | st.fixed_dictionaries({}, optional={"lines": LINES | LEAVES})}
)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=examples(200), deadline=None)
@given(st.lists(ORDERED, min_size=1, max_size=5))
def test_members_may_be_within_objects_of_elements(name: FormatName, records: list[Any]) -> None:
    read = decoder(Contract((), (DEEPER,)), name)
    raws = [written(record, name) for record in records]
    together = outcomes(read, raws)
    assert together == outcomes(Careful(read), raws)
    assert together == [each for raw in raws for each in outcomes(read, [raw])]
    for found, record in zip(together, records, strict=True):
        assert (found if isinstance(found, dict) else None) == with_objects(record)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_wrong_below_an_element_is_told_with_its_path(name: FormatName) -> None:
    read = decoder(Contract((), (DEEPER,)), name)
    good = {"order": {"lines": [{"product": {"sku": "a", "size": {"kg": 1}}, "qty": 2}]}}
    assert read.decode_columns([written(good, name)] * 2) is not None
    wrong = [{"product": {"size": {"kg": 10}}}, {"product": {"size": "big"}}, {"product": {"sku": 1}}]
    raws = [written({"order": {"lines": [{}, each]}}, name) for each in wrong]
    before, *found = outcomes(read, [written(good, name), *raws])
    assert before == {"items": [{"sku": "a", "kg": 1.0, "qty": 2}]}
    place = "$.order.lines[1].product"
    assert [problem.message for problem in found] == [
        f"{place}.size.kg: expected at most 9, got a larger number",
        f"{place}.size: expected an object, got string",
        f"{place}.sku: expected string, got integer",
    ]
