"""When a job stops for its dead letters, against batches of any size, late records, and a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.errors import JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan.alerts import alert_rules
from flink_jobs.plan.diagnose import Collector
from flink_jobs.plan.params import source_params
from flink_jobs.plan.watched import Watched
from udfs.errors import DeadRateError
from udfs.records.contract import Contract
from udfs.records.personal import PrivacyParams
from udfs.records.problems import Problem
from udfs.scoring import dead_rate
from udfs.scoring.dead_rate import DeadRateLimit
from udfs.scoring.outcomes import DEAD, LATE, PREDICTED, Outcomes, problem_json, undecided
from udfs.scoring.params import DeadRate, SourceParams

LIMIT = DeadRate(0.1, 100, "t.dead-letters")
kinds = st.lists(st.sampled_from([PREDICTED] * 12 + [DEAD, LATE]), max_size=60)


def add(limit: DeadRateLimit, batch: list[int]) -> bool:
    """Whether it stops the job."""
    try:
        limit.add(np.array(batch, dtype=np.int8), {})
    except DeadRateError:
        return True
    return False


@given(st.lists(kinds, min_size=1, max_size=20))
def test_it_stops_where_the_share_of_the_last_records_says_so(batches: list[list[int]]) -> None:
    """Of the fewest last batches that have 100 records, late ones left out, by plain lists."""
    limit = DeadRateLimit(LIMIT)
    for number in range(1, len(batches) + 1):
        last: list[int] = []
        for batch in reversed(batches[:number]):
            if len(last) < LIMIT.over:
                last = [kind for kind in batch if kind != LATE] + last
        too_many = len(last) >= LIMIT.over and last.count(DEAD) / len(last) > LIMIT.share
        assert add(limit, batches[number - 1]) == too_many
        if too_many:
            return


def test_a_worker_that_begins_anew_stops_at_the_same_records() -> None:
    bad = [[DEAD] * 5 + [PREDICTED] * 5] * 10
    for _ in range(3):
        limit = DeadRateLimit(LIMIT)
        assert [add(limit, batch) for batch in bad] == [False] * 9 + [True]


def test_it_says_what_was_wrong_and_no_value_of_a_record() -> None:
    outcomes = undecided(200, np.zeros(200, dtype=np.bool_))
    problem = problem_json(Problem("contract", "missing", "email ann@example.com"))
    outcomes.problem[:] = [problem] * 150 + [problem_json(Problem("decode", "not_json", "x"))] * 50
    limit = dead_rate.limit_of(SourceParams("t", Contract(()), max_dead=LIMIT))
    with pytest.raises(DeadRateError) as raised:
        dead_rate.check(limit, outcomes)
    told = str(raised.value)
    assert told.startswith(
        "200 of the last 200 records became dead letters (150 contract missing, 50 decode not_json)"
    )
    assert "ann" not in told


def test_without_a_limit_nothing_stops() -> None:
    outcomes: Outcomes = undecided(5_000, np.zeros(5_000, dtype=np.bool_))
    dead_rate.check(dead_rate.limit_of(SourceParams("t", Contract(()))), outcomes)


def job(dead_letters: str, more: str = "") -> Any:
    text = (
        "job: orders\nsource: {topic: orders, schema: {x: double}}\nmodel: {name: m}\n"
        f"dead_letters: {dead_letters}\n{more}"
    )
    return load_job_text(text, "job.yaml", Path(), {})


def test_the_job_file_says_when() -> None:
    stop = job("{max_rate: 5%, then: stop, over: 500}")
    limited = source_params(stop, PrivacyParams(), limited=True)
    assert limited.max_dead == DeadRate(0.05, 500, "orders.dead-letters")
    assert source_params(stop, PrivacyParams()).max_dead is None  # of a check, or of history
    alert = job("{max_rate: 0.05}", "drift: {window: 1h}")
    assert source_params(alert, PrivacyParams(), limited=True).max_dead is None


@pytest.mark.parametrize(
    ("dead_letters", "told"),
    [
        ("{max_rate: 5%}", "job.yaml:4:16: dead_letters.max_rate: must be with drift"),
        ("{then: stop}", "job.yaml:4:16: dead_letters.then: must be with a max_rate"),
        ("{max_rate: 101%, then: stop}", "a share from 0 to 1"),
        ("{max_rate: 5%, then: pause}", "alert"),
        ("{max_rate: 5%, then: stop, over: 5}", "over"),
    ],
)
def test_what_would_do_nothing_is_a_mistake(dead_letters: str, told: str) -> None:
    with pytest.raises(JobFileError) as raised:
        job(dead_letters)
    assert told in str(raised.value)


def test_the_alert_of_each_window_has_the_limit_unless_the_job_has_a_rule_of_its_own() -> None:
    own = "drift: {window: 1h}\nalerts: {rules: {RULE: {on: dead_rate, above: 0.5}}}"
    for more, expected in (
        ("drift: {window: 1h}", [("dead-letters", 0.02, (1, 1))]),
        (own.replace("RULE", "mine"), [("mine", 0.5, (2, 3)), ("dead-letters", 0.02, (1, 1))]),
        (own.replace("RULE", "dead-letters"), [("dead-letters", 0.5, (2, 3))]),
    ):
        spec = job("{max_rate: 2%}", more)
        rules = alert_rules(spec.alerts, Watched(), False, Collector(), spec.dead_letters.max_rate)
        assert [(r.name, r.above, r.windows) for r in rules if r.on == "dead_rate"] == expected
