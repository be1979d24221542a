"""Lists, vectors and rules in jobs on real Kafka, with a window and without: scored as plain Python says.

The adversaries are lists with an element too many, of another type, or wrong together with another field.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.testing import Broker, JobHarness, record
from tests.helpers.samples import write_model

NOW = 1_767_225_600_000
JOB = """
job: lists
source:
  topic: orders
  schema:
    id: {type: long, required: true}
    tags: {type: list, element: {type: string, values: [new, sale]}, length: [0, 3]}
    items: "list<{sku: string, qty: long}>"
    emb: {type: "vector<float, 3>", required: true}
  rules: {some: "CARDINALITY(items) > 0 OR id = 0"}
features:
  derive:
    total: "CAST(COALESCE(SUM(items.qty), 0) AS DOUBLE) + emb[1]"
    sale: "tags CONTAINS 'sale'"
    first: "items[1].sku"
model: {name: m, registry: models, inputs: {x: total}}
predictions: {include: [id, total, sale, first]}
runtime: {checkpoint: {interval: 1s}}
"""
WINDOWS = "features:\n  windows: {w: {by: id, over: 1h, select: {n: count(*)}}}\n"


def order(number: int) -> dict[str, Any]:
    tags = ["new", "sale"][: number % 3]
    items = [{"sku": f"s{n}", "qty": n, "other": [n]} for n in range(number)]
    return {"id": number, "tags": tags, "items": items, "emb": [number, 0.5, 1]}


BAD: dict[str, dict[str, Any]] = {
    "$.tags[1]: expected one of new, sale, got another value": {"tags": ["new", "old"]},
    "$.tags: expected at most 3 elements, got more": {"tags": ["new"] * 4},
    "$.items[2].qty: expected long, got string": {"items": [{}, {"qty": 1}, {"qty": "1"}]},
    "$.emb: expected at least 3 elements, got fewer": {"emb": [1, 2]},
    "some: CARDINALITY(items) > 0 OR id = 0 does not hold": {"items": []},
    "SUM(items.qty): overflow": {"items": [{"qty": 2**63 - 1}, {"qty": 1}]},
}


@pytest.mark.parametrize("windows", [False, True])
def test_what_is_in_lists_is_scored_and_what_is_wrong_in_them_is_told(
    broker: Broker, tmp_path: Path, windows: bool
) -> None:
    write_model(tmp_path / "models", "m", "x", "emb_2")
    orders = [order(number) for number in range(5)]
    records = [record(each, timestamp=NOW) for each in orders]
    records += [record({**order(1), **change}, timestamp=NOW) for change in BAD.values()]
    job = JOB.replace("features:\n", WINDOWS) if windows else JOB
    results = JobHarness(broker).run(job, records, base=tmp_path)
    assert results.accounts() == {"read": 11, "predicted": 5, "dead": 6, "late": 0}
    found = {each.json["id"]: each.json for each in results.predictions}
    for each in orders:
        number = each["id"]
        shown = {name: found[number][name] for name in ("total", "sale", "first")}
        total = float(sum(item["qty"] for item in each["items"]) + number)
        assert shown == {"total": total, "sale": "sale" in each["tags"], "first": "s0" if number else None}
    assert {each.header("message") for each in results.dead_letters} == {*BAD}
    values = [json.loads(each.value or b"") for each in results.dead_letters]
    assert sorted(map(str, values)) == sorted(str({**order(1), **change}) for change in BAD.values())
