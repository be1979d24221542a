"""Who can write the bucket, but has no releaser's key: TUF's attacks on a log of releases.

Arbitrary, rollback, freeze, mix-and-match and wrong-key attacks, and one releaser alone where two must agree.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flink_jobs.errors import InputError, JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import make_plan
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases, Signing
from flink_jobs.registry.sign import sign
from tests.helpers.registered import write
from udfs.errors import ModelError
from udfs.releases.chain import Head, ReleaseTrust, signed_message
from udfs.releases.files import read_entries
from udfs.releases.log import BEGINNING, ReleaseLog, decode_release, encode_release
from udfs.releases.trusted import NOTES, TrustedLog, note_path

ALICE, BOB, MALLORY = (Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32) for i in (1, 2, 3))
NOW = 1_767_225_600_000
DAY = 86_400_000


def public(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


TRUST = ReleaseTrust(keys=(public(ALICE), public(BOB)), signed=True)
FOUR_EYES = ReleaseTrust(keys=TRUST.keys, signed=True, approvals=2)


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine's memory."""
    monkeypatch.setenv(NOTES, str(tmp_path / "notes"))
    return tmp_path / "notes"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Versions 1 to 3 of two models; 1, 2 and 1 again were champions, as Alice said."""
    found = Registry(tmp_path / "models")
    for name in ("fraud", "churn"):
        for _ in range(3):
            write(found, name)
        for version in (1, 2, 1):
            releaser(found, ALICE, name).promote(version, now())
    return found


def now() -> Activation:
    return Activation(lead_ms=0, reason="better", by="alice")


def releaser(
    registry: Registry,
    key: Ed25519PrivateKey | None,
    name: str = "fraud",
    *,
    at: int = NOW,
    trust: ReleaseTrust = TRUST,
    adopt: bool = False,
) -> Releases:
    signing = Signing(key, adopt) if key else None
    return Releases(registry, name, lambda: at, signing=signing, trust=trust)


def files(registry: Registry, name: str = "fraud") -> Path:
    return Path(registry.root) / name / "releases"


def worker(registry: Registry, trust: ReleaseTrust = TRUST) -> TrustedLog:
    return TrustedLog(registry.model_location("fraud"), "fraud", trust, lambda: NOW / 1000)


def champion(log: ReleaseLog, at: int = NOW) -> int:
    return log.state(log.place_at(at)).champion


def overwrite(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def edited(registry: Registry, number: int, **changes: Any) -> None:
    path = files(registry) / f"{number:08}.json"
    overwrite(path, json.dumps(json.loads(path.read_bytes()) | changes).encode())


def appended(registry: Registry, signer: Ed25519PrivateKey | None, /, **changes: Any) -> None:
    """An entry at the end by whoever has the key, with whatever it says."""
    entries = read_entries(Path(registry.root) / "fraud")
    last = decode_release(entries[-1].data or b"", len(entries))
    head = ""
    for entry in entries:
        head = hashlib.sha256(head.encode() + b"\n" + (entry.data or b"")).hexdigest()
    made = msgspec.structs.replace(last, number=len(entries) + 1, previous=head, champion=3, **changes)
    if signer:
        made = msgspec.structs.replace(made, key=public(signer))
        made = msgspec.structs.replace(
            made, signature=base64.b64encode(signer.sign(signed_message(made))).decode()
        )
    (files(registry) / f"{made.number:08}.json").write_bytes(encode_release(made))


def swapped(registry: Registry) -> None:
    second, third = (files(registry) / f"{n:08}.json" for n in (2, 3))
    data = second.read_bytes()
    overwrite(second, third.read_bytes())
    overwrite(third, data)


def renumbered(registry: Registry) -> None:
    """The old entry 2, which made version 2 champion, once more at the end."""
    data = json.loads((files(registry) / "00000002.json").read_bytes()) | {"number": 4}
    (files(registry) / "00000004.json").write_text(json.dumps(data))


def other_log(registry: Registry) -> None:
    shutil.rmtree(files(registry))
    shutil.copytree(files(registry, "churn"), files(registry))


FORGERIES: dict[str, tuple[Callable[[Registry], Any], str, int]] = {
    "champion changed": (lambda r: edited(r, 3, champion=3), "signature by [0-9a-f]{16} is not one of it", 2),
    "moment changed": (lambda r: edited(r, 2, at="2030-01-01T00:00:00Z"), "release 2: the signature", 1),
    "who changed": (lambda r: edited(r, 1, by="bob"), "release 1: the signature", 0),
    "signature dropped": (
        lambda r: edited(r, 3, signature=base64.b64encode(bytes(64)).decode()),
        "release 3: the signature",
        2,
    ),
    "another key named": (lambda r: edited(r, 3, key=public(BOB)), "release 3: the signature", 2),
    "reordered": (swapped, "release 2 must say its number", 1),
    "replayed at the end": (renumbered, "release 4: the signature", 3),
    "left out": (lambda r: (files(r) / "00000002.json").unlink(), "release 2 is missing", 1),
    "not JSON": (lambda r: overwrite(files(r) / "00000003.json", b"{"), "must be a tailrace.release", 2),
    "of another model": (other_log, "release 1 is one of model churn", 0),
    "appended without a key": (
        lambda r: appended(r, None, key=msgspec.UNSET, signature=msgspec.UNSET),
        "release 4 is not signed",
        3,
    ),
    "appended with a key of nobody": (lambda r: appended(r, MALLORY), "none of", 3),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_log_is_followed_no_farther_than_it_is_true(name: str, registry: Registry) -> None:
    forge, message, kept = FORGERIES[name]
    assert len(worker(registry)().records) == 3
    note_path(registry.model_location("fraud")).unlink()
    forge(registry)
    if kept:
        with structlog.testing.capture_logs() as told:
            assert len(worker(registry)().records) == kept
        assert [each["event"] for each in told] == ["release_log_refused"]
        problem = told[0]["problem"]
    else:
        with pytest.raises(ModelError) as failure:
            worker(registry)()
        problem = str(failure.value)
    assert re.search(message, problem), problem
    with pytest.raises(InputError, match="tailrace audit fraud shows the log"):
        releaser(registry, ALICE).promote(1, now())


@pytest.mark.parametrize("name", FORGERIES)
def test_a_running_worker_goes_on_with_what_it_knows(name: str, registry: Registry) -> None:
    read = worker(registry)
    before = read()
    FORGERIES[name][0](registry)
    assert read().records == before.records
    assert champion(read()) == 1
    assert [kept for _, kept in read.take_refusals()] == [3]
    assert read.take_refusals() == []


def cut(registry: Registry) -> None:
    (files(registry) / "00000003.json").unlink()


def test_a_log_that_was_cut_off_is_told_by_whoever_saw_its_end(registry: Registry, notes: Path) -> None:
    """Rollback: version 2 would be champion again."""
    read = worker(registry)
    assert len(read().records) == 3
    head = read.head
    cut(registry)
    assert champion(read()) == 1, "the process remembers"
    with pytest.raises(ModelError, match=r"release 3 was there, and the log ends with 2 now; .*this machine"):
        worker(registry)()
    shutil.rmtree(notes)
    with pytest.raises(ModelError, match=r"release 3 was there, .*the plan of this job"):
        worker(registry, msgspec.structs.replace(TRUST, pinned=head))()
    assert champion(worker(registry)()) == 2, "a machine that has never seen it cannot know"


def test_a_log_written_anew_is_another_one(registry: Registry) -> None:
    """By a releaser's own key, even: history stays what it was."""
    worker(registry)()
    shutil.rmtree(files(registry))
    for version in (2, 2, 2, 2):
        releaser(registry, ALICE).promote(version, now())
    with pytest.raises(ModelError, match="release 3 was another one before"):
        worker(registry)()


def test_an_old_log_is_refused_by_who_asks_for_a_fresh_one(registry: Registry) -> None:
    """Freeze: nobody who begins now has seen more."""
    fresh = msgspec.structs.replace(TRUST, max_age_ms=7 * DAY)
    assert champion(worker(registry, fresh)()) == 1
    late = TrustedLog(registry.model_location("fraud"), "fraud", fresh, lambda: (NOW + 8 * DAY) / 1000)
    with pytest.raises(ModelError, match=r"must have a release of the last 7 days.*release confirm"):
        late()
    releaser(registry, BOB, at=NOW + 8 * DAY).confirm(now())
    log = late()
    assert (log.last.action, champion(log, NOW + 9 * DAY)) == ("confirm", 1)


def test_the_chain_and_its_signatures_are_plain_to_other_tools(registry: Registry) -> None:
    """Checked with hashlib, json and cryptography alone, from the files."""
    head = ""
    for path in sorted(files(registry).iterdir()):
        record = json.loads(path.read_bytes())
        assert record["previous"] == head
        assert (record["schema"], record["model"]) == ("tailrace.release/3", "fraud")
        signature = base64.b64decode(record.pop("signature"))
        message = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        ALICE.public_key().verify(signature, message)
        head = hashlib.sha256(head.encode() + b"\n" + path.read_bytes()).hexdigest()
    read = worker(registry)
    read()
    assert read.head == Head(3, head)


def test_a_signed_log_takes_no_release_without_a_key(registry: Registry) -> None:
    with pytest.raises(
        InputError, match=r"its releases are signed; give the key of a releaser \(--sign-with"
    ):
        releaser(registry, None).promote(2, now())


@pytest.fixture
def unsigned(tmp_path: Path) -> Registry:
    found = Registry(tmp_path / "old")
    for _ in range(3):
        write(found)
    for version in (1, 2):
        Releases(found, "fraud", lambda: NOW).promote(version, now())
    return found


def test_earlier_releases_need_somebody_who_vouches_for_them(unsigned: Registry) -> None:
    with pytest.raises(ModelError, match="must hold signed releases: release 1 is not signed"):
        worker(unsigned)()
    with pytest.raises(InputError, match=r"releases 1 to 2 are not signed; .*--adopt"):
        releaser(unsigned, ALICE).promote(1, now())
    releaser(unsigned, ALICE, adopt=True).promote(1, now())
    assert [record.number for record in worker(unsigned)().records] == [1, 2, 3]
    edited(unsigned, 2, champion=3)
    with pytest.raises(ModelError, match="release 3 does not follow on the one before it"):
        worker(unsigned)()


def test_one_releaser_alone_vouches_for_nothing_where_two_must(unsigned: Registry) -> None:
    """Whoever writes the bucket and one releaser together: an unsigned log, and a word on top of it."""
    releaser(unsigned, ALICE, trust=FOUR_EYES, adopt=True).confirm(now())
    with pytest.raises(ModelError, match="no release is in force"):
        worker(unsigned, FOUR_EYES)()
    releaser(unsigned, BOB, trust=FOUR_EYES).approve(None, now())
    log = worker(unsigned, FOUR_EYES)()
    assert [champion(log, at) for at in (0, NOW + DAY)] == [1, 2], "as history was"


@pytest.fixture
def two(tmp_path: Path) -> Registry:
    """Version 1 is champion by two signatures."""
    found = Registry(tmp_path / "two")
    for _ in range(3):
        write(found)
    first = Activation(BEGINNING, past=True)
    releaser(found, ALICE, trust=FOUR_EYES).promote(1, first)
    with pytest.raises(ModelError, match="no release is in force: 1 must be approved first"):
        worker(found, FOUR_EYES)()
    releaser(found, BOB, trust=FOUR_EYES).approve(None, first)
    assert champion(worker(found, FOUR_EYES)(), 0) == 1
    return found


def test_a_promotion_waits_for_the_second_releaser(two: Registry) -> None:
    alone = releaser(two, ALICE, trust=FOUR_EYES)
    alone.promote(2, now())
    log = worker(two, FOUR_EYES)()
    assert (champion(log), log.waiting) == (1, {1, 3})
    with pytest.raises(InputError, match="release 3 has been signed with this key; another must approve"):
        alone.approve(3, now())
    made = releaser(two, BOB, at=NOW + 5000, trust=FOUR_EYES).approve(None, now())
    log = worker(two, FOUR_EYES)()
    assert made.at_ms == NOW + 5000, "from the approval on, not from a moment that has passed"
    assert (champion(log, NOW + 4999), champion(log, NOW + 5000)) == (1, 2)
    assert champion(worker(two)(), NOW) == 2, "a job that asks for one signature takes the first"


@pytest.mark.parametrize(
    "act",
    [
        lambda r: r.promote(2, now()),
        lambda r: r.canary(2, 1.0, "a", now()),
        lambda r: r.rollback(now(), 2),
        lambda r: r.withdraw(1, now(), 2),
    ],
    ids=["promote", "canary of all", "rollback to a new one", "withdraw to a new one"],
)
def test_one_releaser_alone_puts_no_other_version_in(two: Registry, act: Callable[[Releases], Any]) -> None:
    act(releaser(two, ALICE, trust=FOUR_EYES))
    try:
        log = worker(two, FOUR_EYES)()
        state = log.state(log.place_at(NOW + DAY))
    except ModelError as error:
        assert "has no version to score with: not 1" in str(error)  # noqa: PT017  # an emergency stop holds
        return
    assert (state.champion, state.canary) == (1, None)


def test_one_releaser_alone_goes_back_and_stops(two: Registry) -> None:
    releaser(two, ALICE, trust=FOUR_EYES).promote(2, now())
    releaser(two, BOB, trust=FOUR_EYES).approve(None, now())
    releaser(two, BOB, trust=FOUR_EYES).rollback(now())
    assert champion(worker(two, FOUR_EYES)()) == 1
    releaser(two, ALICE, trust=FOUR_EYES).withdraw(2, now())
    assert worker(two, FOUR_EYES)().withdrawn == {2}


def test_an_approval_is_of_what_was_approved(two: Registry) -> None:
    releaser(two, ALICE, trust=FOUR_EYES).promote(2, now())
    appended(two, BOB, model="fraud", action="approve", approves=3)
    assert champion(worker(two, FOUR_EYES)()) == 1, "Bob's approval names version 3, Alice's release 2"


def test_an_approval_comes_too_late_when_another_release_is_in_force(two: Registry) -> None:
    releaser(two, ALICE, trust=FOUR_EYES).promote(2, now())
    releaser(two, ALICE, trust=FOUR_EYES).shadow((3,), now())
    releaser(two, BOB, trust=FOUR_EYES).approve(3, now())
    assert champion(worker(two, FOUR_EYES)()) == 1


JOB = """
job: frauds
source: {topic: t, schema: {a: {type: double}}}
model:
  name: fraud
  registry: models
  require_signature: true
  trusted_keys: [%s]
"""


def test_a_plan_remembers_the_log_and_tells_makers_from_releasers(registry: Registry, tmp_path: Path) -> None:
    makers = JOB % public(BOB) + f"  trusted_releasers: ['{public(ALICE)}']\n"
    sign(registry, "fraud", 1, BOB)
    plan = make_plan(load_job_text(makers, "job.yaml", tmp_path, {}))
    assert (plan.release.version, plan.release.number) == (1, 3)
    assert plan.release.head == Head(3, plan.release.head.sha256 if plan.release.head else "")
    appended(registry, BOB)
    with pytest.raises(InputError, match="none of"):
        Releases(registry, "fraud", trust=ReleaseTrust((public(ALICE),), signed=True)).log()
    assert make_plan(load_job_text(makers, "job.yaml", tmp_path, {})).release.version == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("  approvals: 2\n", "model.approvals: must be at most 1, as so many releasers are trusted; got 2"),
        ("  approvals: 0\n", "model.approvals: must be "),
        ("  max_release_age: soon\n", "model.max_release_age: must be"),
        ("comparisons: {automatic: {}}\n", "comparisons.automatic: must be left out with model.require_sig"),
    ],
)
def test_demands_that_cannot_be_met(registry: Registry, tmp_path: Path, more: str, message: str) -> None:
    sign(registry, "fraud", 1, ALICE)
    with pytest.raises(JobFileError, match=message):
        make_plan(load_job_text(JOB % public(ALICE) + more, "job.yaml", tmp_path, {}))


def test_demands_need_signatures(tmp_path: Path) -> None:
    text = JOB.replace("  require_signature: true\n  trusted_keys: [%s]\n", "  approvals: 2\n")
    with pytest.raises(JobFileError, match="require_signature: must be true, as approvals is given"):
        load_job_text(text, "job.yaml", tmp_path, {})
