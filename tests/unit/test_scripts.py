"""What the set-up scripts do on machines that lack something, and that a second run does nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = [
    "bash",
    "id",
    "dirname",
    "cksum",
    "tr",
    "sed",
    "head",
    "cat",
    "mkdir",
    "tail",
    "sleep",
    "grep",
    "env",
    "mktemp",
    "rm",
    "mv",
    "rmdir",
]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH without Java, Maven, Python and apt-get."""
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None, tool
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path / "bin"


def lib(command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of scripts/lib.sh."""
    environment = {k: v for k, v in os.environ.items() if k not in ("JAVA_HOME", "TAILRACE_JARS")} | env
    script = f"source '{ROOT}/scripts/lib.sh'; {command}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, timeout=60)


@pytest.mark.parametrize(
    ("command", "problem", "package"),
    [
        ("need_java", "Java 17 or newer is missing", "openjdk-17-jre-headless"),
        ("need_maven", "Maven is missing", "maven"),
        ("need_prometheus", "Prometheus is missing", "prometheus"),
    ],
)
def test_a_missing_tool_is_one_line_that_names_the_package(
    bare: Path, command: str, problem: str, package: str
) -> None:
    done = lib(command, PATH=str(bare))
    remedy = f"install it (Debian, Ubuntu: sudo apt-get install {package})"
    assert (done.returncode, done.stderr) == (1, f"error: {problem}; {remedy}\n")


def test_an_old_java_does_not_count(bare: Path) -> None:
    java = bare / "java"
    java.write_text("#!/usr/bin/env bash\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    assert lib("java_is_new_enough", PATH=str(bare)).returncode == 1
    java.write_text("#!/usr/bin/env bash\necho 'openjdk version \"21\" 2023-09-19' >&2\n")
    assert lib("java_is_new_enough", PATH=str(bare)).returncode == 0


def test_fetched_jars_are_not_fetched_again(bare: Path, tmp_path: Path) -> None:
    jars = tmp_path / "jars"
    jars.mkdir()
    stamp = lib("checksum <conf/pom.xml").stdout
    (jars / "stamp").write_text(stamp)
    again = lib("fetch_jars", PATH=str(bare), TAILRACE_JARS=str(jars))
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    (jars / "stamp").write_text("another pom's")
    assert "Maven is missing" in lib("fetch_jars", PATH=str(bare), TAILRACE_JARS=str(jars)).stderr


def test_a_failed_download_leaves_nothing_and_shows_why(bare: Path, tmp_path: Path) -> None:
    (bare / "mvn").write_text("#!/usr/bin/env bash\necho 'no such artifact'; exit 3\n")
    (bare / "mvn").chmod(0o755)
    jars = tmp_path / "some place" / "jars"
    done = lib("fetch_jars", PATH=str(bare), TAILRACE_JARS=str(jars))
    assert done.returncode == 1
    assert "no such artifact" in done.stderr
    assert "failed with status 3" in done.stderr
    assert list(jars.parent.iterdir()) == []


def test_a_shim_that_does_not_run_is_passed_over(bare: Path) -> None:
    real = shutil.which("python3.11", path=os.pathsep.join([str(ROOT / ".venv/bin"), os.environ["PATH"]]))
    assert real is not None
    (bare / "python3.11").write_text("#!/usr/bin/env bash\necho 'pyenv: command not found' >&2; exit 127\n")
    (bare / "python3").symlink_to(real)
    (bare / "python3.11").chmod(0o755)
    found = lib("find_python", PATH=str(bare), PYENV_ROOT="/nonexistent")
    assert found.stdout.strip().rpartition("/")[2].startswith("python3")
    assert found.returncode == 0


def test_modules_that_scripts_run_do_something_when_they_are_run() -> None:
    """A module without an entry of its own is imported, and ends with status 0."""
    named = {
        name
        for script in (ROOT / "scripts").iterdir()
        if script.is_file()
        for name in re.findall(r"python\" -m (flink_jobs[\w.]*)", script.read_text())
    }
    assert "flink_jobs.demo" in named
    for name in named:
        path = ROOT.joinpath(*name.split("."))
        file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        assert 'if __name__ == "__main__":' in file.read_text(), name


def test_each_script_is_valid_and_executable() -> None:
    scripts = [ROOT / ".ci/run", *(p for p in (ROOT / "scripts").iterdir() if p.is_file())]
    for script in scripts:
        if script.suffix:
            continue
        assert os.access(script, os.X_OK), script
        if "bash" in script.read_text().splitlines()[0]:
            subprocess.run(["bash", "-n", str(script)], check=True)
