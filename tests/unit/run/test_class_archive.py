"""Which archive a JVM is given, beside jars that change, and folders that are not ours."""

from __future__ import annotations

import os
import sys
import time
import zipfile
from pathlib import Path

import pytest

from flink_jobs.run.class_archive import UNUSED_SECONDS, ClassArchive


@pytest.fixture
def jars(tmp_path: Path) -> list[Path]:
    """A loader with a planner inside, and another jar."""
    found = [tmp_path / "flink-table-planner-loader-2.3.0.jar", tmp_path / "flink-dist-2.3.0.jar"]
    with zipfile.ZipFile(found[0], "w") as archive:
        archive.writestr("flink-table-planner.jar", b"planner")
    found[1].write_bytes(b"dist")
    return found


class Gateway:
    """Java, which writes the file that it is told to; or dies before it is whole."""

    def __init__(self, *, dies: bool = False) -> None:
        self.jvm, self._dies = self, dies

    def __getattr__(self, _name: str) -> Gateway:
        return self

    def __call__(self, *_: object) -> Gateway:
        return self

    def new_array(self, _kind: object, length: int) -> list[object]:
        return [None] * length

    def invoke(self, _none: None, arguments: list[str]) -> None:
        Path(arguments[0]).write_bytes(b"classes")
        if self._dies:
            raise ConnectionError("Java has ended")


def opened(jars: list[Path], tmp_path: Path) -> ClassArchive:
    return ClassArchive(sys.executable, jars, tmp_path / "java")


def uses(archive: ClassArchive) -> bool:
    return any(option.startswith("-XX:SharedArchiveFile=") for option in archive.options)


def test_the_first_is_noted_and_the_next_uses_it(jars: list[Path], tmp_path: Path) -> None:
    first = opened(jars, tmp_path)
    assert "-XX:+RecordDynamicDumpInfo" in first.options
    first.write(Gateway())
    assert uses(opened(jars, tmp_path))


def test_the_planner_comes_out_of_its_loader_once(jars: list[Path], tmp_path: Path) -> None:
    planner, dist = opened(jars, tmp_path).jars
    assert (planner.read_bytes(), dist) == (b"planner", jars[1])
    before = planner.stat().st_mtime_ns
    assert opened(jars, tmp_path).jars == [planner, dist]
    assert planner.stat().st_mtime_ns == before


def test_another_jar_has_another_archive(jars: list[Path], tmp_path: Path) -> None:
    opened(jars, tmp_path).write(Gateway())
    jars[1].write_bytes(b"tsid")
    os.utime(jars[1], (1, 1))
    assert not uses(opened(jars, tmp_path))


def test_who_dies_while_it_is_written_leaves_none(jars: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        opened(jars, tmp_path).write(Gateway(dies=True))
    assert not uses(opened(jars, tmp_path))
    assert not list((tmp_path / "java").glob("classes-*"))


def test_one_that_is_long_unused_goes(jars: list[Path], tmp_path: Path) -> None:
    opened(jars, tmp_path).write(Gateway())
    [used] = (tmp_path / "java").glob("classes-*")
    old, recent = (tmp_path / "java" / f"classes-{name}.jsa" for name in ("old", "recent"))
    for file, days in ((old, 1), (recent, -1)):
        file.write_bytes(b"")
        os.utime(file, (0, time.time() - UNUSED_SECONDS - days * 86_400))
    jars[1].write_bytes(b"another")
    opened(jars, tmp_path).write(Gateway())
    left = set((tmp_path / "java").glob("classes-*"))
    assert {used, recent} < left
    assert old not in left


def test_where_nothing_can_be_written_java_begins_as_ever(jars: list[Path], tmp_path: Path) -> None:
    (tmp_path / "java").write_text("a file")
    archive = opened(jars, tmp_path)
    assert (archive.jars, archive.options) == (jars, [])
    archive.write(Gateway(dies=True))


def test_a_loader_without_a_planner_is_left_as_it_is(jars: list[Path], tmp_path: Path) -> None:
    jars[0].write_bytes(b"no archive")
    archive = opened(jars, tmp_path)
    assert (archive.jars, archive.options) == (jars, [])
