"""What is fetched is just what was reviewed, whatever a repository, a mirror or a bad line sends."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError, WorkError
from flink_jobs.system import fetch_jars, fetch_registry
from flink_jobs.system.data import PROJECT, data_file, is_checkout
from flink_jobs.system.fetch_jars import Jar, fetch, wanted, wrong_jars

CONTENT = {"g/a/1/a-1.jar": b"first" * 1000, "g/k/2/kafka_2.13-2.jar": b"second" * 100_000}
JARS = [
    Jar(f"{folder}/{Path(place).name}", hashlib.sha256(CONTENT[place]).hexdigest(), place)
    for folder, place in zip(("flink", "kafka"), CONTENT, strict=True)
]


class Repository(BaseHTTPRequestHandler):
    """A Maven repository; `tricks` say for a place what it does instead."""

    tricks: dict[str, str] = {}  # noqa: RUF012  (set by each test)
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        place = self.path.removeprefix("/maven2/")
        self.asked.append(place)
        trick, content = self.tricks.get(place), CONTENT.get(place)
        if content is None or trick == "gone":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if trick == "cut":
            self.wfile.write(content[:-1])
        elif trick == "changed":
            self.wfile.write(b"X" + content[1:])
        else:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Repository, "tricks", {})
    monkeypatch.setattr(Repository, "asked", [])
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Repository) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/maven2/"
        server.shutdown()


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_there_and_right_is_not_fetched_again(repository: str, tmp_path: Path) -> None:
    folder = tmp_path / "a place" / "jars"
    assert fetch(folder, repository, JARS)
    assert {jar.path: (folder / jar.path).read_bytes() for jar in JARS} == {
        "flink/a-1.jar": CONTENT["g/a/1/a-1.jar"],
        "kafka/kafka_2.13-2.jar": CONTENT["g/k/2/kafka_2.13-2.jar"],
    }
    asked = len(Repository.asked)
    assert not fetch(folder, repository, JARS)
    assert len(Repository.asked) == asked == 2


def test_jars_of_another_version_are_replaced_and_other_files_stay(repository: str, tmp_path: Path) -> None:
    (tmp_path / "jars" / "flink").mkdir(parents=True)
    (tmp_path / "jars" / "flink" / "a-0.jar").touch()
    (tmp_path / "jars" / "mine.txt").touch()
    assert wrong_jars(tmp_path / "jars", JARS)[-1] == "flink/a-0.jar is another version or no jar of ours"
    fetch(tmp_path / "jars", repository, JARS)
    assert left(tmp_path / "jars") == ["flink/a-1.jar", "kafka/kafka_2.13-2.jar", "mine.txt"]


@pytest.mark.parametrize(
    ("trick", "message"),
    [
        ("gone", "404"),
        ("cut", "IncompleteRead|must have the SHA-256"),
        ("changed", "must have the SHA-256"),
    ],
)
def test_a_repository_that_gives_something_else_changes_nothing(
    repository: str, tmp_path: Path, trick: str, message: str
) -> None:
    Repository.tricks = {JARS[1].place: trick}
    (tmp_path / "jars" / "flink").mkdir(parents=True)
    (tmp_path / "jars" / "flink" / "old.jar").touch()
    with pytest.raises(WorkError, match=message):
        fetch(tmp_path / "jars", repository, JARS)
    assert left(tmp_path) == ["jars/flink/old.jar"]


def test_a_server_that_sends_without_end_is_left(
    repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_jars, "_LARGEST", 10_000)
    with pytest.raises(WorkError, match="at most 10000 bytes"):
        fetch(tmp_path / "jars", repository, JARS)


def test_maven_that_brings_another_jar_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text(
        '#!/bin/sh\nfor a in "$@"; do case $a in -Djars=*) j=${a#-Djars=};; esac; done\n'
        'mkdir "$j/flink" "$j/kafka"; printf first > "$j/flink/a-1.jar"; touch "$j/kafka/extra.jar"\n'
    )
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{maven.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(WorkError) as raised:
        fetch(tmp_path / "jars", None, JARS)
    assert [line.split(" must")[0] for line in str(raised.value).splitlines()[1:]] == [
        "kafka/kafka_2.13-2.jar is missing",
        "kafka/extra.jar is another version or no jar of ours",
        "flink/a-1.jar",
    ]
    assert not (tmp_path / "jars").exists()


def test_without_maven_and_repository_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"no mvn in PATH.*--repository URL or TAILRACE_MAVEN_REPOSITORY"):
        fetch(tmp_path / "jars", None, JARS)


@pytest.mark.parametrize("url", ["https://me:secret@host/maven", "ftp://host/maven", "file:///srv", "host"])
def test_a_repository_must_be_an_address_without_a_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="a repository must be") as raised:
        fetch(tmp_path / "jars", url, JARS)
    assert "secret" not in str(raised.value)


def test_the_list_has_a_place_for_each_jar_as_maven_lays_them_out() -> None:
    """Group and version are in the folders, as Maven's documentation of the layout says."""
    jars = wanted()
    for jar in jars:
        *group, artifact, version, file = jar.place.split("/")
        assert group, jar
        assert file == f"{artifact}-{version}.jar" == Path(jar.path).name
        assert re.fullmatch("[0-9a-f]{64}", jar.sha256)
    assert len({jar.path for jar in jars}) == len(jars)
    namespace = {"m": "http://maven.apache.org/POM/4.0.0"}
    pom = ElementTree.fromstring(data_file("conf/pom.xml").read_text())
    places = {jar.place for jar in jars}
    for each in pom.findall("m:dependencies/m:dependency", namespace) or pom.findall(
        "dependencies/dependency"
    ):
        group_id, artifact, version = (part.text or "" for part in each)
        path = f"{group_id.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}.jar"
        assert path in places


def test_the_jars_that_scripts_fetched_are_those_of_the_list() -> None:
    folder = Path(os.environ.get("TAILRACE_JARS", PROJECT / ".jars"))
    done = CliRunner().invoke(app, ["jars", "verify", "--into", str(folder)])
    assert done.exit_code == 0, done.exception
    assert f"{len(wanted())} jars are right" in done.output
    again = CliRunner().invoke(app, ["jars", "fetch", "--into", str(folder)])
    assert again.output.strip().endswith(f"Already there: {folder}")


def test_a_changed_jar_is_told(tmp_path: Path) -> None:
    (tmp_path / "flink").mkdir()
    (tmp_path / "flink" / "a-1.jar").write_bytes(b"other")
    assert wrong_jars(tmp_path, JARS[:1])[0].startswith("flink/a-1.jar must have the SHA-256")
    same = replace(JARS[0], sha256=hashlib.sha256(b"other").hexdigest())
    assert wrong_jars(tmp_path, [same]) == []


def test_the_registry_comes_whole_or_not_at_all(
    repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILRACE_JARS", str(tmp_path))
    monkeypatch.setattr(fetch_registry, "is_checkout", lambda: False)
    with pytest.raises(InputError, match="run `tailrace jars fetch --schema-registry`"):
        fetch_registry.registry_program()
    packed = io.BytesIO()
    program = tarfile.TarInfo("apicurio-registry-app-3.0.9-runner.jar")
    program.size = 7
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(program, io.BytesIO(b"program"))
    place = "io/apicurio/apicurio-registry-app/3.0.9/apicurio-registry-app-3.0.9-all.tar.gz"
    monkeypatch.setitem(CONTENT, place, packed.getvalue())
    with pytest.raises(WorkError, match="must have the SHA-256 2b28181501a2"):
        fetch_registry.fetch_registry(tmp_path, repository)
    assert left(tmp_path) == []
    sha256 = hashlib.sha256(packed.getvalue()).hexdigest()
    assert fetch_registry.fetch_registry(tmp_path, repository, sha256)
    assert fetch_registry.registry_program().read_bytes() == b"program"
    assert left(tmp_path) == ["registry/apicurio-registry-app-3.0.9-runner.jar"]
    assert not fetch_registry.fetch_registry(tmp_path, repository, sha256)


def test_an_installed_wheel_is_no_checkout(tmp_path: Path) -> None:
    assert is_checkout()
    (tmp_path / "setup.cfg").touch()
    assert not is_checkout(tmp_path)
