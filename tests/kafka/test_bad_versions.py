"""Versions that must not be used, and are released all the same: the old one goes on, with an alert.

The log is written as by someone who does not use the command, which would refuse them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sklearn.linear_model import LogisticRegression

from flink_jobs.registry import Registry
from flink_jobs.registry.sign import sign
from flink_jobs.testing import Broker, JobHarness, Outcome, Results, record
from tests.helpers import models
from udfs.releases.chain import signed_message
from udfs.releases.log import Canary, ReleaseRecord, encode_release
from udfs.times import iso

START = 1_767_268_800_000
MINUTE = 60_000
A_MINUTE = 40
ALICE, MALLORY = (Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32) for i in (1, 2))
VALUES = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
JOB = """
job: careful
source:
  topic: payments
  event_time: {field: at, unit: ms, out_of_order: 1h}
  schema:
    amount: {type: double, required: true}
    at: {type: long, required: true}
model:
  name: fraud
  registry: REGISTRY
  refresh: 1s
  require_signature: true
  trusted_keys: [KEY]
predictions: {include: [amount]}
comparisons: {window: 1m}
runtime: {parallelism: 2, checkpoint: {interval: 1s}}
"""


def public(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def agreed(folder: Path, name: str, data: bytes, **more: Any) -> None:
    """Other content, with a manifest that agrees, as by someone who edits a version."""
    overwrite(folder / name, data)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][name] = hashlib.sha256(data).hexdigest()
    overwrite(folder / "manifest.json", json.dumps(manifest | more).encode())


def half_written(folder: Path) -> None:
    """As a copy that was cut off leaves it."""
    (folder / "manifest.json").unlink()
    overwrite(folder / "model.joblib", (folder / "model.joblib").read_bytes()[:100])


def other_golden_rows(folder: Path) -> None:
    table = pq.read_table(folder / "golden.parquet")
    place = table.column_names.index("expected.score")
    buffer = io.BytesIO()
    moved = pa.array(table["expected.score"].to_numpy() + 0.001)
    pq.write_table(table.set_column(place, "expected.score", moved), buffer)
    agreed(folder, "golden.parquet", buffer.getvalue(), libraries={"scikit-learn": "0.20.0"})


def signature_of_another(folder: Path) -> None:
    (mine,) = (folder / "signatures").iterdir()
    (other,) = (folder.parent / "1" / "signatures").iterdir()
    overwrite(mine, other.read_bytes())


UNKNOWN = b"cnowhere.models\nModel\n."


@dataclass(frozen=True)
class Case:
    """How a version goes wrong, before it is signed and after; `said` is what its alert must say."""

    said: str
    before: Callable[[Path], Any] = lambda _: None
    after: Callable[[Path], Any] = lambda _: None
    signer: Ed25519PrivateKey | None = ALICE
    pinned: str | None = None
    canary: bool = False
    column: str = "amount"


CASES = {
    "corrupt file": Case(
        r"model.joblib was changed: its SHA-256 must be \w{64}; got \w{64}",
        after=lambda f: overwrite(f / "model.joblib", b"corrupt"),
    ),
    "corrupt file in a canary": Case(
        r"golden.parquet was changed: its SHA-256 must be",
        after=lambda f: overwrite(f / "golden.parquet", b"corrupt"),
        canary=True,
    ),
    "wrong digest": Case(r"must have the digest sha256:00; got sha256:\w{64}", pinned="sha256:00"),
    "no signature": Case(r"must be signed by a trusted key \(\w{16}\); it has no signature", signer=None),
    "another's signature": Case(r"must be signed by a trusted key \(\w{16}\); it is signed", signer=MALLORY),
    "another version's signature": Case(r"is not one of its digest sha256:", after=signature_of_another),
    "half written": Case(r"manifest.json is missing", after=half_written),
    "missing file": Case(
        r"profile.json is missing: the manifest lists it", after=lambda f: (f / "profile.json").unlink()
    ),
    "golden rows disagree, made elsewhere": Case(
        r"score must be .* within 1e-09; got .*9 of 9 rows differ.*made with scikit-learn 0.20.0 \(here 1",
        before=other_golden_rows,
    ),
    "unknown class": Case(
        r"it needs the module nowhere, which is not installed here: install it",
        before=lambda f: agreed(f, "model.joblib", UNKNOWN),
    ),
    "inputs that the job has not": Case(
        r"the job cannot feed [^\n]*\n  age .double.: no column", column="age"
    ),
}
NUMBERS = {name: number for number, name in enumerate(CASES, 2)}
LAST = len(CASES) + 2


def release(root: Path, number: int, **more: Any) -> None:
    """From minute `number` - 1 on, signed by Alice."""
    at = iso(START + (number - 1) * MINUTE)
    folder = root / "fraud" / "releases"
    folder.mkdir(exist_ok=True)
    previous = ""
    for path in sorted(folder.iterdir()):
        previous = hashlib.sha256(previous.encode() + b"\n" + path.read_bytes()).hexdigest()
    found = ReleaseRecord(
        schema="tailrace.release/3",
        number=number,
        written_at=iso(START),
        at=at,
        model="fraud",
        previous=previous,
        key=public(ALICE),
        **more,
    )
    signature = base64.b64encode(ALICE.sign(signed_message(found))).decode()
    found = msgspec.structs.replace(found, signature=signature)
    (folder / f"{number:08}.json").write_bytes(encode_release(found))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 is good, then comes one of each case, and a good one at last; each has a release."""
    folder = tmp_path_factory.mktemp("models")
    registry, targets = Registry(folder), [value > 3 for value in VALUES]
    for number, case in enumerate([Case(""), *CASES.values(), Case("")], 1):
        inputs = pa.table({case.column: VALUES})
        models.register(registry, "fraud", LogisticRegression(), inputs, targets, "binary")
        place = registry.folder("fraud", number)
        case.before(place)
        if case.signer:
            sign(registry, "fraud", number, case.signer)
        case.after(place)
        pinned = {number: case.pinned} if case.pinned else {}
        if case.canary:
            canary = Canary(version=number, share=1.0, key="amount")
            release(folder, number, champion=1, canary=canary, digests=pinned)
        else:
            release(folder, number, champion=number, digests=pinned)
    return folder


@pytest.fixture(scope="module")
def results(broker: Broker, root: Path) -> Results:
    """A job on the registry's URI, on records of a minute for each release."""
    rows = [
        record({"amount": 1.0 + i % 6, "at": START + i * MINUTE // A_MINUTE}, partition=i % 2)
        for i in range(LAST * A_MINUTE)
    ]
    text = JOB.replace("REGISTRY", f"file://{root}").replace("KEY", public(ALICE))
    return JobHarness(broker, partitions=2).run(text, rows)


def minute(row: Outcome) -> int:
    position: int = row.json["offset"] * 2 + row.json["partition"]
    return position // A_MINUTE


def test_the_old_version_goes_on(results: Results) -> None:
    assert results.accounts()["predicted"] == LAST * A_MINUTE
    with_canary = NUMBERS["corrupt file in a canary"]  # the last release but one whose champion is good
    for row in results.predictions:
        number = minute(row) + 1
        since = 1 if number < with_canary else with_canary
        expected = (LAST, LAST) if number == LAST else (1, since)
        assert (row.json["version"], row.json["release"]) == expected


def firing(results: Results, version: int) -> Sequence[dict[str, Any]]:
    alerts = [row.json for row in results.alerts]
    return [a for a in alerts if a["version"] == version and a["state"] == "firing"]


@pytest.mark.parametrize("name", CASES)
def test_an_alert_says_which_and_why(results: Results, name: str) -> None:
    version = NUMBERS[name]
    alerts = firing(results, version)
    assert alerts
    for alert in alerts:
        assert (alert["rule"], alert["severity"]) == ("version-refused", "critical")
        assert alert["message"].startswith(f"version {version}, release {version}: ")
        assert re.search(CASES[name].said, alert["message"])


def test_there_is_no_alert_of_a_good_version(results: Results) -> None:
    assert {row.json["version"] for row in results.alerts} == set(NUMBERS.values())
