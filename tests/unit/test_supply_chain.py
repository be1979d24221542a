"""What the scripts install is what was reviewed, also where a registry or a mirror gives something else."""

from __future__ import annotations

import hashlib
import os
import re
import runpy
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
JARS = Path(os.environ.get("TAILRACE_JARS", ROOT / ".jars"))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, tuple[str, list[str]]]:
    """Name to version and hashes."""
    text = (ROOT / "conf" / "requirements.txt").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, version, rest = re.fullmatch(r"([\w.-]+)==(\S+)\s+(.*)", line).groups()  # type: ignore[union-attr]
            found[canonical(name)] = (version, re.findall(r"--hash=sha256:([0-9a-f]{64})", rest))
    return found


def sums() -> dict[str, str]:
    lines = (ROOT / "conf" / "jars.sha256").read_text().splitlines()
    return {path: checksum for checksum, _, path in (line.partition("  ") for line in lines)}


def test_each_package_is_locked_by_hash_in_the_version_that_is_pinned() -> None:
    lines = (ROOT / "conf" / "constraints.txt").read_text().splitlines()
    pins = {name: version for name, _, version in (line.partition("==") for line in lines)}
    found = locked()
    assert {canonical(name): version for name, version in pins.items()} == {
        name: version for name, (version, _) in found.items() if name != "async-timeout"
    }
    assert all(hashes for _, hashes in found.values())


def requirements() -> Iterator[Requirement]:
    """What a wheel asks for, but for what only tests need."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = {name: lines for name, lines in config["options.extras_require"].items() if name != "test"}
    for lines in (config["options"]["install_requires"], *extras.values()):
        yield from map(Requirement, filter(None, lines.splitlines()))


def test_what_is_tested_is_the_newest_that_a_wheel_may_bring() -> None:
    """Of a package whose versions promise something: of its first number, else of its second."""
    tested = {name: Version(version) for name, (version, _) in locked().items()}
    for each in requirements():
        version = tested.get(canonical(each.name))
        first = version.major + 1 if version else 10_000
        assert not each.specifier.contains(f"{first}.0.0"), each
        assert version is None or each.specifier.contains(version), each


@pytest.mark.parametrize("file", ["conf/requirements.txt", "THIRD_PARTY_NOTICES.md"])
def test_no_file_says_where_packages_come_from(file: str) -> None:
    """Who installs says that; a host in a lock would be used in its place."""
    assert not re.search(r"index-url|find-links|pypi\.org|pythonhosted|maven\.org", (ROOT / file).read_text())


def lib(command: str, **env: str) -> subprocess.CompletedProcess[str]:
    script = f"source '{ROOT}/scripts/lib.sh'; {command}"
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env={**os.environ, **env}, timeout=120
    )


def test_packages_are_installed_by_their_hashes(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    command = f"VENV={tmp_path}; install_locked"
    assert "--require-hashes -r conf/requirements.txt" in lib(command).stdout
    unlocked = lib(command, TAILRACE_UNLOCKED="1").stdout
    assert "-c conf/constraints.txt" in unlocked


@pytest.mark.parametrize(("status", "by"), [(0, ["uv", "uv"]), (1, ["uv", "pip", "pip"])])
def test_uv_installs_by_the_same_hashes_and_pip_where_uv_cannot(
    tmp_path: Path, status: int, by: list[str]
) -> None:
    """A registry that only pip is set up for refuses uv."""
    for name, code in (("python", 0), ("uv", status)):
        tool = tmp_path / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f'#!/bin/sh\necho "{name} $@"\nexit {code}\n')
        tool.chmod(0o755)
    done = lib(f"VENV={tmp_path}; install_locked", PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    lines = [line for line in done.stdout.splitlines() if line.startswith(("uv ", "python "))]
    assert [line.split()[0].replace("python", "pip") for line in lines] == by
    whole = [line for line in lines if "requirements.txt" in line]
    assert all("--require-hashes -r conf/requirements.txt" in line for line in whole)
    assert "--no-deps -e ." in lines[-1]


@pytest.mark.parametrize("file", ["uv", "tools"])
def test_tools_are_locked_by_hash(file: str) -> None:
    text = (ROOT / "conf" / f"{file}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines
    assert all("==" in line and "--hash=sha256:" in line for line in lines)
    assert not re.search(r"https?:|://|--(extra-)?index-url|--find-links", text)


@pytest.fixture
def jars(tmp_path: Path) -> Path:
    """The jars that were fetched, as links."""
    for path in sums():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).symlink_to(JARS / path)
    return tmp_path


def test_the_jars_are_those_of_the_sums(jars: Path) -> None:
    assert lib(f"check_jars '{jars}'").returncode == 0
    name, checksum = next(iter(sums().items()))
    assert hashlib.sha256((JARS / name).read_bytes()).hexdigest() == checksum


def test_another_jar_is_refused(jars: Path) -> None:
    name = next(iter(sums()))
    (jars / name).unlink()
    (jars / name).write_bytes((JARS / name).read_bytes() + b"\0")
    done = lib(f"check_jars '{jars}'")
    assert done.returncode == 1
    assert "the jars are not those of conf/jars.sha256" in done.stderr


def test_a_jar_too_many_or_too_few_is_refused(jars: Path) -> None:
    (jars / "kafka" / "extra.jar").write_bytes(b"")
    assert "there are jars that conf/jars.sha256 does not have" in lib(f"check_jars '{jars}'").stderr
    (jars / "kafka" / "extra.jar").unlink()
    (jars / next(iter(sums()))).unlink()
    assert lib(f"check_jars '{jars}'").returncode == 1


def test_the_bill_of_materials_has_the_jars_beside_the_packages() -> None:
    """With the hashes that the jars here have; the packages come from a tool that sees no jars."""
    notices = runpy.run_path(str(ROOT / "scripts" / "notices.py"))
    lines = (ROOT / "conf" / "jars.sha256").read_text().splitlines()
    package = {"type": "library", "bom-ref": "numpy", "name": "numpy", "version": "1.26.4"}
    tailrace = {"type": "library", "bom-ref": "tailrace", "name": "tailrace", "version": "1"}
    found = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [package, tailrace]}
    made = notices["bom"](found, [notices["jar_of"](JARS, line) for line in lines])
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    hashes = {each["hashes"][0]["content"] for each in made["components"] if "hashes" in each}
    assert hashes == {hashlib.sha256((JARS / path).read_bytes()).hexdigest() for path in sums()}
    assert [each["name"] for each in made["components"] if "hashes" not in each] == ["numpy"]
    assert all(each["licenses"] for each in made["components"] if "hashes" in each)


def test_notices_name_all_that_is_installed() -> None:
    notices = (ROOT / "THIRD_PARTY_NOTICES.md").read_text()
    rows = {
        tuple(cell.strip() for cell in line.split("|")[1:3]) for line in notices.splitlines() if "|" in line
    }
    listed = {(canonical(row[0]), row[1]) for row in rows}
    packages = {(name, version) for name, (version, _) in locked().items() if name != "async-timeout"}
    jars = {
        (canonical(match[1]), match[2])
        for path in sums()
        if (match := re.fullmatch(r"(.+?)-(\d[\w.-]*)\.jar", Path(path).name))
    }
    assert packages | jars <= listed
