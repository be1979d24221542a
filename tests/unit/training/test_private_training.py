"""Training on personal data, to one who reads what it leaves: files of the version, cached features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.reports.card import card_markdown, model_card
from flink_jobs.training import TrainingSettings, load_trainer, train
from tests.helpers.payments import JOB, in_memory, payments, settings, write_model
from udfs.model.loading import load_version
from udfs.model.manifest import GOLDEN_FILE, PROFILE_FILE
from udfs.profile.reference import parse_reference


def labelled(root: Path, field: str, segments: str = "()") -> TrainingSettings:
    write_model(root, segments=segments)
    written = f"{field}: {{type: {'double' if field == 'amount' else 'string'}"
    assert written in JOB
    (root / "job.yaml").write_text(JOB.replace(written, f"{written}, pii: mask"))
    return settings(root)


def trained(root: Path, settings_: TrainingSettings) -> Any:
    return train(load_trainer(root / "cards"), Registry(root), settings_, features=in_memory)


def test_neither_golden_rows_nor_profile_nor_cache_have_a_value_of_theirs(tmp_path: Path) -> None:
    trained(tmp_path, labelled(tmp_path, "amount"))
    folder = Registry(tmp_path).folder("cards", 1)
    golden = {value for value in pq.read_table(folder / GOLDEN_FILE).column("amount").to_pylist() if value}
    assert len(golden) > 100
    assert golden & {*payments().column("amount").to_pylist()} == set()
    profile = parse_reference((folder / PROFILE_FILE).read_bytes())
    assert "amount" not in profile.columns
    assert "country" in profile.columns
    assert not [*(tmp_path / "cache").rglob("*.parquet")]
    load_version(folder)


def test_without_a_label_the_cache_is_kept(tmp_path: Path) -> None:
    """Else the test above would say nothing."""
    write_model(tmp_path)
    trained(tmp_path, settings(tmp_path))
    assert [*(tmp_path / "cache").rglob("*.parquet")]
    golden = pq.read_table(Registry(tmp_path).folder("cards", 1) / GOLDEN_FILE)
    assert {*golden.column("amount").to_pylist()} & {*payments().column("amount").to_pylist()}


def test_a_model_is_not_fitted_on_texts_that_are_personal_data(tmp_path: Path) -> None:
    """An encoder keeps each of them in the model's file."""
    with pytest.raises(InputError, match=r"must not be texts that are personal data.* got country;"):
        trained(tmp_path, labelled(tmp_path, "country"))


def test_metrics_by_segment_leave_personal_data_out(tmp_path: Path) -> None:
    manifest = trained(tmp_path, labelled(tmp_path, "amount", segments='("country", "night")'))
    segments = manifest.training["segments"]
    assert segments.keys() == {"country", "night"}
    assert segments["country"].keys() == {"DE", "FR", "US"}
    assert sum(each["rows"] for each in segments["night"].values()) == manifest.metrics["test_rows"]
    assert all(0 < each["auc"] <= 1 for each in segments["country"].values())
    card = card_markdown(model_card(Registry(tmp_path), "cards", 1))
    assert "## Metrics by segment" in card
    assert "| country | US |" in card
