"""An environment that was packed runs under another path, where the first one is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.run.environment import pack_environment
from flink_jobs.system.data import PROJECT


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """venv-pack2, of the tools' environment: Tailrace's own does without."""
    tools = PROJECT / ".venv-tools" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    monkeypatch.syspath_prepend(str(tools))


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A small one, with a package and the command of a package."""
    folder = tmp_path / "made here"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (packages / "mine.py").write_text("WHERE = __file__\n")
    command = folder / "bin" / "say"
    command.write_text(f"#!{folder}/bin/python\nimport mine; print(mine.WHERE)\n")
    command.chmod(0o755)
    return folder


def test_it_runs_elsewhere(library: None, environment: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["package", str(tmp_path / "out"), "--environment", str(environment)])
    assert done.exit_code == 0, done.exception
    archive = next((tmp_path / "out").iterdir())
    assert f'python.archives: "s3://bucket/{archive.name}#environment"' in done.stderr
    shutil.rmtree(environment)
    elsewhere = tmp_path / "worker" / "environment"
    with tarfile.open(archive) as file:
        file.extractall(elsewhere, filter="fully_trusted")
    said = subprocess.run(
        [elsewhere / "bin" / "python", "-c", "import mine; print(mine.WHERE)"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip().startswith(str(elsewhere))


def test_python_is_looked_for_where_the_workers_have_it(
    library: None, environment: Path, tmp_path: Path
) -> None:
    archive = pack_environment(environment, tmp_path / "out", "/usr/local")
    with tarfile.open(archive) as file:
        links = {member.linkname for member in file.getmembers() if member.issym()}
    assert any(link.startswith("/usr/local/bin/python") for link in links), links
    assert not any(link.startswith(sys.base_prefix) for link in links)


def test_the_same_name_is_the_same_archive_and_no_part_is_left(
    library: None, environment: Path, tmp_path: Path
) -> None:
    first = pack_environment(environment, tmp_path / "out", None)
    (environment / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "mine.py").write_text(
        "A = 1\n"
    )
    second = pack_environment(environment, tmp_path / "out", None)
    assert first != second
    assert sorted((tmp_path / "out").iterdir()) == sorted([first, second])


def test_a_link_to_a_checkout_is_refused(library: None, environment: Path, tmp_path: Path) -> None:
    packages = environment / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (packages / "__editable__.tailrace-1.pth").write_text("/checkout\n")
    with pytest.raises(InputError, match="points at a checkout: install the wheel"):
        pack_environment(environment, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


def test_what_is_no_environment_is_told(library: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a virtual environment"):
        pack_environment(tmp_path, tmp_path / "out", None)


def test_without_the_library_it_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "venv_pack", None)
    with pytest.raises(InputError, match=r"pip install 'tailrace\[package\]'"):
        pack_environment(tmp_path, tmp_path / "out", None)
