"""Who can write the registry, but has no key: copies and links of true, signed versions."""

from __future__ import annotations

import base64
import json
import shutil
import uuid
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError, TailraceError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import make_plan
from flink_jobs.registry import Registry
from flink_jobs.registry.sign import sign
from tests.helpers.memory_store import MemoryStore
from tests.helpers.registered import write
from udfs.errors import ModelError
from udfs.model.loading import load_version
from udfs.model.signatures import Trust

ALICE = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
KEY = base64.b64encode(ALICE.public_key().public_bytes_raw()).decode()
TRUST = Trust(keys=(KEY,), signed=True)
JOB = """
job: frauds
source: {topic: t, schema: {a: {type: double}}}
model: {name: fraud, registry: models, use: latest, require_signature: true, trusted_keys: [%s]}
"""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    found = Registry(tmp_path / "models")
    for name in ("fraud", "fraud", "churn"):
        sign(found, name, write(found, name).version, ALICE)
    return found


def copied(registry: Registry, source: str, target: str) -> str:
    shutil.copytree(Path(registry.root) / source, Path(registry.root) / target)
    return str(Path(registry.root) / target)


@pytest.mark.parametrize("source", ["fraud/versions/1", "churn/versions/1"])
def test_a_signed_version_is_worth_nothing_in_another_place(registry: Registry, source: str) -> None:
    place = copied(registry, source, "fraud/versions/3")
    with pytest.raises(ModelError, match=r"must hold fraud version 3; its manifest says (fraud|churn) ver"):
        load_version(place, trust=TRUST)
    with pytest.raises(InputError, match="must hold fraud version 3"):
        make_plan(load_job_text(JOB % KEY, "job.yaml", Path(registry.root).parent, {}))
    done = CliRunner().invoke(app, ["models", "verify", "fraud", "3", "--registry", str(registry.root)])
    assert isinstance(done.exception, InputError)


def test_a_place_of_an_object_store_binds_as_well() -> None:
    root = f"memory://{uuid.uuid4().hex}/models"
    found = Registry(root)
    found.store._store._settle = 0.1  # type: ignore[attr-defined]
    write(found, "fraud")
    bucket = f"/{root.removeprefix('memory://')}/fraud/versions"
    MemoryStore().copy(f"{bucket}/1", f"{bucket}/2", recursive=True)
    with pytest.raises(ModelError, match="must hold fraud version 2; its manifest says fraud version 1"):
        load_version(f"{root}/fraud/versions/2")


def test_a_version_is_read_where_nothing_is_promised_of_the_place(registry: Registry, tmp_path: Path) -> None:
    shutil.copytree(Path(registry.root) / "fraud/versions/1", tmp_path / "download")
    assert load_version(tmp_path / "download", trust=TRUST).manifest.version == 1


def test_the_registry_itself_may_be_a_link(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(registry.root)
    assert Registry(tmp_path / "link").manifest("fraud", 2).version == 2
    assert load_version(tmp_path / "link/fraud/versions/2", trust=TRUST).manifest.version == 2


@pytest.mark.parametrize("level", ["fraud", "fraud/versions", "fraud/versions/2"])
def test_links_out_of_the_registry_are_refused(registry: Registry, tmp_path: Path, level: str) -> None:
    inside, outside = Path(registry.root) / level, tmp_path / "outside" / level
    outside.parent.mkdir(parents=True)
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(ModelError, match=r"must be a folder of its registry; it is a link to .*/outside/"):
        load_version(Path(registry.root) / "fraud/versions/2", trust=TRUST)
    with pytest.raises(TailraceError, match=r"it is a link to .*/outside/"):
        registry.manifest("fraud", 2)


def test_releases_are_not_read_from_elsewhere(registry: Registry, tmp_path: Path) -> None:
    registry.promote("fraud", 1)
    inside, outside = Path(registry.root) / "fraud/releases", tmp_path / "outside"
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(TailraceError, match="it is a link to"):
        registry.resolve("fraud", "champion")


def test_one_bad_folder_does_not_hide_the_others(registry: Registry, tmp_path: Path) -> None:
    copied(registry, "churn/versions/1", "fraud/versions/3")
    copied(registry, "churn/versions/1", "fraud/versions/4")
    manifest = Path(registry.root) / "fraud/versions/4/manifest.json"
    manifest.chmod(0o644)
    manifest.write_text("{")
    (Path(registry.root) / "evil").symlink_to(tmp_path)
    words = ["models", "list", "--registry", str(registry.root)]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    rows = {(row["name"], row["version"]): row["problem"] for row in json.loads(done.stdout)}
    good = {("churn", 1), ("fraud", 1), ("fraud", 2)}
    assert {row for row, problem in rows.items() if problem is None} == good
    assert "its manifest says churn version 1" in rows["fraud", 3]
    assert "must be a tailrace.model/1 manifest" in rows["fraud", 4]
    assert "it is a link to" in rows["evil", None]
    shown = CliRunner().invoke(app, words, env={"COLUMNS": "200"}).stdout
    assert "fraud version 3 is bad: " in shown
    assert shown.index("churn") < shown.index("evil is bad: ")
