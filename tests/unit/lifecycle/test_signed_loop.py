"""A loop with a key, where two releasers must agree: it waits for the other one."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases, Signing
from tests.helpers import loop
from udfs.releases.chain import ReleaseTrust

LOOP, ADA = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
TRUST = ReleaseTrust(
    tuple(base64.b64encode(key.public_key().public_bytes_raw()).decode() for key in (LOOP, ADA)), True, 2
)


def steps(root: Path, day: int) -> list[str]:
    found = loop.loop(root, day, Signing(LOOP), TRUST).advance(lambda: loop.START + day * loop.DAY_MS)
    return [f"{each.step.kind} {each.step.reason}" for each in found]


def approve(root: Path, day: int) -> None:
    now = loop.START + day * loop.DAY_MS
    Releases(Registry(root), "cards", lambda: now, signing=Signing(ADA), trust=TRUST).approve(
        None, Activation()
    )


def test_what_wants_a_second_word_waits_for_it(tmp_path: Path) -> None:
    loop.begin(tmp_path, Signing(LOOP))
    with pytest.raises(InputError, match="no release is in force"):
        steps(tmp_path, 0)
    approve(tmp_path, 0)
    assert [step.split()[0] for step in steps(tmp_path, 1)] == ["train", "fit", "shadow", "wait"]
    assert [step.split()[0] for step in steps(tmp_path, 3)] == ["wait"]
    assert steps(tmp_path, 4) == [
        "canary as shadow, it passed the gate after 2 windows",
        "wait release 5 waits for approval",
    ]
    for day in (5, 9):
        assert steps(tmp_path, day) == ["wait release 5 waits for approval"]
    approve(tmp_path, 9)
    assert steps(tmp_path, 10) == ["wait version 2 as canary: 0 of 2 windows"]
    assert steps(tmp_path, 12)[0] == "promote as canary, it passed the gate after 2 windows"
    releases = Releases(Registry(tmp_path), "cards", trust=TRUST)
    assert releases.log().last.champion == 1  # type: ignore[union-attr]
    approve(tmp_path, 12)
    assert releases.log().last.champion == 2  # type: ignore[union-attr]
    assert releases.chain().problem is None


def test_without_its_key_nothing_is_written(tmp_path: Path) -> None:
    loop.begin(tmp_path, Signing(LOOP))
    approve(tmp_path, 0)
    before = loop.written(tmp_path)
    with pytest.raises(InputError, match="its releases are signed; give the key of a releaser"):
        loop.loop(tmp_path, 1, None, TRUST).advance(lambda: loop.START + loop.DAY_MS)
    assert loop.written(tmp_path) == before
