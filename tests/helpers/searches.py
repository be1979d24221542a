"""Searches of the small model of payments, and the states of their trials."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from flink_jobs.registry import Registry
from flink_jobs.training import load_trainer, train
from tests.helpers.payments import in_memory, settings
from udfs.model.manifest import Manifest

TRIALS = 8


def searched(root: Path, trials: int = TRIALS) -> Manifest:
    """What a search with so many trials registers."""
    return train(load_trainer(root / "cards"), Registry(root), settings(root, trials), features=in_memory)


def states(root: Path) -> list[str]:
    """Of the trials so far, in their order."""
    place = root / "cards" / "studies" / "studies.db"
    if not place.is_file():
        return []
    connection = sqlite3.connect(place)
    try:
        return [state for (state,) in connection.execute("select state from trials order by trial_id")]
    except sqlite3.OperationalError:
        return []
    finally:
        connection.close()
