"""Labels as they come: read, rejected, joined to what versions said, and remembered until they are enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.following import add, batch, scorer
from udfs.rollout.labels import LabelCounts, LabelReader, count_labels, decode_labels
from udfs.rollout.losses import ScoredRow

WINDOW = 60_000
T0 = 1_767_225_600_000


def read(*raws: bytes | None, event_time: int = T0, late: bool = False) -> tuple[list[Any], LabelCounts]:
    reader = LabelReader("id", "fraud", WINDOW)
    found = reader.read(list(raws), np.full(len(raws), event_time), np.full(len(raws), late))
    assert found.report is not None
    (counts,) = decode_labels(found.report).counts.values()
    return list(zip(found.keys, found.labels, strict=True)), counts


def test_keys_and_labels_of_any_simple_type() -> None:
    rows, counts = read(
        b'{"id": "a", "fraud": true}',
        b'{"fraud": "yes", "id": 7, "more": [1]}',
        b'{"id": true, "fraud": 1.5}',
    )
    assert rows == [("a", b"true"), ("7", b'"yes"'), ("true", b"1.5")]
    assert counts == LabelCounts(read=3)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        b"",
        b"not json",
        b"\xff\xfe",
        b"[1, 2]",
        b'"text"',
        b"{}",
        b'{"id": "a"}',
        b'{"fraud": true}',
        b'{"id": null, "fraud": true}',
        b'{"id": "a", "fraud": null}',
        b'{"id": 1.5, "fraud": true}',
        b'{"id": {"a": 1}, "fraud": true}',
        b'{"id": "a", "fraud": [true]}',
        b'{"id": "a", "fraud": NaN}',
        b'{"id": "a", "fraud": 1e999}',
        b'{"id": "a", "fraud": "' + b"x" * 2000 + b'"}',
        b'{"id": "' + b"x" * 2000 + b'", "fraud": true}',
        b'{"id": "a", "fraud": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"id": ' + b"9" * 5_000 + b', "fraud": true}',
    ],
)
def test_a_hostile_label_is_counted_and_dropped(raw: bytes | None) -> None:
    rows, counts = read(raw, b'{"id": "b", "fraud": false}')
    assert rows == [(None, None), ("b", b"false")]
    assert counts == LabelCounts(read=2, rejected=1)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=40)), min_size=1))
def test_reading_never_raises(raws: list[bytes | None]) -> None:
    _, counts = read(*raws)
    assert counts.read == len(raws)


def test_labels_without_a_time_or_behind_the_watermark_are_rejected() -> None:
    good = b'{"id": "a", "fraud": true}'
    assert read(good, event_time=0)[1] == LabelCounts(1, 1)
    assert read(good, late=True)[1] == LabelCounts(1, 1)


def told(*said: ScoredRow) -> bytes:
    return msgspec.json.encode(list(said))


def binary(version: int, role: str, score: float) -> ScoredRow:
    return ScoredRow(version, role, 4, "binary", (False, True), score >= 0.5, score)  # type: ignore[arg-type]


def test_labels_are_counted_per_window_version_and_role_once() -> None:
    pair = told(binary(1, "champion", 0.8), binary(3, "shadow", 0.6))
    alone = told(binary(2, "canary", 0.4))
    times = np.array([T0, T0 + WINDOW, T0 + WINDOW, T0 + WINDOW])
    first = np.array([True, True, False, True])
    data = count_labels([pair, pair, pair, alone], [b"true", b"false", b"true", b'"x"'], first, times, WINDOW)
    assert data is not None
    found = decode_labels(data)
    assert {key: quality.loss.n for key, quality in found.qualities.items()} == {
        (T0, 1, "champion", 4): 1,
        (T0, 3, "shadow", 4): 1,
        (T0 + WINDOW, 1, "champion", 4): 1,
        (T0 + WINDOW, 3, "shadow", 4): 1,
    }
    assert found.counts == {T0: LabelCounts(joined=1), T0 + WINDOW: LabelCounts(rejected=1, joined=1)}
    rises = found.qualities[T0, 3, "shadow", 4].rises
    assert rises.mean == pytest.approx(np.log(0.8 / 0.6))
    assert count_labels([pair], [b"true"], np.array([False]), times[:1], WINDOW) is None


def test_the_scorer_says_what_labels_need(tmp_path: Path) -> None:
    add(tmp_path)
    with scorer(tmp_path, label_key="customer") as running:
        outcomes = running.score(batch([1.0, 6.0]))
    assert outcomes.label_key is not None
    assert outcomes.told is not None
    assert outcomes.label_key.tolist() == ["c0", "c1"]
    (low,), (high,) = (msgspec.json.decode(line, type=list[ScoredRow]) for line in outcomes.told)
    assert (low.version, low.role, low.release, low.kind, low.classes) == (
        1,
        "champion",
        1,
        "binary",
        (False, True),
    )
    prediction = msgspec.json.decode(outcomes.prediction[1])
    assert (high.prediction, high.score) == (prediction["prediction"], prediction["score"])
    with scorer(tmp_path) as running:
        assert running.score(batch([1.0])).told is None
