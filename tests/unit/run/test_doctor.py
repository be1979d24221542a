"""What `tailrace doctor` calls wrong, on machines that lack something; it starts and changes nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.run import doctor
from flink_jobs.run.doctor import ClusterFacts, Finding
from flink_jobs.system.data import PROJECT

GIGABYTE = 1024**3


@pytest.mark.parametrize(
    ("version", "status"), [((3, 11, 7), "ok"), ((3, 10, 1), "wrong"), ((3, 13, 0), "wrong")]
)
def test_python(version: tuple[int, ...], status: str) -> None:
    assert doctor.python(version, "/usr/bin/python3").status == status


@pytest.mark.parametrize(
    ("says", "status"),
    [
        ('openjdk version "17.0.9" 2023-10-17', "ok"),
        ('openjdk version "21" 2023-09-19', "ok"),
        ('openjdk version "11.0.2" 2019-01-15', "wrong"),
        ('java version "1.8.0_392"', "wrong"),
        ("The operation could not be completed. Unable to locate a Java Runtime.", "wrong"),
    ],
)
def test_java_by_what_real_ones_print(says: str, status: str) -> None:
    assert doctor.java("/usr/bin/java", says).status == status


def test_packages_are_compared_with_those_that_were_tested() -> None:
    tested = {"apache-flink": "2.3.0", "numpy": "2.1.3"}
    assert doctor.packages({**tested, "mine": "1"}, tested).status == "ok"
    odd = doctor.packages({"apache-flink": "2.3.0", "numpy": "2.2.0"}, tested)
    assert (odd.status, odd.found) == ("odd", "numpy 2.2.0 (tested: 2.1.3)")
    assert odd.fix is not None
    assert re.fullmatch(r"pip install -c \S+constraints\.txt tailrace", odd.fix)
    assert doctor.packages({"numpy": "2.1.3"}, tested).status == "wrong"
    many = doctor.packages(
        {"apache-flink": "2.3.0", **{f"p{i}": "2" for i in range(9)}}, {f"p{i}": "1" for i in range(9)}
    )
    assert many.found.endswith(" and 4 more")


def test_disk_is_judged_by_the_place_with_least_room() -> None:
    free = {Path("/work"): 50 * GIGABYTE, Path("/tmp"): 2 * GIGABYTE}
    assert doctor.disk(free) == Finding("disk", "odd", "2.0 GiB free in /tmp", doctor.disk(free).fix)
    assert doctor.disk({Path("/tmp"): GIGABYTE - 1}).status == "wrong"
    assert doctor.disk({Path("/tmp"): 6 * GIGABYTE}).status == "ok"


def test_a_cluster_of_another_version_is_wrong_and_one_that_is_full_is_odd() -> None:
    full = ClusterFacts("http://flink:8081", "2.3.0", 0, True)
    assert doctor.judge_cluster(full, "2.3.0").status == "odd"
    assert doctor.judge_cluster(ClusterFacts("u", "1.20.1", 4, True), "2.3.0").status == "wrong"
    assert doctor.judge_cluster(ClusterFacts("u", "2.3.1", 4, True), "2.3.0").status == "ok"
    assert (
        "no folder for checkpoints"
        in doctor.judge_cluster(ClusterFacts("u", "2.3.1", 4, False), "2.3.0").found
    )


@pytest.mark.parametrize(("seconds", "status"), [(0.4, "ok"), (-1.9, "ok"), (3.0, "wrong"), (-60.0, "wrong")])
def test_clocks_that_differ_by_more_than_a_lead_bears(seconds: float, status: str) -> None:
    assert doctor.clocks(seconds).status == status


def test_folders_and_limits() -> None:
    assert doctor.rights([]).status == "ok"
    assert "/srv" in doctor.rights([Path("/srv")]).found
    assert doctor.open_files(256).fix == "ulimit -n 4096"
    assert {doctor.open_files(65_536).status, doctor.open_files(-1).status} == {"ok"}
    assert [doctor.clock(each).status for each in (True, False, None)] == ["ok", "odd", "not asked"]


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Java and jars, and with nothing named."""
    for name in ("JAVA_HOME", "TAILRACE_BROKERS", "TAILRACE_CLUSTER", "TAILRACE_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TAILRACE_JARS", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*words: str) -> tuple[int, dict[str, dict[str, str | None]]]:
    done = CliRunner().invoke(app, ["doctor", "--json", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, {each["name"]: each for each in json.loads(done.output)}


def test_on_a_bare_machine_each_missing_thing_has_its_fix_and_nothing_is_made(bare: Path) -> None:
    code, report = found("--brokers", "127.0.0.1:1")
    assert code == 1
    wrong = {name: each["fix"] for name, each in report.items() if each["status"] == "wrong"}
    assert wrong.keys() == {"java", "jars", "broker"}
    assert wrong["jars"] == "tailrace jars fetch"
    assert "openjdk-17-jre-headless" in str(wrong["java"])
    assert report["cluster"]["status"] == "not asked"
    assert report["models"]["status"] in ("ok", "not asked")
    assert list(bare.iterdir()) == []


def test_what_is_named_must_answer(bare: Path) -> None:
    code, report = found("--cluster", "http://127.0.0.1:1", "--brokers", "127.0.0.1:1")
    assert report["cluster"]["status"] == report["broker"]["status"] == "wrong"
    assert code == 1


def test_lines_say_the_same_one_each(bare: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "--brokers", "127.0.0.1:1"])
    lines = done.output.splitlines()
    assert [line.split("  ")[0].strip() for line in lines if "  jars" in line] == ["wrong"]
    assert all(re.match(r"(ok|odd|wrong|not asked) +\w", line) for line in lines), lines


def test_each_line_is_documented(bare: Path) -> None:
    page = (PROJECT / "docs" / "install.md").read_text()
    documented = set(re.findall(r"^\| `([a-z ]+)` \|", page, re.MULTILINE))
    _, report = found("--brokers", "127.0.0.1:1")
    assert documented - report.keys() == {"kafka rights", "clocks"}
    assert report.keys() <= documented


def test_here_it_finds_what_the_tools_themselves_say() -> None:
    """Against java, pip's metadata and the kernel, asked in another way."""
    report = {each.name: each for each in doctor.on_this_machine(Path.cwd())}
    java = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr
    assert report["java"].found.split(",")[0] == re.findall(r'"(\d+)', java)[0]
    assert report["java"].status == report["jars"].status == "ok"
    assert f"apache-flink {metadata.version('apache-flink')}" in report["packages"].found
    free = os.statvfs(Path.cwd())
    assert float(report["disk"].found.split()[0]) <= free.f_bavail * free.f_frsize / GIGABYTE + 1
