"""All jobs of a project at once: what one file cannot show, and the places of all that is wrong.

The adversary is a team: two jobs of one name, a field that another job no longer writes, a default for all
that is wrong, a pattern that finds nothing.
"""

from __future__ import annotations

import json
import os
import stat as stat_module
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flink_jobs import cli
from flink_jobs.errors import JobFileError
from flink_jobs.jobfile import load_job
from flink_jobs.jobfile.project import find_project, read_project
from flink_jobs.jobfile.raw import job_text
from flink_jobs.plan.project import validated_project
from tests.helpers.samples import write_model

PROJECT = """\
version: 1
jobs: [jobs/*.yaml]
default: dev
profiles:
  dev: {kafka: {brokers: "dev:9092"}}
  prod: {kafka: {brokers: "prod:9092"}}
defaults:
  model: {registry: models}
  runtime:
    parallelism: 3
    checkpoint: {dir: checkpoints}
"""
SCORES = """\
job: scores
source:
  topic: payments
  schema: {card: {type: string, required: true}, amount: {type: double, required: true}}
model: {name: m, inputs: {x: amount}}
predictions: {include: [card, amount]}
"""
AGAIN = """\
job: again
source:
  topic: scores.predictions
  event_time: {field: at, unit: iso8601}
  schema:
    at: {type: string, required: true, field: event_time}
    card: string
    spent: {type: double, required: true, field: amount}
    model: string
    version: long
model: {name: m, inputs: {x: spent}}
runtime: {parallelism: 1}
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    write_model(tmp_path / "models", "m", "x")
    (tmp_path / "jobs").mkdir()

    def write(project: str = PROJECT, **jobs: str) -> Path:
        (tmp_path / "tailrace.yaml").write_text(project)
        for name, text in {"scores": SCORES, "again": AGAIN, **jobs}.items():
            (tmp_path / "jobs" / f"{name}.yaml").write_text(text)
        return tmp_path

    return write


def wrong(root: Path) -> list[str]:
    found = validated_project(read_project(root, {}), {})
    return [str(each).replace(f"{root}/", "") for each in found.diagnostics]


def test_jobs_that_fit_are_planned_with_what_their_project_says(write: Write) -> None:
    root = write()
    found = validated_project(read_project(root, {}), {})
    assert found.diagnostics == []
    assert [path.name for path in found.plans] == ["again.yaml", "scores.yaml"]
    jobs = {plan.job.job: plan.job for plan in found.plans.values()}
    # A path begins in the folder of the file that has it.
    assert {job.model.registry for job in jobs.values()} == {root / "models"}
    assert str(jobs["scores"].runtime.checkpoint.dir).endswith(f"{root}/checkpoints")
    # What a job says itself stays; a section is filled key by key.
    assert (jobs["scores"].runtime.parallelism, jobs["again"].runtime.parallelism) == (3, 1)


def test_each_command_reads_a_job_with_its_projects_defaults(write: Write) -> None:
    root = write()
    assert load_job(root / "jobs" / "scores.yaml", {}).runtime.parallelism == 3
    # One that the project does not list stands alone.
    (root / "other.yaml").write_text(SCORES)
    assert load_job(root / "other.yaml", {}).runtime.parallelism == 1


def test_a_project_of_somebody_else_is_passed_over(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write()
    me = (root / "jobs").stat().st_uid
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        found = real(path, **options)
        given = list(found)
        given[stat_module.ST_UID] = me + 7 if path.name == "tailrace.yaml" else me
        return os.stat_result(given)

    monkeypatch.setattr(os, "getuid", lambda: me)
    assert find_project(root / "jobs") == root / "tailrace.yaml"
    monkeypatch.setattr(Path, "stat", stat)
    assert find_project(root / "jobs") is None
    monkeypatch.setattr(os, "getuid", lambda: me + 7)
    assert find_project(root / "jobs") == root / "tailrace.yaml"


def test_a_repositorys_folder_ends_the_search(write: Write) -> None:
    root = write()
    (root / "jobs" / ".git").mkdir()
    assert find_project(root / "jobs") is None


def test_one_name_is_of_one_job(write: Write) -> None:
    root = write(copy=SCORES)
    expected = "jobs/scores.yaml:1:1: job: must be a name of one job of the project; got 'scores', also in"
    assert wrong(root) == [f"{expected} jobs/copy.yaml"]


def test_no_job_ends_anothers_transactions(write: Write) -> None:
    late = SCORES.replace("job: scores", "job: scores-late").replace("payments", "others")
    (found,) = wrong(write(late=late))
    assert (
        "jobs/scores.yaml:1:1: job: must be a name that does not begin as a transaction of another" in found
    )
    assert found.endswith("got 'scores', also in jobs/late.yaml")


def test_a_topic_is_written_by_one_job(write: Write) -> None:
    (found,) = wrong(
        write(mirror=SCORES.replace("job: scores", "job: mirror") + "late: {topic: scores.late}\n")
    )
    assert found == (
        "jobs/scores.yaml:1:1: late.topic: must be a topic that one job of the project writes; "
        "got 'scores.late', also in jobs/mirror.yaml"
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("field: amount}", "field: amont}", "did you mean 'amount'?"),
        ("card: string", "card: long", "source.schema.card: must be string, as card is in the"),
        ("field: amount}", "field: amount.eur}", "without fields below amount, a double; got 'amount.eur'"),
        ("field: event_time", "field: at", "source.schema.at: must be a field of the predictions of scores"),
        ("version: long", "version: string", "must be long or double, as version is in the predictions"),
        ("  topic:", "  format: messagepack\n  topic:", "must be json, as the predictions of scores are"),
    ],
)
def test_a_job_that_reads_predictions_finds_its_fields_there(
    write: Write, before: str, after: str, expected: str
) -> None:
    found, *_ = wrong(write(again=AGAIN.replace(before, after)))
    assert found.startswith("jobs/again.yaml:")
    assert expected in found


def test_labels_may_come_from_predictions_too(write: Write) -> None:
    labels = "{topic: scores.predictions, on: card, field: predicton, wait: 1h}"
    job = SCORES.replace("job: scores", "job: other") + f"quality: {{window: 1h, labels: {labels}}}\n"
    (found,) = wrong(write(other=job))
    assert "jobs/other.yaml:7:" in found
    assert "quality.labels.field: must be a field of the predictions of scores" in found
    assert "did you mean 'prediction'?" in found


def test_all_mistakes_of_all_files_are_told_at_once_where_they_are(write: Write) -> None:
    root = write(
        PROJECT.replace("parallelism: 3", "parallelism: many"),
        scores=SCORES.replace("x: amount", "x: amout"),
        third="job: third\nsource: {topic: t, schema: {x: doubel}}\nmodel: {name: m}\n",
    )
    found = wrong(root)
    assert [each.split(": ")[:2] for each in found] == [
        ["jobs/scores.yaml:5:27", "model.inputs.x"],
        ["tailrace.yaml:10:5", "runtime.parallelism"],
        ["jobs/third.yaml:2:29", "source.schema.x"],
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("jobs/*.yaml", "job/*.yaml", "tailrace.yaml:2:8: jobs[0]: must be the path of a job file below"),
        ("defaults:", "defauts:", "tailrace.yaml:7:1: defauts: must be a known key"),
        (
            "  model:",
            "  modl:",
            "defaults.modl: must be a known key (kafka, model, privacy, alerts, runtime)",
        ),
        ("version: 1", "version: 2", "tailrace.yaml:1:1: version: must be"),
        ("jobs: [jobs/*.yaml]\n", "", "jobs: must be given"),
        ("[jobs/*.yaml]", "[/etc/*.yaml]", "jobs[0]: must be a path or pattern below the folder"),
    ],
)
def test_a_wrong_project_file_is_told(write: Write, before: str, after: str, expected: str) -> None:
    with pytest.raises(JobFileError) as raised:
        read_project(write(PROJECT.replace(before, after)), {}).jobs()
    assert expected in str(raised.value)
    assert len(raised.value.diagnostics) == 1


def test_credentials_of_all_jobs_go_to_no_brokers_of_one(write: Write) -> None:
    security = "defaults:\n  kafka: {brokers: 'all:9092', security: {protocol: SSL, ca_file: ca.pem}}\n"
    own = SCORES + "kafka: {brokers: 'own:9092'}\n"
    root = write(PROJECT.replace("defaults:\n", security), own=own.replace("job: scores", "job: own"))
    (root / "ca.pem").write_text("-")
    assert load_job(root / "jobs" / "own.yaml", {}).kafka.security is None
    shared = load_job(root / "jobs" / "scores.yaml", {}).kafka
    assert shared.brokers == "all:9092"
    assert shared.security
    assert shared.security.ca_file == root / "ca.pem"


def test_a_job_goes_to_other_machines_with_what_its_project_says(write: Write) -> None:
    root = write(PROJECT.replace("models}", "'${MODELS}'}"), scores="# Of the team\n" + SCORES)
    text = job_text(root / "jobs" / "scores.yaml", root / "tailrace.yaml")
    assert text.startswith("# Of the team\njob: scores\n")
    data = YAML(typ="safe", pure=True).load(text)
    assert data["model"] == {"name": "m", "inputs": {"x": "amount"}, "registry": "${MODELS}"}
    assert data["runtime"] == {"parallelism": 3, "checkpoint": {"dir": "checkpoints"}}


def test_the_command_checks_the_project_of_the_folder(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write()
    for name in ("TAILRACE_PROFILE", "TAILRACE_PROFILES", "TAILRACE_BROKERS"):
        monkeypatch.delenv(name, raising=False)

    def validate(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tailrace", "validate", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out + captured.err

    monkeypatch.chdir(root / "jobs")
    assert validate() == validate(str(root))
    code, out = validate()
    assert (code, out.count(": ok (model m version 1, 1 input)")) == (0, 2)
    write(copy=SCORES)
    code, out = validate("--json", "..")
    assert code == 2
    (only,) = json.loads(out)["diagnostics"]
    assert (Path(only["file"]).name, only["line"], only["key_path"]) == ("scores.yaml", 1, "job")
    monkeypatch.chdir(root.parent)
    code, out = validate()
    assert code == 2
    assert "there is no tailrace.yaml here" in out


def test_profiles_may_stand_in_the_projects_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write())
    brokers = [
        load_job("jobs/scores.yaml", environ).kafka.brokers
        for environ in (
            {},
            {"TAILRACE_PROFILE": "prod"},
            {"TAILRACE_BROKERS": "e:1"},
        )
    ]
    assert brokers == ["dev:9092", "prod:9092", "dev:9092"]
