"""The registry behind a URI: all that a folder offers, in an object store's stand-in."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.errors import InputError, WorkError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import make_plan
from flink_jobs.plan.model import trust_of
from flink_jobs.registry import Registry, Release
from flink_jobs.registry.releases import Activation, Releases, Signing
from flink_jobs.registry.sign import generate_key, read_private_key, sign
from flink_jobs.registry.verify import checks
from tests.helpers.memory_store import MemoryStore
from tests.helpers.registered import ROWS, write
from udfs.model.loading import load_version
from udfs.model.manifest import Lineage
from udfs.releases.log import BEGINNING
from udfs.store import objects as object_store


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setattr(object_store, "SETTLE_SECONDS", 0.05)
    return Registry(f"memory://{uuid.uuid4().hex}/models")


def test_versions_and_releases(registry: Registry) -> None:
    assert registry.models() == []
    with pytest.raises(InputError, match=r"model fraud is not in memory://.*/models .there are none."):
        registry.versions("fraud")
    write(registry)
    manifest = write(registry, lineage=Lineage(parent=1))
    assert registry.models() == ["fraud"]
    assert registry.versions("fraud") == [1, 2]
    assert registry.manifest("fraud", 2) == manifest
    assert registry.promote("fraud", 2) == Release(2, 1) == registry.resolve("fraud", "champion")
    loaded = load_version(registry.location("fraud", 2))
    assert loaded.manifest.lineage == Lineage(parent=1)
    assert loaded.model.predict(ROWS).prediction == [0, 1, 1]
    with pytest.raises(InputError, match="must be a folder of this machine"):
        registry.folder("fraud", 1)


def test_writers_at_once(registry: Registry) -> None:
    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(lambda _: write(registry).version, range(4)))
        promoted = list(pool.map(lambda _: registry.promote("fraud", 1).number, range(4)))
    assert sorted(written) == registry.versions("fraud")
    assert len(set(written)) == 4
    assert sorted(promoted, key=str) == registry.releases("fraud") == [1, 2, 3, 4]


def test_a_half_written_version_does_not_exist_and_keeps_its_number(registry: Registry) -> None:
    write(registry)
    folder = f"/{str(registry.root).removeprefix('memory://')}/fraud/versions"
    MemoryStore().copy(f"{folder}/1/model.joblib", f"{folder}/2/model.joblib")
    assert registry.versions("fraud") == [1]
    with pytest.raises(InputError, match="version 2 of model fraud must be one of 1"):
        registry.promote("fraud", 2)
    assert write(registry).version == 3


def test_a_release_leaves_time_for_the_store(registry: Registry) -> None:
    """Workers see it only when the election of its writer is over."""
    write(registry)
    releases = Releases(registry, "fraud", wall_ms=lambda: 1_000_000)
    releases.promote(1, Activation())
    at = releases.promote(1, Activation(lead_ms=20_000)).at_ms
    assert at == 1_000_000 + 20_000 + round(registry.store.delay * 1000) > 1_020_000
    with pytest.raises(InputError, match="at least the lead of"):
        releases.promote(1, Activation(at_ms=1_020_001))


JOB = """
job: frauds
source: {topic: t, schema: {a: {type: double}}}
model: {name: fraud, registry: %s, require_signature: true, trusted_keys: [k.pub]}
"""


def test_a_job_scores_with_a_signed_version_from_a_uri(registry: Registry, tmp_path: Path) -> None:
    write(registry)
    registry.promote("fraud", 1)
    generate_key(tmp_path / "k")
    job = load_job_text(JOB % registry.root, "job.yaml", tmp_path, {})
    assert job.model.registry == registry.root
    with pytest.raises(InputError, match="release 1 is not signed"):
        make_plan(job)
    signing = Signing(read_private_key(tmp_path / "k"), adopt=True)
    Releases(registry, "fraud", signing=signing).promote(1, Activation(BEGINNING, past=True))
    with pytest.raises(InputError, match="it has no signature"):
        make_plan(job)
    sign(registry, "fraud", 1, read_private_key(tmp_path / "k"))
    assert make_plan(job).manifest == registry.manifest("fraud", 1)
    assert all(check.passed for check in checks(registry, "fraud", 1, trust_of(job)))


def test_a_store_that_fails_is_no_traceback(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    write(registry)
    monkeypatch.setattr(MemoryStore, "_open", full)
    with pytest.raises(WorkError, match=r"memory://.* cannot be written: No space left on device"):
        write(registry)
    with pytest.raises(InputError, match="nope://models cannot be opened"):
        Registry("nope://models")
