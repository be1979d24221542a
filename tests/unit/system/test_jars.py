"""Jars are found, or the error says where they were looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flink_jobs.errors import InputError
from flink_jobs.system.jars import PROJECT, broker_classpath, connector_jars, jar_folder

BROKER = ("kafka/kafka_2.13-4.jar", "kafka/b.jar")


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAILRACE_JARS", str(tmp_path))
    for name in ("flink/flink-sql-connector-kafka-1.jar", "flink/zstd-jni-1.jar", *BROKER):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_jars_are_taken_from_the_environment_variable(jars: Path) -> None:
    flink = jars / "flink"
    assert connector_jars() == [flink / "flink-sql-connector-kafka-1.jar", flink / "zstd-jni-1.jar"]
    names = [Path(entry).name for entry in broker_classpath().split(os.pathsep)]
    assert names == ["b.jar", "kafka_2.13-4.jar"]


def test_missing_jars_name_each_place_and_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAILRACE_JARS", raising=False)
    monkeypatch.setattr("flink_jobs.system.jars.PROJECT", tmp_path / "project")
    for file in ("setup.cfg", "conf/pom.xml"):
        (tmp_path / "project" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / file).touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    cache = jar_folder() / "flink"
    assert cache.is_relative_to(tmp_path / "cache" / "tailrace")
    with pytest.raises(InputError) as raised:
        connector_jars()
    assert str(raised.value) == (
        f"no flink-sql-connector-kafka-*.jar found; looked in {tmp_path}/project/.jars/flink, "
        f"{tmp_path}/.jars/flink, {cache}; run `tailrace jars fetch`"
    )


def test_the_project_is_the_folder_above_the_package() -> None:
    assert (PROJECT / "flink_jobs" / "system" / "jars.py").exists()
