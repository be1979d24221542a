"""The columns of the rows that UDFs give to Flink, by what a job asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from udfs.features import FeatureParams
from udfs.profile.params import CollectParams
from udfs.records.contract import Contract
from udfs.scoring.outcomes import DEAD, LATE, undecided
from udfs.scoring.params import OutputParams, RolloutParams, ScoreParams, SourceParams
from udfs.scoring.rows import KIND, PROFILE, OutcomeColumn, checked_row, on_first_row, scored_row

SOURCE = SourceParams("rides", Contract(()))
SCORE = ScoreParams(SOURCE, FeatureParams((), ()), None, OutputParams())
ALWAYS = ["_kind", "_prediction", "_problem"]


def names(row: tuple[OutcomeColumn, ...]) -> list[str]:
    return [column.name for column in row]


def collected() -> CollectParams:
    return CollectParams(window_ms=1_000, columns=())


@pytest.mark.parametrize(
    ("changes", "added"),
    [
        ({}, []),
        ({"drift": collected()}, ["_profile"]),
        ({"rollout": RolloutParams(1_000)}, ["_shadow", "_rollout"]),
        (
            {"rollout": RolloutParams(1_000), "label_key": "id"},
            ["_shadow", "_rollout", "_label_key", "_told"],
        ),
        ({"drift": collected(), "rollout": RolloutParams(1_000)}, ["_profile", "_shadow", "_rollout"]),
    ],
)
def test_columns_of_a_scored_row(changes: dict[str, Any], added: list[str]) -> None:
    assert names(scored_row(msgspec.structs.replace(SCORE, **changes))) == ALWAYS + added


def test_columns_of_a_checked_row() -> None:
    assert names(checked_row(SOURCE)) == ["_kind", "_problem"]
    counted = msgspec.structs.replace(SOURCE, counted=collected())
    assert names(checked_row(counted)) == ["_kind", "_problem", "_profile"]


def test_what_is_said_of_a_batch_is_on_its_first_row() -> None:
    outcomes = replace(undecided(3, np.array([False, True, False])), profile=b"counts")
    values = {column.name: column.values(outcomes) for column in (KIND, PROFILE)}
    assert [list(column) for column in values.values() if column is not None] == [
        [DEAD, LATE, DEAD],
        [b"counts", None, None],
    ]
    assert list(on_first_row(b"counts", 0)) == []
