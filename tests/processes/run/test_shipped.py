"""A worker on a machine that has nothing of the submitter's: neither the checkout, nor the job's folder."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flink_jobs.jobfile import load_job
from flink_jobs.plan import Plan, make_plan
from flink_jobs.registry import Registry
from flink_jobs.run.access import Access
from flink_jobs.run.program import Target, _options
from flink_jobs.run.shipped import shipped_folder
from tests.helpers.registered import write
from udfs.features import FeatureParams
from udfs.scoring.params import ScoreParams
from udfs.store.artifacts import path_of

JOB = """\
job: shops
source: {topic: shops, schema: {town: string}}
features: {lookups: {towns: {file: towns.csv, by: town, select: {a: {column: people, type: double}}}}}
model: {name: fraud, registry: MODELS}
kafka: {brokers: "kafka:9092"}
runtime: {artifacts: flink}
"""
WORKER = """
import sys, msgspec, pyarrow as pa, udfs
from udfs.features import FeatureBuilder, FeatureParams
params = msgspec.json.decode(sys.argv[1], type=FeatureParams)
table, problems = FeatureBuilder(params).compute(pa.table({"town": ["bonn", "rome", "oslo"]}))
print(udfs.__file__, table["a"].to_pylist(), problems)
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """In a folder of the submitter's; the models are elsewhere, as in a bucket."""
    folder = tmp_path / "submitters" / "jobs"
    folder.mkdir(parents=True)
    registry = Registry(tmp_path / "bucket")
    registry.promote("fraud", write(registry).version)
    (folder / "towns.csv").write_text("town,people\nbonn,330\nrome,2800\n")
    (folder / "job.yaml").write_text(JOB.replace("MODELS", str(tmp_path / "bucket")))
    return folder / "job.yaml"


def planned(job: Path) -> tuple[Plan, FeatureParams]:
    plan = make_plan(load_job(job, {}))
    [params] = [
        function.params.features
        for function in plan.views.functions.values()
        if isinstance(function.params, ScoreParams)
    ]
    return plan, params


def worker(params: FeatureParams, folder: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {"PYTHONPATH": f"{folder}{os.pathsep}{packages}", "PATH": "/usr/bin"}
    command = [sys.executable, "-S", "-c", WORKER, msgspec.json.encode(params).decode()]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_lookups_come_along_and_the_submitters_folder_may_be_gone(job: Path, tmp_path: Path) -> None:
    plan, params = planned(job)
    elsewhere = tmp_path / "worker" / "python-dist"
    shutil.copytree(shipped_folder(plan.job), elsewhere)  # what Flink's blob server does
    shutil.rmtree(tmp_path / "submitters")
    done = worker(params, elsewhere, tmp_path / "worker")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{elsewhere}/udfs/__init__.py", "[330.0,", "2800.0,", "None]", "{}"]


def test_nothing_that_is_sent_names_a_path_of_the_submitter(job: Path, tmp_path: Path) -> None:
    """What is pickled into the job graph, and its options but for the folder that Flink itself uploads."""
    plan, _ = planned(job)
    options = _options(plan, Target(Access("http://flink:8081")), None)
    uploaded = {"python.files", "pipeline.jars"}  # the client reads them here
    client = {"python.client.executable"}  # runs here
    sent: dict[str, Any] = {key: value for key, value in options.items() if key not in uploaded | client}
    functions = pickle.dumps([function.params for function in plan.views.functions.values()])
    for place in (str(tmp_path / "submitters"), sys.prefix, os.getcwd()):
        assert [key for key, value in sent.items() if place in value] == []
        assert place.encode() not in functions


def test_a_file_that_changed_meanwhile_is_told_and_not_taken_for_the_other(job: Path, tmp_path: Path) -> None:
    plan, params = planned(job)
    (job.parent / "towns.csv").write_text("town,people\nbonn,1\n")
    done = worker(params, shipped_folder(plan.job), tmp_path)
    assert done.returncode != 0
    assert "did not come along with the job: it was changed while the job was submitted" in done.stderr


def test_without_artifacts_paths_stay_what_they_were(job: Path) -> None:
    job.write_text(job.read_text().replace("runtime: {artifacts: flink}", "runtime: {}"))
    plan, params = planned(job)
    assert params.lookups[0].path == str(job.parent / "towns.csv") == path_of(params.lookups[0].path)
    assert [entry.name for entry in shipped_folder(plan.job).iterdir()] == ["udfs"]
