"""The search: pruned, stored, and resumed after a kill as if there had been none."""

from __future__ import annotations

import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flink_jobs.errors import InputError, WorkError
from flink_jobs.registry import Registry
from flink_jobs.training import load_trainer, train
from flink_jobs.training.search import Limits
from tests.helpers.payments import in_memory, settings, write_model
from tests.helpers.searches import searched, states


def test_the_first_trial_is_what_is_known_and_bad_ones_are_pruned(tmp_path: Path) -> None:
    write_model(tmp_path)
    found = searched(tmp_path, 12)
    assert found.training["search"]["trials"] == 12
    assert found.training["search"]["pruned"] == states(tmp_path).count("PRUNED") > 0
    place = tmp_path / "cards" / "studies" / "studies.db"
    with sqlite3.connect(place) as connection:
        first = dict(
            connection.execute(
                "select param_name, param_value from trial_params where trial_id = 1"
            ).fetchall()
        )
    assert first == {"max_depth": 4, "min_samples_leaf": 20}
    assert found.training["search"]["value"] < 0.69


def test_a_search_with_enough_trials_adds_none_and_another_seed_begins_anew(tmp_path: Path) -> None:
    write_model(tmp_path)
    searched(tmp_path, 3)
    again = searched(tmp_path, 3)
    assert len(states(tmp_path)) == 3
    write_model(tmp_path, seed="6")
    other = searched(tmp_path, 2)
    assert len(states(tmp_path)) == 5
    assert other.training["search"]["study"] != again.training["search"]["study"]


def test_no_resume_and_timeout(tmp_path: Path) -> None:
    write_model(tmp_path)
    searched(tmp_path, 3)
    trainer, registry = load_trainer(tmp_path / "cards"), Registry(tmp_path)
    fresh = settings(tmp_path)
    fresh = replace(fresh, limits=Limits(2, None, False))
    assert train(trainer, registry, fresh, features=in_memory).training["search"]["trials"] == 2
    assert len(states(tmp_path)) == 2
    (tmp_path / "cards" / "studies" / "studies.db").unlink()
    none = replace(fresh, limits=Limits(None, 0.0))
    with pytest.raises(InputError, match="time for at least one trial"):
        train(trainer, registry, none, features=in_memory)


@pytest.mark.filterwarnings("ignore:Fixed parameter max_depth")  # Optuna, of the trial that is to fail
def test_a_search_without_space_and_a_trial_that_fails(tmp_path: Path) -> None:
    write_model(tmp_path, parameters='{"max_depth": -3}')
    with pytest.raises(WorkError, match=r"trial 0 failed with .*max_depth.*InvalidParameterError"):
        searched(tmp_path, 1)
    trainer = load_trainer(tmp_path / "cards")
    with pytest.raises(InputError, match="a search needs a space"):
        train(replace(trainer, space=None), Registry(tmp_path), settings(tmp_path, 1), features=in_memory)


def test_optuna_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    write_model(tmp_path)
    with pytest.raises(InputError, match=r"pip install 'tailrace\[train\]'"):
        searched(tmp_path, 1)
