"""Jars are found, or the error says where they were looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flink_jobs.errors import InputError
from flink_jobs.system.jars import PROJECT, broker_classpath, connector_jars

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
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as raised:
        connector_jars()
    assert str(raised.value) == (
        f"no flink-sql-connector-kafka-*.jar found; looked in {tmp_path}/project/.jars/flink, "
        f"{tmp_path}/.jars/flink; run scripts/fetch_jars"
    )


def test_the_project_is_the_folder_above_the_package() -> None:
    assert (PROJECT / "flink_jobs" / "system" / "jars.py").exists()
