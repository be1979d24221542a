"""Who can write the registry, and would have drift pass unseen: the monitor trusts as workers do."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flink_jobs.registry import Registry
from flink_jobs.registry.sign import sign
from tests.helpers.registered import write
from udfs.drift.monitor import Monitor, MonitorState
from udfs.drift.params import MonitorParams
from udfs.errors import ModelError
from udfs.model.manifest import digest
from udfs.model.signatures import Trust
from udfs.profile.counts import WindowCounts
from udfs.profile.profile import encode_profile, reference_profile

ALICE = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
TRUST = Trust((base64.b64encode(ALICE.public_key().public_bytes_raw()).decode(),), signed=True)


def profile(mean: float) -> dict[str, object]:
    rows = pa.table({"a": np.random.default_rng(1).normal(mean, size=500)})
    return dict(reference_profile(rows))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    found = Registry(tmp_path / "models")
    for _ in range(2):
        sign(found, "fraud", write(found, profile=profile(0.0)).version, ALICE)
    return found


def params(registry: Registry, trust: Trust = TRUST) -> MonitorParams:
    known = {1: digest(registry.manifest("fraud", 1))}
    folder = registry.model_location("fraud")
    versions = {1: registry.location("fraud", 1)}
    return MonitorParams(
        "j", "fraud", versions, 60_000, {"a": "input"}, (), model_folder=folder, trust=trust, digests=known
    )


def drifted(registry: Registry, version: int) -> None:
    """The reference becomes what the data have become."""
    path = registry.folder("fraud", version) / "profile.json"
    path.chmod(0o644)
    path.write_bytes(encode_profile(profile(5.0)))


@pytest.mark.parametrize("trust", [TRUST, Trust()])
def test_a_changed_reference_is_none(registry: Registry, trust: Trust) -> None:
    asked = params(registry, trust)
    Monitor(asked)
    drifted(registry, 1)
    with pytest.raises(ModelError, match=r"profile.json was changed: its SHA-256 must be"):
        Monitor(asked)


def test_a_reference_that_was_released_later_is_checked_as_well(registry: Registry) -> None:
    drifted(registry, 2)
    monitor = Monitor(params(registry))
    with structlog.testing.capture_logs() as told:
        monitor.close(0, {(None, None, 2): WindowCounts()}, MonitorState(), closed="watermark", now_ms=None)
    assert [(each["event"], each["version"]) for each in told] == [("no_reference", 2)]
    assert "profile.json was changed" in told[0]["error"]


def test_a_reference_that_nobody_signed_is_none(registry: Registry) -> None:
    (signature,) = (registry.folder("fraud", 1) / "signatures").iterdir()
    signature.unlink()
    with pytest.raises(ModelError, match="must be signed by a trusted key"):
        Monitor(params(registry))
    Monitor(msgspec.structs.replace(params(registry), trust=Trust()))
