"""Lists from the job file to predictions, held to plain Python.

The adversaries are a person who misspells a member, and records whose lists are empty, null or too large.
"""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.errors import InputError, JobFileError
from flink_jobs.history.records import from_table, read_records
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Runnable, make_feature_plan
from flink_jobs.plan.personal import personal_columns
from flink_jobs.plan.window_stages import WindowStages
from flink_jobs.run.registered import proposed_fields
from flink_jobs.spec import JobSpec
from flink_jobs.spec.json_schema import job_schema
from tests.helpers.examples import examples
from udfs.records.avro_schema import parse_schema
from udfs.scoring.checker import RecordChecker
from udfs.scoring.outcomes import DEAD
from udfs.scoring.params import PackParams, ScoreParams
from udfs.scoring.recheck import checked_columns
from udfs.scoring.scorer import Batch, Scorer
from udfs.windows.blobs import row_schema

JOB = """
job: orders
source:
  topic: orders
  schema:
    id: {type: long, required: true}
    tags: list<string>
    items: "list<{sku: string, qty: long, price: double}>"
    one: {type: list, element: long, field: deep.one}
    sizes: {type: map, element: double, length: [0, 40]}
features:
  derive:
    value: "EXPRESSION"
model: {name: m}
"""
DOC = Path(__file__).parents[3] / "docs" / "expressions.md"


def job_of(expression: str = "CARDINALITY(tags)", text: str = JOB) -> JobSpec:
    return load_job_text(text.replace("EXPRESSION", expression), "job.yaml", Path("/"))


def params_of(made: Runnable) -> ScoreParams:
    (params,) = (
        each.params for each in made.views.functions.values() if isinstance(each.params, ScoreParams)
    )
    unpickled: ScoreParams = pickle.loads(pickle.dumps(params))
    return unpickled


def batch_of(records: list[Any]) -> Batch:
    rows, times = len(records), np.full(len(records), 1_767_268_800_000)
    raws: list[bytes | None] = [json.dumps(record).encode() for record in records]
    return Batch(raws, times, np.zeros(rows, np.bool_), np.zeros(rows, np.int64), np.arange(rows), times)


def results(job: JobSpec, records: list[Any], *names: str) -> list[Any]:
    """The features of each record, or the problem."""
    params = params_of(make_feature_plan(job, names or ["value"]))
    outcomes = Scorer(params).score(batch_of(records))
    return [
        json.loads(outcomes.problem[row])
        if outcomes.kind[row] == DEAD
        else json.loads(outcomes.prediction[row])["features"]
        for row in range(len(records))
    ]


def value_of(expression: str, record: Any) -> Any:
    (found,) = results(job_of(expression), [{"id": 1, **record}])
    return found["value"]


def _documented() -> list[tuple[str, str]]:
    section = DOC.read_text(encoding="utf-8").split("## Lists")[1].split("\n## ")[0]
    return re.findall(r"^\| `[^`]+` \| `([^`]+)` \| `([^`]+)` \|", section, re.MULTILINE)


@pytest.mark.parametrize(("example", "gives"), _documented())
def test_documented_examples_give_what_the_page_says(example: str, gives: str) -> None:
    (record,) = re.findall(r"^`(\{.*\})`\.$", DOC.read_text(encoding="utf-8"), re.MULTILINE)
    given = json.loads(record)
    assert str(value_of(example, {**given, "deep": {"one": given["one"]}})) == gives


LONGS = st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9)
DOUBLES = st.none() | st.floats(-1e6, 1e6) | st.floats(allow_nan=False, allow_infinity=False)
RECORDS = st.fixed_dictionaries(
    {"id": st.just(1)},
    optional={
        "tags": st.none() | st.lists(st.none() | st.sampled_from(["a", "b", "é"]), max_size=4),
        "items": st.none()
        | st.lists(
            st.none() | st.fixed_dictionaries({}, optional={"qty": LONGS, "price": DOUBLES}), max_size=40
        ),
        "deep": st.none() | st.fixed_dictionaries({"one": st.none() | st.lists(LONGS, max_size=2)}),
        "sizes": st.none() | st.dictionaries(st.sampled_from(["a", "it's", "é"]), DOUBLES),
    },
)
MANY = """
    count: "CARDINALITY(items)"
    third: "items[3].price"
    total: "SUM(items.qty)"
    spent: "SUM(items.price)"
    mean: "AVG(items.price)"
    low: "MIN(items.qty)"
    high: "MAX(items.price)"
    given: "COUNT(items.qty)"
    has: "tags CONTAINS 'é'"
    only: "ELEMENT(one)"
    size: "sizes['it''s']"
    sizes_given: "CARDINALITY(sizes)"
"""
NAMES = (
    "count",
    "third",
    "total",
    "spent",
    "mean",
    "low",
    "high",
    "given",
    "has",
    "only",
    "size",
    "sizes_given",
)


def by_hand(record: dict[str, Any]) -> dict[str, Any] | None:
    """The features, by Python; None where one of them has no answer."""
    items, tags = record.get("items"), record.get("tags")
    one = (record.get("deep") or {}).get("one")
    objects = [each or {} for each in items or []]
    quantities = [each["qty"] for each in objects if each.get("qty") is not None]
    prices = [each["price"] for each in objects if each.get("price") is not None]
    total, spent = sum(quantities), float(np.sum(np.array(prices)))
    if not -(2**63) <= total < 2**63 or not np.isfinite(spent) or (one and len(one) > 1):
        return None
    third = objects[2].get("price") if len(objects) > 2 else None
    return {
        "count": None if items is None else len(items),
        "third": third,
        "total": total if quantities else None,
        "spent": spent if prices else None,
        "mean": spent / len(prices) if prices else None,
        "low": min(quantities, default=None),
        "high": max(prices, default=None),
        "given": None if items is None else len(quantities),
        "has": None if tags is None else "é" in tags,
        "only": one[0] if one else None,
        "size": (record.get("sizes") or {}).get("it's"),
        "sizes_given": None if record.get("sizes") is None else len(record["sizes"]),
    }


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=5))
def test_what_is_taken_of_lists_is_pythons_alone_and_in_any_batch(records: list[Any]) -> None:
    job = job_of(text=JOB.replace('\n    value: "EXPRESSION"\n', MANY))
    scorer = Scorer(params_of(make_feature_plan(job, NAMES)))
    together = scorer.score(batch_of(records))
    for row, record in enumerate(records):
        alone = scorer.score(batch_of([record]))
        assert (alone.kind[0], alone.problem[0]) == (together.kind[row], together.problem[row])
        expected = by_hand(record)
        assert (together.kind[row] == DEAD) == (expected is None)
        if expected is not None:
            found = json.loads(together.prediction[row])["features"]
            # Where and when a record was read differs; what was made of it does not, to the last bit.
            assert found == json.loads(alone.prediction[0])["features"]
            assert {name: value for name, value in found.items() if name not in ("spent", "mean")} == {
                name: value for name, value in expected.items() if name not in ("spent", "mean")
            }
            for name in ("spent", "mean"):
                assert found[name] == (
                    None if expected[name] is None else pytest.approx(expected[name], abs=1e-3, rel=1e-9)
                )


@pytest.mark.parametrize(
    ("expression", "record", "reason", "message"),
    [
        ("SUM(one)", {"deep": {"one": [2**63 - 1, 1]}}, "feature_error", "SUM(one): overflow"),
        (
            "ELEMENT(one)",
            {"deep": {"one": [1, 2]}},
            "feature_error",
            "ELEMENT(one): cannot be computed (FeatureError)",
        ),
        (
            "SUM(items.price)",
            {"items": [{"price": 1e308}] * 2},
            "not_finite",
            "SUM(items.price): the result is not finite",
        ),
        ("1 / CARDINALITY(tags)", {"tags": []}, "not_finite", "value: the result is not finite"),
    ],
)
def test_a_list_without_an_answer_is_a_dead_letter_and_spares_its_neighbours(
    expression: str, record: Any, reason: str, message: str
) -> None:
    good = {"id": 1, "tags": ["a"], "items": [{"price": 1}], "deep": {"one": [4]}}
    before, found, after = results(job_of(expression), [good, {"id": 2, **record}, good])
    assert before == after
    assert (found["stage"], found["reason"]) == ("feature", reason)
    assert found["message"].startswith(message)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (
            "items.qtty > 1",
            "one of the members sku, qty, price of items; got 'qtty' at character 1; did you mean 'qty'?",
        ),
        ("tags", "must be an element of the list, such as tags[1], or a function of it"),
        ("items[0].qty", "must be a literal whole number from 1 to 100000 in [ ]; got '0'"),
        ("SUM(tags)", "must be a list of long or double in SUM; got tags, of string"),
        ("tags CONTAINS 1", "must be a literal string in CONTAINS; got long 1"),
        ("CARDINALITY(id)", "must be a list of source.schema in CARDINALITY; got 'id'"),
        ("SUM(id)", "must be a function of one row, or of a list"),
        ("CARDINALTY(tags)", "did you mean 'CARDINALITY'?"),
        ("sizes", "must be a value of the map, such as sizes['key'], or CARDINALITY(sizes); got 'sizes'"),
        (
            "SUM(sizes)",
            "must be a value of the map, such as sizes['key'], or CARDINALITY(sizes); got 'sizes'",
        ),
        ("sizes.a", "must be a key in brackets, sizes['a']; got 'sizes.a'"),
        ("sizes[1]", "must be a literal text as the key in [ ], such as sizes['key']; got '1'"),
        ("sizes[id]", "must be a literal text as the key in [ ], such as sizes['key']; got 'id'"),
        ("sizes['']", "must be a literal text as the key in [ ], such as sizes['key']; got"),
    ],
)
def test_wrong_expressions_are_told_where_they_are(expression: str, message: str) -> None:
    with pytest.raises(JobFileError) as caught:
        make_feature_plan(job_of(expression), ["value"])
    (only,) = caught.value.diagnostics
    assert only.location == ("features", "derive", "value")
    assert message in str(only)


@pytest.mark.parametrize(
    ("field", "where", "message"),
    [
        (
            "list<text>",
            "tags",
            "must be list<string>, of another type, or list<{sku: string, qty: long}>; got 'list<text>'",
        ),
        ('"list<list<string>>"', "tags", "must be list<string>, of another type"),
        ('"list<{a: string, a.b: long}>"', "tags", "must be list<string>, of another type"),
        ("list", "tags", "must be a list with element or members"),
        ("{type: list, element: long, members: {a: long}}", "tags.type", "got element and members"),
        (
            "map<long, string>",
            "tags",
            "must be map<string, double>, or of another type; got 'map<long, string>'",
        ),
        ("map", "tags", "must be a map with element: map<string, double>; got map alone"),
        (
            "{type: map, members: {a: long}}",
            "tags.members",
            "must be left out, as the type is map; got a value",
        ),
        ("{type: string, element: long}", "tags.element", "must be left out, as the type is string"),
        (
            "{type: list, element: {type: list}}",
            "tags.element.type",
            "must be one of: string, double, long, boolean",
        ),
        ("{type: list, element: string, values: [a]}", "tags.values", "must be that of element or members"),
        (
            "{type: list, members: {a: {type: string, pii: drop}}}",
            "tags.members.a.pii",
            "must be that of the list itself",
        ),
        ("{type: list, members: {a: {typ: string}}}", "tags.members.a.typ", "did you mean 'type'?"),
        ("{type: list, element: string, length: [3, 1]}", "tags.length", "did you mean '[1, 3]'?"),
        ("{type: list, element: string, length: [0, 1000000]}", "tags.length", "from 0 to 100000"),
        ("{type: list<string>, element: string}", "tags.element", "must be left out, as the type says it"),
        (
            "{type: long, length: [1, 2]}",
            "tags.length",
            "must be left out, as a length is for string, bytes, list and map",
        ),
        (
            "{type: string, pattern: '('}",
            "tags.pattern",
            "must be a regular expression of RE2; got '(' (missing )",
        ),
        ("{type: string, pattern: 'a)(b'}", "tags.pattern", "must be a regular expression of RE2"),
        ("{type: long, pattern: a}", "tags.pattern", "must be left out, as a pattern is for string"),
    ],
)
def test_wrong_lists_are_told_where_they_are(field: str, where: str, message: str) -> None:
    with pytest.raises(JobFileError) as caught:
        job_of("1", JOB.replace("list<string>", field))
    assert where in {
        ".".join(map(str, found.location)).removeprefix("source.schema.")
        for found in caught.value.diagnostics
    }
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("features:", "predictions: {include: [tags]}\nfeatures:"),
            "predictions.include[0]: must be a column",
        ),
        (
            ("features:", "features:\n  windows: {w: {by: tags, over: 1h, select: {n: count(*)}}}"),
            "by: must be a field",
        ),
        (
            ("topic: orders\n", "topic: orders\n  headers: {h: list<string>}\n"),
            "source.headers.h: must be one of: string",
        ),
        (
            ("topic: orders\n", "topic: orders\n  key: {format: json, fields: {k: list<string>}}\n"),
            "source.key.fields.k: must be string, double, long or boolean here; got a list",
        ),
    ],
)
def test_a_list_is_no_column(change: tuple[str, str], message: str) -> None:
    with pytest.raises(JobFileError, match=re.escape(message)):
        make_feature_plan(job_of("1", JOB.replace(*change)), ["value"])


def test_personal_data_of_a_list_follows_what_is_made_of_it() -> None:
    job = job_of(
        "SUM(items.qty) + 1",
        JOB.replace('items: "list<', 'items: {pii: mask, type: "list<').replace('double}>"', 'double}>"}'),
    )
    made = make_feature_plan(job, ["value"])
    labels = personal_columns(job, made.columns)
    assert {name: label.treatment for name, label in labels.items()} == {"value": "mask"}


def test_windows_keep_what_is_made_of_lists_and_not_the_lists() -> None:
    """Rows that wait in Flink's state are of the columns that the next stage reads, in their order."""
    windows = "windows: {w: {by: id, over: 1h, select: {n: 'count(* where id > 0)'}}}\n  derive:"
    job = job_of("CARDINALITY(tags) + n", JOB.replace("derive:", windows))
    made = make_feature_plan(job, ["value"])
    pack = made.views.functions["pack_records"].params
    assert isinstance(pack, PackParams)
    assert checked_columns(pack) == (
        ("id", "long"),
        ("CARDINALITY(tags)", "long"),
        ("where id > 0", "boolean"),
    )
    (stages,) = [view.stages for view in made.views.views.values() if isinstance(view, WindowStages)]
    assert stages[0].columns == checked_columns(pack)
    batch = batch_of([{"id": 1, "tags": ["a", "b"]}, {"id": "x"}])
    _, table = RecordChecker(pack.source, pack.conditions).extract(batch.raws, batch.event_time, batch.late)
    assert table.to_pylist()[0] == {"id": 1, "CARDINALITY(tags)": 2, "where id > 0": True}
    assert table.schema.names == [name for name, _ in checked_columns(pack)]
    assert row_schema(checked_columns(pack)).names[:3] == table.schema.names


@pytest.mark.parametrize("score", ["per_event", "per_window"])
def test_conditions_of_windows_know_lists(score: str) -> None:
    kind = "over" if score == "per_event" else "tumble"
    windows = f"windows: {{w: {{by: id, {kind}: 1h, select: {{n: 'count(* where CARDINALITY(tags) > 1)'}}}}}}"
    text = JOB.replace('derive:\n    value: "EXPRESSION"', windows).replace("job:", f"score: {score}\njob:")
    made = make_feature_plan(job_of(text=text), ["n"])
    pack = made.views.functions["pack_records"].params
    assert isinstance(pack, PackParams)
    batch = batch_of([{"id": 1, "tags": ["a", "b"]}, {"id": 1, "tags": []}, {"id": 1}])
    checker = RecordChecker(pack.source, pack.conditions)
    _, table = checker.extract(batch.raws, batch.event_time, batch.late)
    assert table.column_names == [name for name, _ in checked_columns(pack)]
    assert table.column("where CARDINALITY(tags) > 1").to_pylist() == [True, False, None]
    (stages,) = [view.stages for view in made.views.views.values() if isinstance(view, WindowStages)]
    assert stages[0].columns == checked_columns(pack)


def test_history_of_columns_has_lists_as_parquet_keeps_them(tmp_path: Path) -> None:
    """As pandas writes them; the job reads of the file what it would read of the topic."""
    records = [
        {"id": 1, "tags": ["a", 'é"'], "items": [{"sku": "x", "qty": 2, "price": 0.5}], "one": [3]},
        {"id": 2, "tags": None, "items": [], "one": None},
    ]
    pd.DataFrame(records).to_parquet(tmp_path / "orders.parquet")
    job = job_of("SUM(items.qty) + CARDINALITY(tags) + ELEMENT(one)")
    history = read_records(job, tmp_path / "orders.parquet")
    assert history.written == "columns"
    assert [json.loads(message.value or b"") for message in history.records] == [*records]
    made = make_feature_plan(history.read_by(job), ["value"])
    outcomes = Scorer(params_of(made)).score(batch_of([json.loads(m.value or b"") for m in history.records]))
    assert [json.loads(line)["features"]["value"] for line in outcomes.prediction] == [7, None]


def test_history_with_other_columns_is_refused() -> None:
    with pytest.raises(
        InputError, match="column 'tags' must be a list or a map, as the field is; got string"
    ):
        from_table(job_of(), pa.table({"id": [1], "tags": ["a"]}))
    assert from_table(job_of(), pa.table({"id": [1]})).absent == ("tags", "items", "one", "sizes")
    required = JOB.replace("tags: list<string>", "tags: {type: list<string>, required: true}")
    with pytest.raises(InputError, match="missing: tags"):
        from_table(job_of(text=required), pa.table({"id": [1]}))


def test_patterns_and_lengths_of_strings() -> None:
    """The same engine for one record and for a batch: `$` and `\\d` mean one thing."""
    text = JOB.replace(
        "id: {type: long, required: true}",
        r"""id: {type: string, pattern: '[A-Z]\d{2}$|é', length: [null, 3]}""",
    )
    records = [{"id": each} for each in ("A12", "A12\n", "A1२", "é", "aA12", "", None, "A123")]
    found = results(job_of("CHAR_LENGTH(id)", text), records)
    reasons = [each.get("reason") for each in found]
    assert reasons == [
        None,
        "wrong_length",
        "no_match",
        None,
        "wrong_length",
        "no_match",
        None,
        "wrong_length",
    ]
    assert found[1]["message"] == "$.id: expected at most 3 characters, got more"
    assert found[2]["message"] == r"$.id: expected a text that matches [A-Z]\d{2}$|é, got another"
    for record, together in zip(records, found, strict=True):
        (alone,) = results(job_of("CHAR_LENGTH(id)", text), [record])
        assert alone == together


def test_editors_accept_what_is_accepted() -> None:
    """By the JSON Schema of job files, in words and key by key; what is no list is not."""
    validator = jsonschema.Draft202012Validator(job_schema())
    job = yaml.safe_load(JOB)
    fields = yaml.safe_load(
        """
        a: {type: list, element: {type: double, range: [0, 1]}, length: [1, 50]}
        b: {type: list, required: true, members: {sku: {type: string, required: true}, qty: long}}
        c: vector<float, 384>
        d: {type: vector, size: 64, field: a.b}
        e: {type: string, length: [1, null], pattern: "[a-z]+"}
        f: map<string, double>
        g: {type: map, element: {type: long, range: [0, 9]}, length: [0, 20], field: a.g}
        """
    )
    job["source"]["schema"] |= fields
    job["source"]["rules"] = {"some": "CARDINALITY(a) > 0"}
    validator.validate(job)
    assert {*load_job_text(yaml.safe_dump(job), "job.yaml", Path("/")).source.fields} >= {*fields}
    for wrong in ("list<text>", "list<list<string>>", "vector<int, 3>", "lists", "map<long, long>"):
        job["source"]["schema"]["a"] = wrong
        assert not validator.is_valid(job)


def test_arrays_of_a_registry_are_proposed_as_lists() -> None:
    item = {
        "type": "record",
        "name": "Item",
        "fields": [
            {"name": "sku", "type": ["null", "string"]},
            {"name": "qty", "type": "int"},
            {"name": "more", "type": {"type": "map", "values": "int"}},
        ],
    }
    arrays = [
        {"type": "array", "items": items}
        for items in (["null", "string"], item, {"type": "map", "values": "int"})
    ]
    fields = [{"name": name, "type": kind} for name, kind in zip("abc", arrays, strict=True)]
    node = parse_schema(json.dumps({"type": "record", "name": "R", "fields": fields}))
    proposed = [each.written for each in proposed_fields(node)]
    assert proposed == ["list<string>", "list<{sku: string, qty: long}>", None]
    text = JOB.replace("list<string>", json.dumps(proposed[1]))
    assert job_of("SUM(tags.qty)", text).source.lists["tags"].held.keys() == {"sku", "qty"}


def test_decimals_bytes_and_maps_of_a_registry_are_proposed_as_such() -> None:
    kinds: list[Any] = [
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        {"type": "bytes", "logicalType": "decimal", "precision": 99},
        ["null", "bytes"],
        {"type": "fixed", "name": "F", "size": 4},
        {"type": "map", "values": ["null", "float"]},
        {"type": "map", "values": {"type": "map", "values": "int"}},
        {"type": "array", "items": "bytes"},
        {"type": "string", "logicalType": "uuid"},
    ]
    fields = [{"name": f"f{place}", "type": kind} for place, kind in enumerate(kinds)]
    node = parse_schema(json.dumps({"type": "record", "name": "R", "fields": fields}))
    proposed = [each.written for each in proposed_fields(node)]
    assert proposed == [
        *("decimal(9, 2)", None, "bytes", "bytes", "map<string, double>", None, "list<bytes>", None)
    ]
    for written in filter(None, proposed):
        assert job_of(text=JOB.replace("list<string>", json.dumps(written)), expression="id").source


def test_members_are_found_by_their_paths() -> None:
    lines = "{type: list, members: {sku: {type: string, field: product.sku}, qty: long}}"
    job = job_of("items[1].sku", JOB.replace('"list<{sku: string, qty: long, price: double}>"', lines))
    (found,) = results(job, [{"id": 1, "items": [{"product": {"sku": "x"}}]}])
    assert found["value"] == "x"


def test_what_the_page_shows_of_lists_vectors_and_rules_is_a_job_file() -> None:
    page = (DOC.parent / "job-file.md").read_text(encoding="utf-8")
    blocks = [
        yaml.safe_load(text) for text in re.findall(r"```yaml\n((?:schema|rules):\n.*?)```", page, re.DOTALL)
    ]
    source: dict[str, Any] = {"topic": "t", "schema": {}}
    for block in blocks:
        source["schema"] |= block.get("schema", {})
        source |= {"rules": block["rules"]} if "rules" in block else {}
    source["schema"] |= {"paid_at": "long", "created_at": "long", "status": "string"}
    job = yaml.safe_dump({"job": "a", "source": source, "model": {"name": "m"}})
    found = load_job_text(job, "job.yaml", Path("/"))
    assert {*found.source.lists} == {
        "tags",
        "lines",
        "scores",
        "items",
        "embedding",
        "title",
        "attributes",
        "rates",
    }
    assert found.source.vectors == {"embedding": 384, "title": 64}
    made = make_feature_plan(found, ["embedding_383"])
    assert [rule.name for rule in params_of(made).source.rules] == ["has_items", "paid_after_created"]
