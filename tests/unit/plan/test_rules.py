"""Rules between the fields of a record, held to SQLite's CHECK constraints.

The adversary is a record whose fields are right one by one, and wrong together.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.errors import JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Runnable, make_feature_plan
from tests.helpers.examples import examples
from udfs.scoring.checker import RecordChecker
from udfs.scoring.params import PackParams, ScoreParams
from udfs.scoring.recheck import checked_columns

JOB = """
job: orders
source:
  topic: orders
  schema: {id: {type: long, required: true}, created_at: long, paid_at: long, tags: list<string>}
  headers: {tenant: string}
  rules: {RULES}
model: {name: m}
"""
PAID, SHORT = "paid_at >= created_at", "paid_at - created_at < 5 OR id = 3"
RULES = f"paid_after_created: {PAID}, soon: {SHORT}, tagged: CARDINALITY(tags) > 0"


def plan(rules: str = RULES, text: str = JOB, feature: str = "id") -> Runnable:
    return make_feature_plan(load_job_text(text.replace("RULES", rules), "job.yaml", Path("/")), [feature])


def checker(made: Runnable) -> RecordChecker:
    for each in made.views.functions.values():
        if isinstance(each.params, ScoreParams | PackParams):
            conditions = each.params.conditions if isinstance(each.params, PackParams) else ()
            return RecordChecker(each.params.source, conditions)
    raise AssertionError


def outcomes(checker: RecordChecker, records: list[Any]) -> list[Any]:
    raws, rows = [json.dumps(record).encode() for record in records], len(records)
    found = checker.check(raws, np.full(rows, 1_767_268_800_000), np.zeros(rows, np.bool_), [[b"t"] * rows])
    good = dict(zip(found.rows.tolist(), found.table.to_pylist(), strict=True))
    return [good.get(row) or found.problems[row] for row in range(rows)]


def test_a_broken_rule_is_told_by_its_name_and_spares_the_neighbours() -> None:
    good = {"id": 1, "created_at": 5, "paid_at": 7}
    changes: list[dict[str, Any]] = [
        {"created_at": 8},
        {"paid_at": 90},
        {"tags": []},
        {"id": "x", "paid_at": 0},
    ]
    late, slow, bare, wrong = (good | change for change in changes)
    first, *bad, last = outcomes(checker(plan()), [good, late, slow, bare, wrong, good])
    assert first == last == good | {"tenant": "t"}
    assert [(each.stage, each.reason, each.message) for each in bad] == [
        ("contract", "rule", f"paid_after_created: {PAID} does not hold"),
        ("contract", "rule", f"soon: {SHORT} does not hold"),
        ("contract", "rule", "tagged: CARDINALITY(tags) > 0 does not hold"),
        ("contract", "wrong_type", "$.id: expected long, got string"),
    ]


VALUES = st.none() | st.integers(-9, 9)
RECORDS = st.fixed_dictionaries({"id": st.integers(1, 4)}, optional={"created_at": VALUES, "paid_at": VALUES})


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=8))
def test_what_is_refused_is_what_a_check_constraint_refuses(records: list[Any]) -> None:
    read = checker(plan(f"a: {PAID}, b: {SHORT}"))
    together = outcomes(read, records)
    with sqlite3.connect(":memory:") as db:
        db.execute(f"CREATE TABLE r (id, created_at, paid_at, CHECK ({PAID}), CHECK ({SHORT}))")
        for found, record in zip(together, records, strict=True):
            assert outcomes(read, [record]) == [found]
            try:
                values = [record.get(name) for name in ("id", "created_at", "paid_at")]
                db.execute("INSERT INTO r VALUES (?, ?, ?)", values)
            except sqlite3.IntegrityError:
                assert not isinstance(found, dict)
            else:
                assert isinstance(found, dict)


def test_a_rule_without_an_answer_makes_a_dead_letter() -> None:
    read = checker(plan("whole: 6 % paid_at = 0"))
    fine, failed, broken, null = outcomes(read, [{"id": 1, "paid_at": each} for each in (2, 0, 4, None)])
    assert isinstance(fine, dict)
    assert isinstance(null, dict)
    assert (failed.stage, failed.reason) == ("feature", "feature_error")
    assert broken.reason == "rule"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("a: paid_at >= creatd_at", "got 'creatd_at' at character 12; did you mean 'created_at'?"),
        ("a: paid_at - 1", "must be a condition, true or false; got a long"),
        ("a: event_time > paid_at", "must be one of the columns created_at, id, paid_at, tenant"),
        ("a: SUM(tags) > 1", "must be a list of long or double in SUM"),
        ("a: 3", "must be an SQL expression"),
        ("a b: id > 1", "must be a column name of letters"),
    ],
)
def test_wrong_rules_are_told_where_they_are(rules: str, message: str) -> None:
    with pytest.raises(JobFileError) as caught:
        plan(rules)
    (only,) = caught.value.diagnostics
    assert only.location[:2] == ("source", "rules")
    assert message in str(only)


@pytest.mark.parametrize("score", ["per_event", "per_window"])
def test_windows_see_no_record_that_breaks_a_rule_and_keep_nothing_of_rules(score: str) -> None:
    kind = "over" if score == "per_event" else "tumble"
    window = f"{{by: id, {kind}: 1h, select: {{n: count(*)}}}}"
    windows = f"score: {score}\nfeatures: {{windows: {{w: {window}}}}}\nmodel:"
    made = plan(text=JOB.replace("model:", windows), feature="n")
    packs = [each.params for each in made.views.functions.values() if isinstance(each.params, PackParams)]
    assert [name for name, _ in checked_columns(packs[0])] == ["id", "created_at", "paid_at", "tenant"]
    good, broken = outcomes(checker(made), [{"id": 1}, {"id": 1, "created_at": 2, "paid_at": 1}])
    assert [*good] == ["id", "created_at", "paid_at", "tenant"]
    assert broken.reason == "rule"
