"""Signed versions, and jobs that refuse pickles: nothing is loaded that the job does not trust."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from flink_jobs.errors import InputError, JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import make_plan
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases, Signing
from flink_jobs.registry.sign import generate_key, read_private_key, sign
from flink_jobs.spec.public_keys import parse_public_key
from tests.helpers.bomb import Bomb
from tests.helpers.samples import write_model
from udfs.errors import ModelError
from udfs.model import signatures
from udfs.model.loading import load_version
from udfs.model.manifest import digest
from udfs.model.signatures import Trust
from udfs.releases.log import BEGINNING

ALICE, MALLORY = (Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32) for i in (1, 2))


def public(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


TRUSTED = Trust(keys=(public(ALICE),), signed=True)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    write_model(tmp_path / "models", "sums", "first", "second")
    return Registry(tmp_path / "models")


def record(registry: Registry) -> Path:
    (found,) = (registry.folder("sums", 1) / "signatures").iterdir()
    found.chmod(0o644)
    return found


def edit(registry: Registry, **changes: str) -> None:
    path = record(registry)
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def another_digest(registry: Registry) -> None:
    """The signature of one version beside another."""
    write_model(Path(registry.root), "sums", "first", "second")
    sign(registry, "sums", 2, ALICE)
    (other,) = (registry.folder("sums", 2) / "signatures").iterdir()
    record(registry).write_bytes(other.read_bytes())


def resigned(registry: Registry) -> None:
    """Mallory's signature under Alice's key."""
    found = digest(registry.manifest("sums", 1))
    text = signatures.message(found, public(ALICE), "2026-01-01T00:00:00Z")
    signature = base64.b64encode(MALLORY.sign(text)).decode()
    edit(registry, signature=signature, signed_at="2026-01-01T00:00:00Z")


FORGERIES: dict[str, tuple[Callable[[Registry], Any], str]] = {
    "missing": (lambda r: record(r).unlink(), r"must be signed by a trusted key \([0-9a-f]{16}\); it has no"),
    "of another version": (another_digest, "is not one of its digest sha256:"),
    "of another signer": (resigned, "is not one of its digest"),
    "date changed": (lambda r: edit(r, signed_at="2030-01-01T00:00:00Z"), "is not one of its digest"),
    "no base64": (lambda r: edit(r, signature="?"), "is not one of its digest"),
    "untrusted": (
        lambda r: edit(r, key=public(MALLORY)),
        r"must be signed by a trusted key \(.*\); it is signed",
    ),
    "no key": (lambda r: edit(r, key="?"), "it is signed by '[?]'"),
    "not JSON": (lambda r: record(r).write_bytes(b"{"), "must be a tailrace.signature/1 record"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_version_without_a_true_signature_is_refused(name: str, registry: Registry) -> None:
    forge, message = FORGERIES[name]
    sign(registry, "sums", 1, ALICE)
    assert load_version(registry.folder("sums", 1), trust=TRUSTED).manifest.version == 1
    forge(registry)
    with pytest.raises(ModelError, match=message):
        load_version(registry.folder("sums", 1), trust=TRUSTED)
    load_version(registry.folder("sums", 1))


def test_several_may_sign_and_one_trusted_is_enough(registry: Registry) -> None:
    sign(registry, "sums", 1, MALLORY)
    with pytest.raises(ModelError, match="must be signed by a trusted key"):
        load_version(registry.folder("sums", 1), trust=TRUSTED)
    sign(registry, "sums", 1, ALICE)
    load_version(registry.folder("sums", 1), trust=TRUSTED)
    with pytest.raises(InputError, match="has been signed with this key"):
        sign(registry, "sums", 1, ALICE)


def test_a_signature_does_not_change_the_digest(registry: Registry) -> None:
    before = digest(registry.manifest("sums", 1))
    sign(registry, "sums", 1, ALICE)
    assert load_version(registry.folder("sums", 1)).digest == before


def explosive(registry: Registry, exploded: Path) -> Path:
    """A version whose model runs code when it is unpickled, and whose manifest agrees with it."""
    import hashlib
    import pickle

    folder = registry.folder("sums", 1)
    bomb = pickle.dumps(Bomb(exploded))
    for name in ("model.joblib", "manifest.json"):
        (folder / name).chmod(0o644)
    (folder / "model.joblib").write_bytes(bomb)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["model.joblib"] = hashlib.sha256(bomb).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    ("demand", "message"),
    [
        ({"trust": TRUSTED}, "is not one of its digest"),
        ({"trust": Trust(pickles=False)}, "must be of a format without pickles, .*; got joblib"),
        ({"digest": "sha256:00"}, "must have the digest sha256:00"),
    ],
)
def test_nothing_is_unpickled_that_is_not_trusted(
    demand: dict[str, Any], message: str, registry: Registry, tmp_path: Path
) -> None:
    sign(registry, "sums", 1, ALICE)
    folder = explosive(registry, tmp_path / "exploded")
    with pytest.raises(ModelError, match=message):
        load_version(folder, **demand)
    assert not (tmp_path / "exploded").exists()
    with pytest.raises(ModelError):
        load_version(folder)
    assert (tmp_path / "exploded").exists(), "the bomb is a dud: this test would prove nothing"


JOB = """
job: sums
source: {topic: t, schema: {first: {type: double, required: true}, second: {type: double, required: true}}}
model: {name: sums, registry: models%s}
"""


def job(tmp_path: Path, more: str = "") -> Any:
    return load_job_text(JOB % more, "job.yaml", tmp_path, {})


def test_a_job_says_what_it_trusts(registry: Registry, tmp_path: Path) -> None:
    generate_key(tmp_path / "alice")
    key = parse_public_key(str(tmp_path / "alice.pub"))
    signed = job(tmp_path, ", require_signature: true, trusted_keys: [alice.pub], pickle: allow")
    assert signed.model.trusted_keys == (key,)
    with pytest.raises(InputError, match="release 1 is not signed"):
        make_plan(signed)
    signing = Signing(read_private_key(tmp_path / "alice"), adopt=True)
    Releases(registry, "sums", signing=signing).promote(1, Activation(BEGINNING, past=True))
    with pytest.raises(InputError, match="it has no signature"):
        make_plan(signed)
    sign(registry, "sums", 1, read_private_key(tmp_path / "alice"))
    assert make_plan(signed).release.version == 1
    with pytest.raises(InputError, match="must be of a format without pickles"):
        make_plan(job(tmp_path, ", pickle: refuse"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (", require_signature: true", "model.trusted_keys: must be given, as require_signature needs them"),
        (f", trusted_keys: [{public(ALICE)}]", "model.require_signature: must be true, as trusted_keys are"),
        (
            ", require_signature: true, trusted_keys: [nowhere.pub]",
            r"nowhere.pub \(No such file or directory\)",
        ),
        (
            ", require_signature: true, trusted_keys: [alice]",
            "got a private key, which must stay with the signer",
        ),
        (", require_signature: true, trusted_keys: [job.yaml]", "got text that is no public key in PEM"),
        (", pickle: refused", "did you mean 'refuse'"),
    ],
)
def test_keys_that_make_no_sense_are_mistakes_of_the_job_file(
    more: str, message: str, tmp_path: Path
) -> None:
    generate_key(tmp_path / "alice")
    (tmp_path / "job.yaml").touch()
    with pytest.raises(JobFileError, match=message):
        job(tmp_path, more)


def test_public_keys_in_all_their_forms(tmp_path: Path) -> None:
    pem = ALICE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "a.pem").write_bytes(pem)
    (tmp_path / "a.txt").write_text(public(ALICE) + "\n")
    for given in (public(ALICE), pem.decode(), "a.pem", "a.txt"):
        assert parse_public_key(given, str(tmp_path)) == public(ALICE)


def test_a_private_key_is_for_its_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    generate_key(tmp_path / "k")
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    assert public(read_private_key(tmp_path / "k")) == parse_public_key(str(tmp_path / "k.pub"))
    with pytest.raises(InputError, match="k is there already"):
        generate_key(tmp_path / "k")
    with pytest.raises(InputError, match="must be an Ed25519 private key in PEM"):
        read_private_key(tmp_path / "k.pub")
