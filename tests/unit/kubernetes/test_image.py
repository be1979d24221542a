"""The image and the CI templates: by the field's own linter, and by the commands that there are."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from flink_jobs.cli.commands import COMMANDS, load
from flink_jobs.kubernetes.render import JOB_FOLDER, MAIN, PYTHON
from flink_jobs.system.data import PROJECT

DOCKER = PROJECT / "conf" / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
TEMPLATES = sorted((PROJECT / "conf" / "ci").glob("*.y*ml"))


def test_the_linter_has_nothing_to_say(tmp_path: Path) -> None:
    hadolint = [str(PROJECT / ".venv-tools" / "bin" / "hadolint"), "--no-color"]
    done = subprocess.run([*hadolint, str(DOCKER / "Dockerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN apt-get install x\n")
    assert subprocess.run([*hadolint, str(tmp_path / "Dockerfile")], capture_output=True).returncode == 1


def test_it_runs_as_nobody_and_is_pinned() -> None:
    last = DOCKERFILE.rindex("\nFROM ")
    assert "USER 9999:9999" in DOCKERFILE[last:]
    assert "--require-hashes -r /build/requirements.txt" in DOCKERFILE
    assert "bash /build/trim.sh /opt/venv" in DOCKERFILE
    assert "tailrace jars fetch" in DOCKERFILE
    assert re.search(r"S3_PLUGIN_SHA256=[0-9a-f]{64}\n", DOCKERFILE)
    packages = (DOCKER / "requirements.txt").read_text().replace("\\\n", " ")
    lines = [line for line in packages.splitlines() if line and not line.startswith("#")]
    assert len(lines) > 50
    assert all("==" in line and "--hash=sha256:" in line for line in lines)


def test_its_packages_are_those_that_are_tested() -> None:
    def pins(text: str) -> set[str]:
        found = re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)
        return {f"{re.sub('[-_.]+', '-', name).lower()}=={version}" for name, version in found}

    tested = pins((PROJECT / "conf" / "constraints.txt").read_text())
    only_on_older_pythons = {"async-timeout==5.0.1"}
    assert pins((DOCKER / "requirements.txt").read_text()) - only_on_older_pythons <= tested


def test_it_has_what_is_rendered() -> None:
    assert f"COPY conf/docker/main.py {MAIN}" in DOCKERFILE
    assert PYTHON == "/opt/venv/bin/python"
    assert "python -m venv /opt/venv" in DOCKERFILE
    assert '"$flink"/opt/flink-python-*.jar /opt/tailrace/flink-python.jar' in DOCKERFILE
    assert Path(JOB_FOLDER).parent == Path(MAIN).parent


def test_what_it_compiles_is_there() -> None:
    """Against a module that has another name by now: the image would not be built."""
    program = (DOCKER / "trim.sh").read_text().partition("<<'END'\n")[2].removesuffix("END\n")
    [own] = [node.value for node in ast.parse(program).body if isinstance(node, ast.Assign)][:1]
    assert all(importlib.util.find_spec(name) for name in ast.literal_eval(own))
    for node in ast.parse(program).body:
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, each.name) for each in node.names)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_are_yaml_and_name_commands_that_there_are(path: Path) -> None:
    """With each option, as the command itself lists it."""
    text = path.read_text()
    assert isinstance(yaml.safe_load(text), dict)
    for line in re.findall(r"tailrace ((?:[a-z0-9]+ ?)+)((?:[^|>\n]|\\\n)*)", text):
        words = line[0].split()
        assert words[0] in COMMANDS, words
        command = load(words[0])
        if hasattr(command, "commands"):
            command = command.commands[words[1]]
        known = {option for each in command.params for option in each.opts}
        assert set(re.findall(r"--[a-z-]+", line[1])) <= known
