"""docs/install.md as whoever has no checkout: a wheel in an environment of its own, jars by plain HTTP."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flink_jobs.local import stack
from flink_jobs.system.data import PROJECT
from flink_jobs.system.fetch_jars import wanted
from flink_jobs.system.processes import free_port
from tests.helpers.pages import DOCS, README, Workspace, blocks, commands, run_script

RECORDS = '{"card": "a", "amount": 12.5}\n{"card": "a", "amount": 30.0}\n{"card": "a", "amount": "30"}\n'


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as scripts/wheel does: the sdist from what git has of a checkout, the wheel from the sdist."""
    folder = tmp_path_factory.mktemp("built")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = subprocess.run(listed, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        if (PROJECT / name).is_file() and not (PROJECT / name).is_symlink():
            (folder / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, folder / "checkout" / name)
    build = [str(PROJECT / ".venv-tools/bin/python"), "-m", "build", "--outdir", str(folder / "dist")]
    done = subprocess.run([*build, str(folder / "checkout")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return next((folder / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and this one's packages but Tailrace, whose checkout is out of reach."""
    folder = tmp_path_factory.mktemp("env") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (packages / "dependencies.pth").write_text(next(p for p in sys.path if p.endswith("site-packages")))
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return folder / "bin/python"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """The jars that are here, as a Maven repository has them."""
    jars = Path(os.environ.get("TAILRACE_JARS", PROJECT / ".jars"))
    for jar in wanted():
        place = tmp_path / "repository" / jar.place
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to((jars / jar.path).resolve())

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Quiet, directory=str(tmp_path / "repository"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def folder(tmp_path: Path, python: Path, repository: str) -> Workspace:
    """A folder with the README's files, and an environment that knows nothing of a checkout."""
    work = tmp_path / "work"
    work.mkdir()
    for block in (*blocks(README, "python"), *blocks(README, "yaml")[1:]):
        (work / block.splitlines()[0].removeprefix("# ")).write_text(block)
    (work / "records.jsonl").write_text(RECORDS)
    known = ("PYTHONPATH", "VIRTUAL_ENV")
    kept = {k: v for k, v in os.environ.items() if k not in known and not k.startswith("TAILRACE_")}
    return work, {
        **kept,
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TAILRACE_MAVEN_REPOSITORY": repository,
    }


def test_the_wheel_has_what_commands_read_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        data = {name.removeprefix("flink_jobs/data/"): name for name in names if "/data/" in name}
        assert {"conf/pom.xml", "conf/jars.sha256", "conf/jars.paths", "conf/job.schema.json"} <= set(data)
        for name, member in data.items():
            assert file.read(member) == (PROJECT / name).read_bytes()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"flink_jobs", "udfs", next(top for top in tops if top.endswith(".dist-info"))}
    assert {"flink_jobs/py.typed", "udfs/py.typed", "flink_jobs/__init__.pyi"} <= set(names)


def test_an_installed_tailrace_works_without_a_checkout(folder: Workspace) -> None:
    """The commands of the page, on a cluster and without one; the wheel's own code is what runs."""
    kafka, flink = free_port(), free_port()
    ports = f"--kafka-port {kafka} --flink-port {flink} --slots 1"
    lines = [f"{line} {ports}" if line == "tailrace up" else line for line in commands(DOCS["install.md"])]
    again = "sed -i 's/job: payments/job: payments-again/' payments.yaml"  # its outputs are its own
    lines.insert(next(i for i, line in enumerate(lines) if line.startswith("tailrace submit")), again)
    where = "python -c 'import flink_jobs, udfs; print(flink_jobs.__file__, udfs.__file__, sep=chr(10))'"
    laid_out = "python -c 'from flink_jobs.demo.common import lay_out; lay_out()' && ls models/flight_delay"
    data = "python -c 'from flink_jobs.system.data import *; print(data_file(\"conf/job.schema.json\"))'"
    schema = f"tailrace schema | cmp - $({data})"
    try:
        output = run_script([where, laid_out, schema, *lines], folder)
    finally:
        stack.down(folder[0] / ".tailrace")
    packages = f"{folder[1]['PATH'].split('/bin:')[0]}/lib/"
    for package in ("flink_jobs", "udfs"):
        assert any(line.startswith(packages) and package in line for line in output.splitlines())
    assert "jars are right: " in output
    assert "predicted 2  late 0  dead 1" in output
    assert r"\"spent_1h\":42.5" in output
