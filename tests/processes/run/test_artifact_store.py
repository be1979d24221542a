"""Workers that fetch what they need from a bucket: from another machine, an attacker, a dead client."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from pyarrow import fs

from flink_jobs.errors import JobFileError, WorkError
from flink_jobs.jobfile import load_job
from flink_jobs.plan import Plan, make_plan
from flink_jobs.registry import Registry
from flink_jobs.run.shipped import publish, shipped_folder
from flink_jobs.system.data import PROJECT
from tests.helpers.registered import MODEL, write
from tests.helpers.s3 import bucket_uri, s3_server
from udfs.scoring.params import ScoreParams

JOB = """\
job: shops
source: {topic: shops, schema: {town: string}}
features: {lookups: {towns: {file: towns.csv, by: town, select: {a: {column: people, type: double}}}}}
model: {name: fraud, registry: models, use: 1}
kafka: {brokers: "kafka:9092"}
runtime: {artifacts: "STORE"}
"""
# The joined column, and what the model says of it.
WORKER = """
import os, sys, msgspec, pyarrow as pa
from udfs.features import FeatureBuilder
from udfs.model.loading import load_version
from udfs.scoring.params import ScoreParams
params = msgspec.json.decode(sys.argv[1], type=ScoreParams)
table, problems = FeatureBuilder(params.features).compute(pa.table({"town": ["bonn", "rome", "oslo"]}))
model = load_version(params.model.folder, digest=params.model.digest, trust=params.model.trust).model
print(os.getuid(), os.path.exists("PROJECT/udfs"), os.path.exists("SUBMITTERS/job.yaml"))
print(table["a"].to_pylist(), problems, model.predict(table.select(["a"]).slice(0, 2)).score.tolist())
"""
# A mount namespace in which neither the checkout nor the submitter's folder is, and another user.
MACHINE = """
set -e
mount -t tmpfs machine /mnt
mkdir /mnt/python /mnt/packages /mnt/home
mount --bind "$1" /mnt/python
mount --bind "$2" /mnt/packages
cp -r "$3" /mnt/home/dist
chown -R 65534:65534 /mnt/home
mount -t tmpfs gone "$4"
mount -t tmpfs gone "$5"
cd /mnt/home
exec setpriv --reuid 65534 --regid 65534 --clear-groups env -i HOME=/mnt/home \\
  LD_LIBRARY_PATH=/mnt/python/lib PYTHONPATH=/mnt/home/dist:/mnt/packages \\
  /mnt/python/bin/python3 -S -c "$6" "$7"
"""
CLIENT = """
import sys
from flink_jobs.jobfile import load_job
from flink_jobs.plan import make_plan
from flink_jobs.run.shipped import publish
publish(make_plan(load_job(sys.argv[1], {})))
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with s3_server() as running:
        yield running


@pytest.fixture(params=["s3", "file"])
def store(request: pytest.FixtureRequest, address: str, tmp_path: Path) -> str:
    bucket = f"b{abs(hash(tmp_path)):x}"
    return bucket_uri(address, bucket) if request.param == "s3" else f"file:///var/tmp/{bucket}"


@pytest.fixture
def job(tmp_path: Path, store: str) -> Iterator[Path]:
    """All of it in a folder of the submitter's, the models too."""
    folder = tmp_path / "submitters"
    folder.mkdir()
    write(Registry(folder / "models"))
    (folder / "towns.csv").write_text("town,people\nbonn,0.5\nrome,2.8\n")
    (folder / "job.yaml").write_text(JOB.replace("STORE", store))
    yield folder / "job.yaml"
    if store.startswith("file:"):
        shutil.rmtree(urlsplit(store).path, ignore_errors=True)


def planned(job: Path) -> tuple[Plan, ScoreParams]:
    plan = make_plan(load_job(job, {}))
    [params] = [
        function.params
        for function in plan.views.functions.values()
        if isinstance(function.params, ScoreParams)
    ]
    return plan, params


def elsewhere(job: Path, plan: Plan, params: ScoreParams) -> subprocess.CompletedProcess[str]:
    """A worker with what Flink takes there."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    program = WORKER.replace("PROJECT", str(PROJECT)).replace("SUBMITTERS", str(job.parent))
    places = [sys.base_prefix, os.path.realpath(packages), str(shipped_folder(plan.job))]
    words = [*places, str(PROJECT), str(job.parent), program, msgspec.json.encode(params).decode()]
    command = ["unshare", "--mount", "bash", "-c", MACHINE, "machine", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def files(store: str) -> tuple[fs.FileSystem, dict[str, str]]:
    """The files of the store by their last name, as another client sees them."""
    if store.startswith("file:"):
        system, root = fs.LocalFileSystem(), urlsplit(store).path
    else:
        system, root = fs.FileSystem.from_uri(store)
    selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
    found = [info for info in system.get_file_info(selector) if info.type == fs.FileType.File]
    return system, {info.base_name: info.path for info in found}


def overwrite(store: str, ending: str, content: bytes) -> str:
    system, found = files(store)
    [(name, path)] = [(name, path) for name, path in found.items() if name.endswith(ending)]
    if store.startswith("file:"):
        os.chmod(path, 0o644)
    with system.open_output_stream(path) as stream:
        stream.write(content)
    return name


def test_another_machine_has_all_from_the_store(job: Path) -> None:
    """Another user, without the checkout, the submitter's folder, its models and its environment."""
    plan, params = planned(job)
    publish(plan)
    done = elsewhere(job, plan, params)
    assert done.returncode == 0, done.stderr
    who, what = done.stdout.splitlines()
    assert who == "65534 False False"
    expected = MODEL.predict_proba([[0.5], [2.8]])[:, 1].tolist()
    assert what == f"[0.5, 2.8, None] {{}} {expected}"


@pytest.mark.parametrize("ending", [".zip", ".csv", "model.joblib"])
def test_what_an_attacker_writes_to_the_store_is_refused_on_both_sides(
    job: Path, store: str, ending: str
) -> None:
    plan, params = planned(job)
    publish(plan)
    name = overwrite(store, ending, b"town,people\nbonn,666\n")
    done = elsewhere(job, plan, params)
    assert done.returncode != 0
    assert done.stdout == ""  # nothing of it has run
    assert f"{name} was changed: its SHA-256 must be " in done.stderr
    with pytest.raises(WorkError, match=f"{name} was changed"):
        publish(plan)


def test_what_a_killed_client_left_is_gone_on_with(job: Path, store: str) -> None:
    """Killed when something is there and not all; the store then has each file once, with its content."""
    plan, params = planned(job)
    client = subprocess.Popen([sys.executable, "-c", CLIENT, str(job)], cwd=PROJECT)
    while not files(store)[1]:
        assert client.poll() is None
        time.sleep(0.001)
    client.send_signal(signal.SIGKILL)
    client.wait()
    publish(plan)
    system, found = files(store)
    version = set(os.listdir(job.parent / "models" / "fraud" / "versions" / "1"))
    addressed = {name: path for name, path in found.items() if re.fullmatch(r"\w{64}\.\w+", name)}
    assert sorted(Path(name).suffix for name in addressed) == [".csv", ".zip"]
    assert version <= found.keys()
    for name, path in addressed.items():
        with system.open_input_stream(path) as stream:
            assert hashlib.sha256(stream.read()).hexdigest() == Path(name).stem
    done = elsewhere(job, plan, params)
    assert done.returncode == 0, done.stderr


def test_a_file_that_is_gone_is_named(job: Path, store: str) -> None:
    plan, params = planned(job)
    publish(plan)
    system, found = files(store)
    [name] = [name for name in found if name.endswith(".zip")]
    system.delete_file(found[name])
    assert (
        f"{name} is missing: the job was submitted with it; submit again"
        in elsewhere(job, plan, params).stderr
    )


def test_nothing_of_the_submitter_is_in_what_goes_along(job: Path) -> None:
    plan, params = planned(job)
    folder = shipped_folder(plan.job)
    sent = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for place in (str(job.parent), str(PROJECT), sys.prefix):
        assert place.encode() not in sent + msgspec.json.encode(params)
    assert len(sent) < 60_000  # what fetches the rest


def test_releases_in_a_folder_of_the_submitter_cannot_be_followed(job: Path, store: str) -> None:
    registry = Registry(job.parent / "models")
    registry.promote("fraud", 1)
    job.write_text(job.read_text().replace(", use: 1", ""))
    if store.startswith("file:"):  # a folder that machines share
        model = planned(job)[1].model
        assert model
        assert model.folder == registry.location("fraud", 1)
        return
    with pytest.raises(
        JobFileError, match=r"model\.registry: must be a URI that workers reach, where runtime"
    ):
        make_plan(load_job(job, {}))
