"""The oracle of edits, against values counted by hand, and an edit that went wrong unseen."""

from __future__ import annotations

import pytest

from tests.proof.edits import (
    BASE,
    EDITS,
    JOB,
    Edit,
    Result,
    Row,
    _accounted,
    _judged,
    _wrong_words,
    expected,
    rows,
)

ROWS = [
    Row(0, 0, "a", "x", 1.0, 10.0, before=True),
    Row(1, 50, "a", "y", 2.0, 20.0, before=True),
    Row(2, 60, "b", "x", 4.0, 40.0),
    Row(3, 61, "a", "x", 8.0, 80.0),
]


@pytest.mark.parametrize(
    ("result", "value"),
    [
        (Result("count"), 2),
        (Result("sum", reach=61), 11.0),
        (Result("sum", reach=2, rows=True), 10.0),
        (Result("sum", by="shop", anew=True), 12.0),
        (Result("sum", column="fee", unknown=True), 80.0),
        (Result("max", reach=5), 8.0),
    ],
)
def test_values_are_those_counted_by_hand(result: Result, value: float) -> None:
    assert expected(result, ROWS, ROWS[3]) == value


def test_each_edit_finds_what_it_replaces() -> None:
    assert len(EDITS) >= 40
    for name, edit in EDITS.items():
        text = JOB
        for before, after in edit.edits:
            assert before in text, name
            text = text.replace(before, after)


def test_a_value_that_is_not_as_was_said_is_seen() -> None:
    every = rows(3)
    after = [row for row in every if not row.before]

    def said(row: Row, shift: float = 0.0) -> dict[str, object]:
        values = {name: expected(result, every, row) for name, result in BASE.items()}
        return {"id": row.id, **values, "prediction": 2.0 * (values["spent"] or 0.0) + shift}

    right = [said(row) for row in after]
    assert _judged(Edit(), BASE, every, right) == (0, [])
    assert _judged(Edit(factor=3.0), BASE, every, right)[1]
    cut = [{**said(row), "seen": 1} for row in after]
    assert len(_judged(Edit(), BASE, every, cut)[1]) == 4
    late = {**BASE, "seen": Result("count", late=100)}
    begun = [{**said(row), **({"seen": 0} if row.at < after[0].at + 50 else {})} for row in after]
    assert _judged(Edit(), late, every, begun) == (50, [])


def test_a_record_that_is_lost_or_doubled_is_seen() -> None:
    every = rows(3)
    waiting = [row.id for row in every if not row.before]
    assert [*_accounted(Edit(), every, waiting, set(), 0)] == []
    assert [*_accounted(Edit(), every, waiting[1:], set(), 0)]
    assert [*_accounted(Edit(), every, [*waiting, waiting[0]], set(), 0)]
    assert [*_accounted(Edit(), every, waiting[:-1], {waiting[-1]}, 0)]
    assert [*_accounted(Edit(), every, waiting[:-1], set(), 1)]


def test_commands_that_do_not_agree_are_seen() -> None:
    assert [*_wrong_words(Edit(), 0, "goes on", 0, "")] == []
    assert [*_wrong_words(Edit(), 0, "goes on", 2, "refused")]
    assert [*_wrong_words(Edit(refused="gone"), 2, "it is gone", 0, "it is gone")]
    assert [*_wrong_words(Edit(refused="gone"), 2, "it is gone", 2, "no")]
    assert [*_wrong_words(Edit(), 0, "", 0, "caused by java.lang.IllegalStateException")]
