"""`tailrace validate`, `plan`, `schema`, and what the other job commands say before Flink is needed."""

from __future__ import annotations

import io
import json
import logging
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from rich.console import Console

from flink_jobs import cli
from flink_jobs.cli.clusters import rough
from flink_jobs.cli.progress import Progress, summary
from flink_jobs.cli.run import relevant
from flink_jobs.errors import InputError
from flink_jobs.run.cluster import failure_reason, worker_traceback
from flink_jobs.run.savepoints import savepoint_uri
from flink_jobs.spec.json_schema import job_schema_text
from flink_jobs.system.log import configure_logging
from tests.helpers.samples import write_model

GOOD = """\
job: rides
source:
  topic: rides
  schema:
    city: {type: string, required: true}
    km: {type: double, required: true}
features:
  lookups:
    cities: {file: cities.csv, by: city, select: [people]}
  derive:
    ratio: km / people
    twice: ratio * 2
model:
  name: tiny
  registry: models
  inputs: {a: km, b: twice}
"""

Tailrace = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tailrace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tailrace:
    """Runs the command as a shell does: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAILRACE_CLUSTER", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tailrace", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def job(tmp_path: Path) -> Path:
    write_model(tmp_path / "models", "tiny", "a", "b")
    (tmp_path / "cities.csv").write_text("city,people\nBern,130000\n")
    (tmp_path / "job.yaml").write_text(GOOD)
    return tmp_path / "job.yaml"


def change(job: Path, *pairs: tuple[str, str]) -> None:
    text = job.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    job.write_text(text)


def test_a_good_file_is_one_line(tailrace: Tailrace, job: Path) -> None:
    assert tailrace("validate", "job.yaml") == (
        0,
        "job.yaml: ok (model tiny version 1, 2 inputs)\n",
        "",
    )


def test_all_problems_of_all_files_are_shown(tailrace: Tailrace, job: Path) -> None:
    Path("bad.yaml").write_text(GOOD.replace("km: {type: double", "km: {type: doble").replace("job:", "jab:"))
    code, out, err = tailrace("validate", "bad.yaml", "job.yaml", "missing.yaml")
    assert code == 2
    assert out == "job.yaml: ok (model tiny version 1, 2 inputs)\n"
    lines = err.splitlines()
    assert [line.split(": must")[0] for line in lines] == [
        "bad.yaml:1:1: jab",
        "bad.yaml:6:10: source.schema.km.type",
        "missing.yaml",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "km / people",
            "km / peple",
            ["job.yaml:11:5: features.derive.ratio: must be ", "did you mean 'people'?"],
        ),
        (
            "file: cities.csv",
            "file: towns.csv",
            ["job.yaml:9:14: features.lookups.cities.file: must be a readable file ", "towns.csv); got No "],
        ),
        (
            "select: [people]",
            "select: {people: peopel}",
            ["job.yaml:9:42: features.lookups.cities.select: must be one of ", "did you mean 'people'?"],
        ),
        (
            "name: tiny",
            "name: tyny",
            ["job.yaml:14:3: model.name: must be a model of ", "got 'tyny'; did you mean 'tiny'?"],
        ),
        (
            "registry: models",
            "registry: models\n  use: 7",
            [
                "job.yaml:16:3: model.use: must be a version that can be used; ",
                "got 7: version 7 of model tiny must be one of 1 in ",
            ],
        ),
        (
            "b: twice",
            "b: city",
            [
                "job.yaml:16:19: model.inputs.b: must be a double column, as tiny version 1 wants it;",
                "got city, a string",
            ],
        ),
        (
            "city: {type: string, required: true}",
            "city: {type: double, required: true}",
            [
                "job.yaml:9:32: features.lookups.cities.by: ",
                "must be a string or long column; got city, a double",
            ],
        ),
    ],
)
def test_what_planning_finds_has_a_place(
    tailrace: Tailrace, job: Path, old: str, new: str, expected: list[str]
) -> None:
    change(job, (old, new))
    for command in ("validate", "plan", "run", "submit --cluster localhost:1"):
        code, out, err = tailrace(*command.split(), "job.yaml")
        assert (code, out) == (2, "")
        assert all(part in err for part in expected), err


def test_planning_finds_every_problem_once(tailrace: Tailrace, job: Path) -> None:
    change(
        job,
        ("ratio: km / people", "ratio: km / peple"),
        ("twice: ratio * 2", "twice: ratio * 2\n    other: UPPER(km)"),
        ("name: tiny", "name: tyny"),
    )
    code, _, err = tailrace("validate", "job.yaml")
    assert code == 2
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        "features.derive.ratio",
        "features.derive.other",
        "model.name",
    ]


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_problems_as_json_have_all_that_is_known_of_each(tailrace: Tailrace, job: Path, command: str) -> None:
    change(job, ("ratio: km / people", "ratio: km / peple"))
    code, out, err = tailrace(command, "--json", "job.yaml")
    assert (code, err) == (2, "")
    assert json.loads(out) == {
        "schema": "tailrace.diagnostics/1",
        "diagnostics": [
            {
                "file": "job.yaml",
                "line": 11,
                "column": 5,
                "key_path": "features.derive.ratio",
                "expected": "one of the columns city, event_time, km, people",
                "found": "'peple' at character 6",
                "suggestion": "people",
            }
        ],
    }
    code, out, _ = tailrace(command, "--json", "missing.yaml")
    (only,) = json.loads(out)["diagnostics"]
    assert (code, only["file"], only["line"]) == (2, "missing.yaml", None)


def test_no_problems_as_json_are_an_empty_list(tailrace: Tailrace, job: Path) -> None:
    code, out, err = tailrace("validate", "--json", "job.yaml")
    assert (code, json.loads(out)["diagnostics"], err) == (0, [], "")


def test_plan_as_text_and_json(tailrace: Tailrace, job: Path) -> None:
    code, text, _ = tailrace("plan", "job.yaml")
    assert code == 0
    assert text.splitlines()[0] == "rides: a score for each event, exactly once"
    assert "CREATE TABLE" not in text
    assert "CREATE TABLE source (" in tailrace("plan", "job.yaml", "--sql")[1]
    code, text, _ = tailrace("plan", "job.yaml", "--json")
    data = json.loads(text)
    assert (code, data["schema"], data["job"]) == (0, "tailrace.plan/1", "rides")
    assert set(data["sql"]) == {"tables", "views", "functions", "inserts"}


def test_schema_is_the_committed_one(tailrace: Tailrace) -> None:
    assert tailrace("schema") == (0, job_schema_text(), "")


@pytest.mark.parametrize("command", ["validate", "plan", "run", "submit", "jobs", "stop", "schema"])
def test_help_teaches_with_examples(tailrace: Tailrace, command: str) -> None:
    code, out, _ = tailrace(command, "--help")
    assert code == 0
    assert "Example" in out
    assert f"tailrace {command}" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("jobs",), 2, "no cluster: give --cluster http://host:port"),
        (("jobs", "--cluster", "flink"), 2, "must be http://host:port, Flink's REST address; got 'flink'"),
        (("jobs", "--cluster", "http://u:secret@flink:8081"), 2, "--cluster must be"),
        (("jobs", "--cluster", "127.0.0.1:1"), 1, "no Flink cluster answers at http://127.0.0.1:1"),
        (("stop", "x", "--cancel", "--savepoint", "y"), 2, "only one of --savepoint and --cancel"),
        (("stop", "x", "--cancel", "--drain"), 2, "only one of --drain and --cancel"),
        (("run", "job.yaml", "--savepoint", "nowhere"), 2, "--savepoint must be a folder with a file"),
        (("submit", "job.yaml", "--warm-up"), 2, "--warm-up is for a job that goes on: --savepoint"),
        (("run", "none.yaml"), 2, "none.yaml: must be a job file"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_message(
    tailrace: Tailrace, job: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    found, out, err = tailrace(*arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("sp", "file://{here}/sp"),
        ("/a b/sp", "file:///a b/sp"),
        ("file:/a/sp", "file:///a/sp"),
        ("file:///a/sp", "file:///a/sp"),
        ("s3://bucket/sp", "s3://bucket/sp"),
    ],
)
def test_savepoints_are_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, uri: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert savepoint_uri(given) == uri.format(here=tmp_path)


TRACEBACK = """\
Traceback (most recent call last):
  File "/x/site-packages/apache_beam/runners/worker/sdk_worker.py", line 1, in _execute
    response = task()
  File "/x/site-packages/pyflink/fn_execution/table/operations.py", line 2, in process
    return self.func(value)
  File "/tmp/run-1/tailrace-udfs-x1/tailrace-udfs-x1/udfs/flink.py", line 3, in eval
    outcomes = self._scorer.score(batch)
  File "/tmp/udfs/score.py", line 4, in score
    raise ValueError("no")
ValueError: no"""


def test_a_traceback_is_cut_to_what_is_not_machinery() -> None:
    lines = TRACEBACK.replace("/tmp/run-1/tailrace-udfs-x1/tailrace-udfs-x1/", "").splitlines()
    assert relevant(TRACEBACK) == "\n".join([lines[0], *lines[5:]])
    machinery_only = "\n".join([*TRACEBACK.splitlines()[:5], "ValueError: no"])
    assert relevant(machinery_only).splitlines()[1:] == [*TRACEBACK.splitlines()[3:5], "ValueError: no"]
    assert relevant("ValueError: no") == "ValueError: no"


JAVA_TRACE = f"""\
java.util.concurrent.ExecutionException: job failed
\tat org.apache.flink.Some.method(Some.java:1)
Caused by: java.lang.RuntimeException: Error received from SDK harness for instruction 1: {TRACEBACK}

\tat org.apache.beam.Some.method(Some.java:2)
\t... 7 more
"""


def test_the_workers_own_error_is_found_in_javas() -> None:
    assert worker_traceback(JAVA_TRACE) == TRACEBACK
    assert failure_reason(JAVA_TRACE) == "ValueError: no"


def test_the_innermost_cause_is_shown_with_what_is_said_around_it() -> None:
    inner = "Caused by: java.io.IOException: error=2, No such file"
    outer = "Caused by: java.io.IOException: Cannot run program: error=2, No such file"
    wrapper = "Caused by: java.lang.RuntimeException: java.io.IOException: error=2, No such file"
    shown = "java.io.IOException: Cannot run program: error=2, No such file"
    assert failure_reason(f"first\n{outer}\n\tat x\n{inner}\n\tat y") == shown
    assert failure_reason(f"first\n{wrapper}\n{inner}") == "java.io.IOException: error=2, No such file"
    option = "Could not parse value 'abc' for key 'python.fn-execution.bundle.size'"
    wrapped = f"first\nCaused by: java.lang.IllegalArgumentException: {option}.\nCaused by: x.Y: abc"
    assert failure_reason(wrapped) == option
    sent = "Caused by: x.Y: Failed to send data to Kafka fraud-2.late-0@-1 with P{closed=0}"
    refused = f"first\n{sent}\n\tat y\nCaused by: k.RecordTooLargeException: The request is too large."
    assert failure_reason(refused).startswith("topic fraud-2.late refuses a record as larger than its max")
    assert failure_reason("first\n\tat x") == "first"
    assert failure_reason("") == "unknown"


def test_progress_in_plain_lines_every_few_seconds() -> None:
    now = [0.0]
    out = io.StringIO()
    with Progress(Console(file=out), "windows", clock=lambda: now[0]) as progress:
        for second in range(12):
            now[0] = float(second)
            progress.show(Counter(read=second * 1000, predicted=second, dead=2, late=1))
    assert out.getvalue().splitlines() == [
        "read 5,000  predicted 5 windows  late 1  dead 2  1,000 records/s",
        "read 10,000  predicted 10 windows  late 1  dead 2  1,000 records/s",
    ]


def test_progress_survives_a_restart_of_the_counters() -> None:
    progress = Progress(Console(file=io.StringIO()), "records", clock=lambda: 0.0)
    progress.line(Counter(read=5000), 1.0)
    assert progress.line(Counter(read=10), 2.0) == "read 10  predicted 0  late 0  dead 0  0 records/s"
    assert progress.line(Counter(), 3.0) == "nothing read yet"


def test_progress_can_be_left_out() -> None:
    now, out = [0.0], io.StringIO()
    with Progress(Console(file=out, force_terminal=True), "records", shown=False, clock=lambda: now[0]) as p:
        for now[0] in (1.0, 20.0):
            p.show(Counter(read=1))
    assert out.getvalue() == ""


def test_summary_names_windows() -> None:
    counts = Counter(predicted=1234, dead=1)
    assert summary(counts, "records") == "predicted 1,234  late 0  dead 1"
    assert summary(counts, "windows") == "predicted 1,234 windows  late 0  dead 1"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (61, "1m 1s"), (3600, "1h 0m"), (90_000, "1d 1h")])
def test_durations_are_rough(seconds: int, text: str) -> None:
    assert rough(seconds) == text


def test_logs_are_json_unless_text_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging({})
    structlog.get_logger().info("topic_created", topic="t", partitions=2)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["topic"], line["partitions"]) == (
        "topic_created",
        "info",
        "t",
        2,
    )
    configure_logging({"TAILRACE_LOG": "text"})
    structlog.get_logger().warning("preflight", message="odd")
    text = capsys.readouterr().err
    assert "preflight" in text
    assert "message=odd" in text
    assert not text.startswith("{")
    with pytest.raises(InputError, match="TAILRACE_LOG must be json or text; got 'xml'"):
        configure_logging({"TAILRACE_LOG": "xml"})


def test_an_interrupt_is_not_logged_but_errors_are(caplog: pytest.LogCaptureFixture) -> None:
    configure_logging({})
    for raised in (KeyboardInterrupt(), ValueError("no")):
        try:
            raise raised
        except BaseException as error:
            logging.error("while sending command", exc_info=error)
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [raised]


def test_an_interrupt_is_one_line_and_what_follows_is_ignored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The adversary is who asks twice: the second signal would show the traceback of the first one's end."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    handled: list[tuple[object, ...]] = []
    monkeypatch.setattr(cli, "app", interrupted)
    monkeypatch.setattr(signal, "signal", lambda *given: handled.append(given))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "interrupted\n")
    assert handled == [(signal.SIGINT, signal.SIG_IGN), (signal.SIGTERM, signal.SIG_IGN)]


@pytest.mark.parametrize("url", ["collector:4318", "ftp://x/y", "http://x y"])
def test_a_collector_is_a_url(tailrace: Tailrace, url: str) -> None:
    code, _, error = tailrace("up", "--otlp", url)
    assert (code, "--otlp must be http://host:port/path or https://host/path" in error) == (2, True)


@pytest.mark.parametrize("command", ["run", "submit"])
def test_a_job_that_would_never_end_is_refused_before_anything_is_asked(
    tailrace: Tailrace, command: str
) -> None:
    """Partitions of a savepoint have the end that they were made with, which is none."""
    code, _, said = tailrace(command, "rides.yaml", "--bounded", "--savepoint", "nowhere")
    assert code == 2
    assert "--bounded and a savepoint cannot go together" in said
