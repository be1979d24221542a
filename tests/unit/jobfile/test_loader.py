"""Job files as people write them: what loads, and what exactly is said about what does not."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.errors import InputError, JobFileError
from flink_jobs.jobfile import LARGEST_FILE, load_job, load_job_text, reader
from flink_jobs.jobfile.reader import DEEPEST, MOST_VALUES
from flink_jobs.spec import JobSpec
from flink_jobs.spec.json_schema import job_schema, job_schema_text
from tests.helpers.examples import examples
from tests.helpers.job_files import (
    ENVIRON,
    GOOD,
    GOOD_DATA,
    PLACES,
    TREES,
    WRONG_FILES,
    WrongFile,
    parsed,
)

ROOT = Path(__file__).parents[3]
SMALL = """\
job: small
source:
  topic: in
  schema: {x: double}
model: {name: m}
"""


def load(text: str | bytes, environ: dict[str, str] | None = None, base: Path = Path("/jobs")) -> JobSpec:
    return load_job_text(text, "job.yaml", base, ENVIRON if environ is None else environ)


def messages(text: str | bytes, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(JobFileError) as caught:
        load(text, environ)
    return [str(problem) for problem in caught.value.diagnostics]


@pytest.mark.parametrize("case", WRONG_FILES, ids=lambda case: case.name)
def test_one_mistake_gives_one_message(case: WrongFile) -> None:
    assert messages(case.text()) == [case.message]


def test_messages_never_hold_a_secret_or_the_validators_words() -> None:
    everything = "\n".join(case.message for case in WRONG_FILES)
    for word in ("hunter2", "pydantic", "Input should", "extra_forbidden", "HOLE", "NoneType"):
        assert word not in everything


def test_all_problems_come_at_once_in_the_order_of_lines() -> None:
    changes = [
        ("job: flight-delay", "job: Flight"),
        ("dep_delay: {type: double", "dep_delay: {type: doubl"),
        ("over: 1h", "over: 1"),
        ("count(*)", "count(carrier)"),
        ("latency: balanced", "latency: quick\n  speed: 9"),
        ("delivery: exactly_once", "delivery: ${DELIVERY}"),
    ]
    text = GOOD
    for old, new in changes:
        text = text.replace(old, new)
    found = [message.split(": ")[1] for message in messages(text)]
    assert found == [
        "job",
        "source.schema.dep_delay.type",
        "features.windows.origin_1h.over",
        "features.windows.origin_1h.select.departures",
        "runtime.latency",
        "runtime.speed",
        "runtime.delivery",
    ]


def test_a_misspelled_section_does_not_make_its_names_unknown() -> None:
    text = GOOD.replace("features:", "featurs:")
    assert [message.split(": ")[1] for message in messages(text)] == ["featurs"]


def test_a_wrong_item_does_not_make_its_list_too_short() -> None:
    found = messages(GOOD.replace("by: [tailnum]", "by: [7]"))
    assert found == ["job.yaml:41:12: features.windows.plane_last.by[0]: must be the name of a column; got 7"]


def test_control_characters_are_escaped_in_messages() -> None:
    assert messages("job: *a\U00012544\n")[-1].endswith(r"got the alias *a\U00012544")
    text = SMALL + '"\\e[2J": 1\n'
    assert "\x1b" not in "".join(messages(text))


def test_very_many_problems_are_counted_not_listed() -> None:
    found = messages(SMALL + "".join(f"key{index}: 1\n" for index in range(500)))
    assert len(found) == 101
    assert found[-1] == "job.yaml:106:1: file: must be a job file with fewer than 100 problems; got 500"


def test_the_smallest_job_gets_all_defaults() -> None:
    job = load(SMALL)
    assert (job.kind, job.score, job.kafka.brokers, job.kafka.create_topics) == (
        "score",
        "per_event",
        "localhost:9092",
        True,
    )
    assert (job.source.format, job.source.start, job.source.max_bytes) == ("json", "earliest", 512_000)
    event_time = job.source.event_time
    assert (event_time.field, event_time.header, event_time.unit) == (None, None, "ms")
    assert (event_time.out_of_order, event_time.idle, event_time.max_ahead) == (5_000, 30_000, 3_600_000)
    assert (job.predictions.topic, job.dead_letters.topic, job.late.topic) == (
        "small.predictions",
        "small.dead-letters",
        "small.late",
    )
    assert (job.model.use, job.model.threshold, job.model.registry) == ("champion", 0.5, Path("/jobs/models"))
    assert job.runtime.model_dump() == {
        "parallelism": 1,
        "latency": "balanced",
        "delivery": "exactly_once",
        "checkpoint": {"interval": None, "dir": None},
        "python": None,
        "artifacts": None,
        "flink": {},
        "overrides": {},
    }


def test_the_full_job_reads_as_written() -> None:
    job = load(GOOD)
    window = job.features.windows["plane_last"]
    assert (window.kind, window.size, window.by) == ("rows", 10, ("tailnum",))
    assert {name: str(aggregate) for name, aggregate in window.select.items()} == {
        "previous_delay": "lag(dep_delay, 1)"
    }
    assert job.features.windows["origin_1h"].over == 3_600_000
    assert job.source.fields["distance"].type == "long"
    assert (job.source.fields["dep_delay"].low, job.source.fields["dep_delay"].high) == (-120, 2000)
    assert job.features.lookups["planes"].columns == {"year_built": "year_built"}
    assert job.features.lookups["planes"].key == ("tailnum",)
    assert job.kafka.properties == {"linger.ms": "5"}


def test_paths_are_taken_from_the_folder_of_the_job_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "job.yaml").write_text(GOOD.replace("registry: models", "registry: ../models"))
    monkeypatch.chdir(tmp_path)
    job = load_job("conf/job.yaml", ENVIRON)
    assert job.model.registry == tmp_path / "models"
    assert job.features.lookups["planes"].file == tmp_path / "conf" / "planes.parquet"
    assert job.runtime.checkpoint.dir == str(tmp_path / "conf" / "state")
    assert job.kafka.security is not None
    assert job.kafka.security.ca_file == tmp_path / "conf" / "ca.pem"


def test_a_checkpoint_folder_can_be_a_uri_or_absolute() -> None:
    for place in ("s3://bucket/state", "/var/state"):
        assert load(GOOD.replace("dir: state", f"dir: {place}")).runtime.checkpoint.dir == place


@pytest.mark.parametrize(
    ("written", "environ", "read"),
    [
        ("${P}", {"P": "3"}, 3),
        ("${P:-4}", {}, 4),
        ("${P:-4}", {"P": ""}, 4),
        ("0x10", {}, 16),
    ],
)
def test_numbers_from_variables(written: str, environ: dict[str, str], read: int) -> None:
    text = SMALL + f"runtime:\n  parallelism: {written}\n"
    assert load(text, environ).runtime.parallelism == read


def test_a_quoted_variable_stays_text_and_the_message_says_so() -> None:
    found = messages(SMALL + 'runtime: {parallelism: "${P}"}\n', {"P": "3"})
    assert found == [
        "job.yaml:6:11: runtime.parallelism: must be an integer from 1 to 4096; "
        "got the value of ${P}, in quotes (not shown)"
    ]


def test_variables_inside_text_and_dollar_signs() -> None:
    text = SMALL.replace("topic: in", "topic: ${TEAM}.in.${STAGE:-test}")
    text += "features: {derive: {price: \"'$$' || '$x'\"}}\n"
    job = load(text, {"TEAM": "air"})
    assert job.source.topic == "air.in.test"
    assert job.features.derive["price"] == "'$' || '$x'"


def test_a_variable_cannot_bring_in_yaml() -> None:
    found = messages(SMALL.replace("{name: m}", "\n  name: ${NAME}"), {"NAME": "m\nuse: 3"})
    assert len(found) == 1
    assert "model.name" in found[0]


@pytest.mark.parametrize("word", ["no", "on", "yes", "NO", "2013-01-01", "1_000", "1:30"])
def test_scalars_follow_yaml_1_2(word: str) -> None:
    text = SMALL.replace("{x: double}", f"{{x: {{type: string, values: [{word}]}}}}")
    assert load(text).source.fields["x"].values == (word,)


def test_secrets_from_the_environment_and_from_a_file_stay_hidden(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0042\n")
    job = load(GOOD.replace("predictions:", "predictions:\n  pii_key: {file: key}"), base=tmp_path)
    assert job.predictions.pii_key is not None
    assert job.kafka.security is not None
    assert job.kafka.security.password is not None
    assert job.predictions.pii_key.get_secret_value() == "0042"
    assert job.kafka.security.password.get_secret_value() == "hunter2"
    shown = repr(job) + str(job) + job.model_dump_json() + json.dumps(job_schema())
    assert "hunter2" not in shown
    assert "0042" not in shown


def test_a_secret_of_digits_keeps_its_zeros() -> None:
    security = load(GOOD, {"KAFKA_PASSWORD": "0042"}).kafka.security
    assert security is not None
    assert security.password is not None
    assert security.password.get_secret_value() == "0042"


def test_options_that_look_secret_are_hidden() -> None:
    text = GOOD.replace("linger.ms: 5", 'ssl.key.password: "${HIDDEN}"').replace(
        "taskmanager.numberOfTaskSlots: 2", 's3.secret-key: "${HIDDEN}"'
    )
    job = load(text, {**ENVIRON, "HIDDEN": "topsecret"})
    assert job.kafka.properties["ssl.key.password"] == "topsecret"
    assert "topsecret" not in repr(job) + job.model_dump_json()


def test_a_secret_file_must_hold_something(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, found in (("empty", "an empty file at"), ("binary", "not UTF-8 text"), (".", "Is a directory")):
        with pytest.raises(JobFileError, match=found):
            load(GOOD.replace("${KAFKA_PASSWORD}", f"{{file: {name}}}"), base=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "job.yaml:1:1: file: must be a mapping of keys such as job, source and model; got an empty file",
        ),
        (
            "# x\n",
            "job.yaml:1:1: file: must be a mapping of keys such as job, source and model; got an empty file",
        ),
        (
            "- a\n",
            "job.yaml:1:1: file: must be a mapping of keys such as job, source and model; got a list",
        ),
        (
            "flights",
            "job.yaml:1:1: file: must be a mapping of keys such as job, source and model; got plain text",
        ),
        (
            b"job: a\nx: \xff\n",
            "job.yaml:2:4: file: must be UTF-8 text; got the byte 0xff at byte 4 of the line",
        ),
    ],
)
def test_files_that_are_no_job(text: str | bytes, message: str) -> None:
    assert messages(text) == [message]


def test_hostile_yaml_is_refused_without_work(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{name}: &{name} [*a, *a]\n" for name in "bcdefgh")
    assert all("aliases are not read" in m or "known key" in m or "given" in m for m in messages(bomb))
    assert messages("[" * 100_000) == [
        f"job.yaml:1:{DEEPEST + 2}: file: must be nested at most {DEEPEST} levels deep; got more"
    ]
    assert messages("? " + "[" * 100_000)[0].endswith("got more")
    most = MOST_VALUES // 10  # To reach the limit itself takes a second.
    monkeypatch.setattr(reader, "MOST_VALUES", most)
    assert messages("x: [" + "1," * (most + 1) + "]") == [
        f"job.yaml:1:{2 * most + 1}: file: must be a file of at most {most} values; got more"
    ]


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "flights.yaml").write_text(SMALL)
    (tmp_path / "large.yaml").write_text("#" * (LARGEST_FILE + 1))
    wrong = {
        "flight.yaml": f"got no file at {tmp_path}/flight.yaml; did you mean '{tmp_path}/flights.yaml'?",
        "nowhere/job.yaml": f"got no file at {tmp_path}/nowhere/job.yaml",
        ".": f"got a directory at {tmp_path}",
        "flights.yaml/job.yaml": f"got Not a directory at {tmp_path}/flights.yaml/job.yaml",
        "large.yaml": f"must be a job file of at most 128 KiB; got a larger one at {tmp_path}/large.yaml",
    }
    for name, message in wrong.items():
        with pytest.raises(InputError) as caught:
            load_job(tmp_path / name)
        assert str(caught.value).endswith(message)


@settings(max_examples=examples(100))
@given(st.sampled_from(PLACES), TREES)
def test_any_value_in_any_place_loads_or_is_explained(place: tuple[Any, ...], value: Any) -> None:
    data = copy.deepcopy(GOOD_DATA)
    node = data
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    assert_explained(json.dumps(data))


@settings(max_examples=examples(100))
@given(TREES)
def test_any_data_loads_or_is_explained(data: Any) -> None:
    assert_explained(json.dumps(data))


@settings(max_examples=examples(100))
@given(
    st.text(alphabet=st.characters(codec=None), max_size=30)
    | st.text("{}[]:,-?&*!|>'\"%@`#$ \n\tab0", max_size=30)
)
def test_any_text_loads_or_is_explained(text: str) -> None:
    assert_explained(text)
    assert_explained(f"job: {text}")


def assert_explained(text: str) -> None:
    try:
        load(text)
    except JobFileError as error:
        for problem in error.diagnostics:
            assert (problem.line or 0) >= 1
            assert (problem.column or 0) >= 1
            assert str(problem).isprintable()
            assert problem.expected != "valid"
            str(problem).encode()


def test_the_committed_schema_is_current() -> None:
    committed = (ROOT / "conf" / "job.schema.json").read_text()
    assert committed == job_schema_text(), "run `tailrace schema > conf/job.schema.json`"


def test_the_schema_accepts_good_files() -> None:
    jsonschema.Draft202012Validator.check_schema(job_schema())
    validator = jsonschema.Draft202012Validator(job_schema())
    for text in (GOOD, SMALL, SMALL + "runtime: {parallelism: '${P}', latency: '${L:-low}'}\n"):
        assert [error.message for error in validator.iter_errors(parsed(text))] == []


def test_the_schema_sees_what_needs_no_other_key() -> None:
    validator = jsonschema.Draft202012Validator(job_schema())
    parsable = {case: data for case in WRONG_FILES if (data := parsed_or_none(case.text())) is not None}
    seen = {case.name: not validator.is_valid(data) for case, data in parsable.items()}
    assert seen == {case.name: case.seen_by_schema for case in parsable}
    assert sum(seen.values()) > 60


def parsed_or_none(text: str) -> Any:
    try:
        return parsed(text)
    except Exception:
        return None


def test_every_key_has_a_description() -> None:
    schema = job_schema()
    for name, section in [("job file", schema), *schema["$defs"].items()]:
        for key, value in section.get("properties", {}).items():
            assert value.get("description"), f"{name}: {key}"
