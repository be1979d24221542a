"""JSON records that a JSON Schema of the job's own must hold, beside the job's contract.

The adversaries are a stranger who writes records that are slow to check, and a record whose outcome hangs on
its neighbours. What is valid says Pydantic, by the model that the schema was made of.
"""

from __future__ import annotations

import json
import random
import time
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from udfs.records import contract
from udfs.records.avro_schema import SchemaError
from udfs.records.contract import Contract
from udfs.records.decode import decode_batch
from udfs.records.formats import FormatParams, make_decoder
from udfs.records.json_schema import JsonSchema

CONTRACT = Contract((contract.Field("id", "long", required=True), contract.Field("city", "string")))


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    sku: Annotated[str, Field(min_length=2, max_length=4, pattern="^[a-z]+$")]
    parts: Annotated[list[Item], Field(max_length=2)] = []


class Order(BaseModel):
    model_config = ConfigDict(strict=True)
    id: Annotated[int, Field(ge=0, lt=1000)]
    city: str | None = None
    kind: Literal["a", "b"]
    share: Annotated[float, Field(gt=0)] = 0.5
    items: Annotated[list[Item], Field(min_length=1)]


SCHEMA = json.dumps(Order.model_json_schema())
VALUES = [None, True, -1, 5, 1000, 0.25, -0.5, "", "ab", "a", "Ab", "abcde", [], {}, ["ab"], {"sku": "ab"}]


def written(seed: int) -> bytes:
    """An order, into which up to two values have been put that may not be there."""
    chance = random.Random(seed)
    part: dict[str, object] = {"sku": "cde"}
    items: list[dict[str, object]] = [{"sku": "ab", "parts": [part]}, {"sku": "abc"}]
    order: dict[str, object] = {"id": seed % 1000, "kind": "a", "city": "Ōtaki", "items": items, "share": 0.5}
    for _ in range(chance.randrange(3)):
        place = chance.choice([order, *items, part])
        name = chance.choice([*place, "other"])
        place[name] = chance.choice(VALUES)
        if chance.random() < 0.2:
            del place[name]
    return json.dumps(order).encode()


def is_valid(raw: bytes) -> bool:
    try:
        Order.model_validate_json(raw)
    except ValidationError:
        return False
    return True


def test_records_are_valid_where_pydantic_says_so_alone_and_in_any_batch() -> None:
    decoder = make_decoder(CONTRACT, 10_000, FormatParams("json_schema", SCHEMA))
    raws = [written(seed) for seed in range(3000)]
    valid = [is_valid(raw) for raw in raws]
    assert 800 < sum(valid) < 2500, "both are many"
    whole = decode_batch(decoder, raws)
    assert [place not in whole.problems for place in range(len(raws))] == valid
    for place, raw in enumerate(raws[:300]):
        assert decode_batch(decoder, [raw]).problems.get(0) == whole.problems.get(place)
    good = [raw for raw, each in zip(raws, valid, strict=True) if each]
    plain = make_decoder(CONTRACT, 10_000, FormatParams())
    assert decode_batch(decoder, good).table == decode_batch(plain, good).table == whole.table


@pytest.mark.parametrize(
    ("schema", "raw", "reason", "message"),
    [
        ({"required": ["kind"]}, b'{"id": 1}', "schema", "required of the JSON Schema does not hold"),
        (
            {"properties": {"x": {"additionalProperties": {"type": "null"}}}},
            b'{"id": 1, "x": {"secret": 1}}',
            "schema",
            "properties/x/additionalProperties/type of the JSON Schema does not hold",
        ),
        (
            {"properties": {"x": {"multipleOf": 0.5}}},
            b'{"id": 1, "x": 1%s}' % (b"0" * 999),
            "schema",
            "a number",
        ),
        ({}, b'\0\0\0\0\7{"id": 1}', "not_json", ""),
        ({}, b'{"city": "x"}', "missing", ""),
        ({"minProperties": 9}, b"[1]", "not_an_object", ""),
    ],
)
def test_what_is_wrong_has_its_reason_and_nothing_of_the_record(
    schema: dict[str, object], raw: bytes, reason: str, message: str
) -> None:
    decoder = make_decoder(CONTRACT, 10_000, FormatParams("json_schema", json.dumps(schema)))
    (problem,) = decode_batch(decoder, [raw]).problems.values()
    assert (problem.reason, problem.message[: len(message)]) == (reason, message)
    assert "secret" not in problem.message


TREE = {"properties": {"a": {"$ref": "#"}}}
HOSTILE = {
    "backtracking": ({"properties": {"x": {"pattern": "^(a+)+$"}}}, {"x": "a" * 400_000 + "!"}),
    "elements that are all looked at for each": (
        {"properties": {"x": {"uniqueItems": True}}},
        {"x": [{"a": n} for n in range(40_000)] + [{"a": 1.0}]},
    ),
    "integers of the same hash": (
        {"properties": {"x": {"uniqueItems": True}}},
        {"x": [n * (2**61 - 1) for n in range(20_000)] + [0]},
    ),
    "two ways at each of many levels": (
        {"anyOf": [{"required": ["b"]} | TREE, {"maxProperties": 0} | TREE]},
        60,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_records_made_to_be_slow_are_not(name: str) -> None:
    schema, document = HOSTILE[name]
    if isinstance(document, int):
        document = json.loads('{"a":' * document + "1" + "}" * document)
    checked = JsonSchema(json.dumps(schema))
    started = time.process_time()
    assert checked.broken(json.dumps(document).encode())
    assert time.process_time() - started < 5, "each would take minutes, or for ever"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", "is no JSON object"),
        ('{"properties": {"x": {"type": "int"}}}', "is no JSON Schema at properties/x/type"),
        ('{"$schema": "https://example.org/other"}', "has a $schema that is no draft of JSON Schema"),
        (
            '{"properties": {"default": {"pattern": "(?=a)"}}}',
            "has the pattern (?=a), which RE2 does not know",
        ),
        ('{"patternProperties": {"a": {}}}', "has patternProperties, which is not read"),
        ('{"items": {"$ref": "https://example.org/x.json"}}', "refers to https://example.org/x.json, which"),
        ('{"items": {"$ref": "#/$defs/a"}}', "refers to #/$defs/a, which is not in it"),
        ('{"$ref": "#"}', "refers to itself without end"),
    ],
)
def test_a_schema_that_is_none_or_reaches_out_is_told(text: str, problem: str) -> None:
    with pytest.raises(SchemaError) as told:
        JsonSchema(text)
    assert str(told.value).startswith(problem)


def test_what_a_place_may_hold_is_found_behind_references() -> None:
    shape = {"properties": {"zip": {"type": ["string", "null"]}, "free": {}}, "additionalProperties": False}
    schema = {
        "$defs": {"place": shape},
        "properties": {"at": {"$ref": "#/$defs/place"}, "n": {"allOf": [{}]}},
    }
    found = JsonSchema(json.dumps(schema))
    assert found.kinds(("at", "zip")) == {"string", "null"}
    assert found.kinds(("at", "free")) is None
    assert found.kinds(("at", "city")) == set()
    assert found.kinds(("n", "city")) is None
