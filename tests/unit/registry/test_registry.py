"""The registry: versions are numbered once and never change; the newest release names the champion."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry, Release
from tests.helpers.registered import ROWS, write
from udfs.model.loading import load_version
from udfs.model.manifest import digest

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models", clock=lambda: NOON)


def test_a_version_says_what_it_is(registry: Registry) -> None:
    manifest = write(registry)
    assert (manifest.name, manifest.version, manifest.created_at) == ("fraud", 1, "2026-01-02T12:00:00Z")
    assert set(manifest.files) == {"model.joblib", "golden.parquet", "profile.json"}
    assert (manifest.metrics, manifest.training) == ({"auc": 0.9}, {"rows": 2})
    assert {"python", "scikit-learn", "numpy"} <= manifest.libraries.keys()
    assert registry.manifest("fraud", 1) == manifest
    assert load_version(registry.folder("fraud", 1)).model.predict(ROWS).prediction == [0, 1, 1]


def test_files_are_read_only_and_nothing_else_is_left(registry: Registry) -> None:
    write(registry)
    write(registry)
    for version in (1, 2):
        files = list(registry.folder("fraud", version).iterdir())
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o444}
    assert sorted(os.listdir(Path(registry.root) / "fraud" / "versions")) == ["1", "2"]


def test_versions_written_at_once_get_numbers_of_their_own(registry: Registry) -> None:
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda _: write(registry).version, range(16)))
    assert sorted(written) == registry.versions("fraud") == list(range(1, 17))
    assert [registry.manifest("fraud", number).version for number in written] == written


def test_numbers_sort_as_numbers_and_strangers_are_not_versions(registry: Registry) -> None:
    for _ in range(11):
        write(registry)
    for stranger in ("007", "0", "-1", "1.5", ".tmp", "x"):
        (Path(registry.root) / "fraud" / "versions" / stranger).mkdir()
    assert registry.versions("fraud") == list(range(1, 12))
    assert registry.resolve("fraud", "latest") == Release(11, None)


def test_releases_are_a_log_whose_newest_entry_names_the_champion(registry: Registry) -> None:
    write(registry)
    write(registry)
    assert registry.releases("fraud") == []
    assert registry.promote("fraud", 2) == Release(2, 1)
    assert registry.promote("fraud", 1) == Release(1, 2)
    assert registry.resolve("fraud", "champion") == Release(1, 2)
    assert registry.resolve("fraud", 2) == Release(2, None)
    folder = Path(registry.root) / "fraud" / "releases"
    assert sorted(os.listdir(folder)) == ["00000001.json", "00000002.json"]
    record = json.loads((folder / "00000001.json").read_bytes())
    assert record.pop("by")
    assert record == {
        "schema": "tailrace.release/2",
        "number": 1,
        "action": "promote",
        "champion": 2,
        "at": None,
        "written_at": "2026-01-02T12:00:00.000Z",
        "lead_ms": 20_000,
        "canary": None,
        "shadows": [],
        "withdraw": None,
        "digests": {"2": digest(registry.manifest("fraud", 2))},
        "reason": "",
    }


def test_promotions_at_once_are_all_recorded(registry: Registry) -> None:
    write(registry)
    with ThreadPoolExecutor(8) as pool:
        releases = list(pool.map(lambda _: registry.promote("fraud", 1).number or 0, range(16)))
    assert sorted(releases) == list(range(1, 17)) == registry.releases("fraud")


def test_a_missing_model_is_named_with_what_there_is(registry: Registry) -> None:
    write(registry, "fraud")
    write(registry, "churn")
    with pytest.raises(InputError) as failure:
        registry.resolve("fruad", "champion")
    message = f"model fruad is not in {registry.root} (the models there: churn, fraud); did you mean 'fraud'?"
    assert str(failure.value) == message


def test_a_model_without_versions_says_how_to_make_one(registry: Registry) -> None:
    (Path(registry.root) / "fraud").mkdir(parents=True)
    (Path(registry.root) / "fraud" / "train.py").touch()
    with pytest.raises(InputError, match=r"fraud has no versions in .*; make one: tailrace train .*fraud"):
        registry.versions("fraud")


def test_a_registry_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model fraud is not in .*nowhere \(there are none\)"):
        Registry(tmp_path / "nowhere").versions("fraud")


def test_no_release_says_how_to_promote(registry: Registry) -> None:
    write(registry)
    write(registry)
    with pytest.raises(InputError, match=r"no champion.* \(1, 2\) with `tailrace release promote fraud 2`"):
        registry.resolve("fraud", "champion")


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (3, r"version 3 of model fraud must be one of 1 in .*versions"),
        (0, r"version 0 of model fraud must be one of 1"),
        (True, "must be champion, latest or a version number; got True"),
        ("champoin", "got 'champoin'; did you mean 'champion'?"),
        ("1", "got '1'"),
    ],
)
def test_what_cannot_be_used(registry: Registry, use: Any, message: str) -> None:
    write(registry)
    with pytest.raises(InputError, match=message):
        registry.resolve("fraud", use)


@pytest.mark.parametrize("name", ["../fraud", "a/b", "", ".", "a\n", "x" * 101, "-rf"])
def test_names_stay_inside_the_registry(registry: Registry, name: str) -> None:
    with pytest.raises(InputError, match="model's name must be letters, digits"):
        write(registry, name)
    with pytest.raises(InputError, match="model's name must be letters, digits"):
        registry.resolve(name, "latest")
    assert not Path(registry.root).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "must be a tailrace.release/2 record"),
        (
            b'{"schema":"tailrace.release/1","number":2,"champion":1,"written_at":""}',
            "must say its number; it says 2",
        ),
        (
            b'{"schema":"tailrace.release/1","number":1,"champion":9,"written_at":""}',
            "version 9 .* must be one of 1",
        ),
    ],
)
def test_a_broken_release_is_an_error(registry: Registry, content: bytes, message: str) -> None:
    write(registry)
    (Path(registry.root) / "fraud" / "releases").mkdir()
    (Path(registry.root) / "fraud" / "releases" / "00000001.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        registry.resolve("fraud", "champion")


def test_a_version_copied_by_hand_is_not_taken_for_another(registry: Registry) -> None:
    write(registry)
    os.rename(registry.folder("fraud", 1), Path(registry.root) / "fraud" / "versions" / "2")
    with pytest.raises(InputError, match="must hold fraud version 2; its manifest says fraud version 1"):
        registry.promote("fraud", 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"auc": float("nan")}}, "metric auc must be finite; got nan"),
        ({"training": {"when": object()}}, "manifest must be plain JSON values"),
        ({"golden_inputs": ROWS.slice(0, 0)}, "golden_inputs must have rows; got none"),
        ({"golden_inputs": pa.table({"b": [1.0]})}, "must be a double; got b double"),
        ({"model": object()}, "must hold an estimator alone, with a method predict"),
        ({"format": "onnx", "model": b"no"}, "the onnx model cannot be loaded"),
    ],
)
def test_what_cannot_be_a_version_leaves_nothing(
    registry: Registry, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write(registry, **changes)
    assert [path for path in Path(registry.root).rglob("*") if path.is_file()] == []
    assert registry.models() == []
