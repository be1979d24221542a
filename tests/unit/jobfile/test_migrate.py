"""A job file is rewritten in place: not a byte but the keys is another one, and both say the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flink_jobs import cli
from flink_jobs.errors import Location
from flink_jobs.jobfile.migrate import migrated, same_data
from flink_jobs.system.jars import PROJECT

RENAMED: dict[Location, str] = {
    ("sink",): "predictions",
    ("source", "max_late"): "out_of_order",
    ("gone",): "never",
}
ODD = """\
%YAML 1.2
---
# A file of somebody's
"sink" :   {topic: a}   # theirs
source:
    'max_late': 5m      # kept
    topic: sink
notes: |
    sink: in a text is none
"""


def test_keys_are_renamed_where_they_stand() -> None:
    found = migrated(ODD, RENAMED)
    assert found == (
        ODD.replace('"sink" :', "version: 1\npredictions :").replace("'max_late'", "out_of_order")
    )
    assert YAML(typ="safe").load(found) == {
        "version": 1,
        "predictions": {"topic": "a"},
        "source": {"out_of_order": "5m", "topic": "sink"},
        "notes": "sink: in a text is none\n",
    }
    assert same_data(ODD, found, RENAMED)
    assert migrated(found, RENAMED) == found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("job: a\n", "version: 1\njob: a\n"),
        ("# b\r\n\r\njob: a\r\n", "# b\r\n\r\nversion: 1\r\njob: a\r\n"),
        ("{job: a, late: {}}", "{version: 1, job: a, late: {}}"),
        ("--- {job: a}\n", "--- {version: 1, job: a}\n"),
        ("  job: a\n  late: {}\n", "  version: 1\n  job: a\n  late: {}\n"),
        ("version: 1\njob: a", "version: 1\njob: a"),
        ("", ""),
        ("- job\n", "- job\n"),
        ("job: [a\n", "job: [a\n"),
    ],
)
def test_a_file_gets_its_version_once(before: str, after: str) -> None:
    assert migrated(before) == after
    assert migrated(after) == after


def test_every_job_file_of_this_repository_says_the_same_afterwards() -> None:
    folders = PROJECT / "conf", PROJECT / "tests" / "unit" / "plan" / "jobs"
    files = [file for folder in folders for file in folder.glob("*.yaml")]
    assert len(files) > 5
    for file in files:
        text = file.read_text()
        found = migrated(text)
        assert same_data(text, found)
        assert found.replace("version: 1\n", "", 1) == text.replace("version: 1\n", "", 1)


def test_the_command_writes_unless_it_only_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("# Ours\njob: a # b\n")

    def migrate(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tailrace", "migrate", *arguments, str(file)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return int(exit_.value.code or 0), capsys.readouterr().out

    code, shown = migrate("--check")
    assert (code, "+version: 1" in shown, file.read_text()) == (1, True, "# Ours\njob: a # b\n")
    assert migrate()[0] == 0
    assert file.read_text() == "# Ours\nversion: 1\njob: a # b\n"
    assert migrate("--check")[0] == 0
