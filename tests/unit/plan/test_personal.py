"""Personal data is followed by column: who renames, derives, joins or aggregates it gains nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flink_jobs.errors import JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, describe
from flink_jobs.plan.columns import job_columns
from flink_jobs.plan.personal import personal_columns
from flink_jobs.plan.validate import validated_plan
from flink_jobs.spec import JobSpec
from tests.helpers.samples import write_model
from udfs.profile.profile import reference_profile
from udfs.scoring.params import ScoreParams

ROOT = Path(__file__).resolve().parents[3]
HASH_KEY, ENCRYPT_KEY = "sixteen bytes or more", "00" * 32
ENVIRON = {"HASH_KEY": HASH_KEY, "ENCRYPT_KEY": ENCRYPT_KEY, "SHORT": "fifteen bytes!!"}
SCHEMA: dict[str, Any] = {
    "email": {"type": "string", "pii": "hash"},
    "card": {"type": "string", "pii": "drop"},
    "age": {"type": "long", "pii": "mask"},
    "amount": {"type": "double", "required": True},
    "city": {"type": "string"},
}


def job_data(**sections: Any) -> dict[str, Any]:
    return {
        "job": "private",
        "source": {"topic": "orders", "schema": SCHEMA},
        "model": {"name": "sums", "registry": "models", "inputs": {"first": "amount"}},
        **sections,
    }


def labels(tmp_path: Path, **sections: Any) -> dict[str, str]:
    job = load(tmp_path, **sections)
    return {name: label.treatment for name, label in personal_columns(job, job_columns(job)).items()}


def load(tmp_path: Path, **sections: Any) -> JobSpec:
    return load_job_text(json.dumps(job_data(**sections)), "job.yaml", tmp_path, ENVIRON)


def planned(tmp_path: Path, **sections: Any) -> Plan:
    rows = pa.table({"first": np.arange(100.0)})
    profile = reference_profile(rows, pa.table({"score": rows["first"]}))
    if not (tmp_path / "models").exists():
        write_model(tmp_path / "models", "sums", "first", profile=profile)
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(job_data(**sections)))
    return validated_plan(path, environ=ENVIRON)


def score_params(plan: Plan) -> ScoreParams:
    params = plan.views.functions["score_record"].params
    assert isinstance(params, ScoreParams)
    return params


def refused(tmp_path: Path, **sections: Any) -> list[str]:
    with pytest.raises(JobFileError) as error:
        planned(tmp_path, **sections)
    return [str(each).partition(": ")[2] for each in error.value.diagnostics]


DERIVED = {
    "masked": "LOWER(email)",
    "twice": "UPPER(masked)",
    "flag": "email IS NOT NULL",
    "both": "email || card",
    "older": "age > 17",
    "plain": "amount * 2",
}


def test_derived_columns_carry_the_strictest_label_of_what_they_use(tmp_path: Path) -> None:
    assert labels(tmp_path, features={"derive": DERIVED}) == {
        "email": "hash",
        "card": "drop",
        "age": "mask",
        "masked": "hash",
        "twice": "hash",
        "flag": "hash",
        "both": "drop",
        "older": "mask",
    }


def test_windows_carry_labels_of_arguments_and_conditions_but_not_of_counts(tmp_path: Path) -> None:
    select = {
        "last_email": "last(email)",
        "mean_age": "avg(age)",
        "of_ann": "sum(amount where email = 'ann')",
        "emails": "count(distinct email)",
        "spent": "sum(amount)",
        "since": "time_since_last()",
    }
    features = {
        "windows": {"w": {"by": "email", "rows": 3, "select": select}},
        "derive": {"x": "mean_age + 1"},
    }
    found = labels(tmp_path, features=features)
    assert {name: found.get(name) for name in [*select, "x"]} == {
        "last_email": "hash",
        "mean_age": "mask",
        "of_ann": "hash",
        "x": "mask",
        "emails": None,
        "spent": None,
        "since": None,
    }


def test_what_a_lookup_finds_by_a_personal_key_is_personal_too(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("email,street,phone\nann@x.org,Main,1\n")
    (tmp_path / "towns.csv").write_text("city,mayor\nBonn,Bob\n")
    features = {
        "lookups": {
            "people": {"file": "people.csv", "by": "email", "select": ["street"]},
            "towns": {
                "file": "towns.csv",
                "by": "city",
                "select": {"mayor": {"column": "mayor", "pii": "encrypt"}},
            },
        },
        "derive": {"where": "street || ', ' || city", "greeting": "'Dear ' || mayor"},
    }
    found = labels(tmp_path, features=features)
    expected = {"street": "hash", "where": "hash", "mayor": "encrypt", "greeting": "encrypt"}
    assert {name: found.get(name) for name in expected} == expected


def test_declassify_is_the_one_way_out_and_is_shown_with_its_reason(tmp_path: Path) -> None:
    free = [{"column": "older", "reason": "a bit of the age, agreed with legal"}]
    features = {"derive": {**DERIVED, "shown": "NOT older"}}
    assert "older" not in labels(tmp_path, features=features, privacy={"declassify": free})
    plan = planned(
        tmp_path, features=features, privacy={"declassify": free}, predictions={"include": ["shown"]}
    )
    assert score_params(plan).source.privacy.columns.keys() == {
        *("email", "card", "age", "masked", "twice", "flag", "both")
    }
    for text in (describe.as_text(plan), describe.privacy_text(plan)):
        assert "a bit of the age, agreed with legal" in text
        assert "of age: age > 17" in text


@pytest.mark.parametrize(
    ("declassify", "expected"),
    [
        (
            {"column": "email", "reason": "no"},
            "a column made of personal data; a field without it has no pii",
        ),
        ({"column": "plain", "reason": "no"}, "a column made of personal data; got 'plain', which is not"),
        ({"column": "oldr", "reason": "no"}, "did you mean 'older'?"),
        ({"column": "older", "reason": " "}, "privacy.declassify[0].reason: must be a reason, in a line"),
        ({"column": "older"}, "privacy.declassify[0].reason: must be"),
    ],
)
def test_declassify_names_a_column_made_of_personal_data_and_a_reason(
    tmp_path: Path, declassify: dict[str, str], expected: str
) -> None:
    (found,) = refused(tmp_path, features={"derive": DERIVED}, privacy={"declassify": [declassify]})
    assert expected in found


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (
            {"predictions": {"include": ["masked"]}},
            "must be a column without pii: hash, unless predictions.pii_key is given; "
            "got 'masked', made of email (LOWER(email))",
        ),
        (
            {"predictions": {"include": ["both"], "pii_key": "${HASH_KEY}"}},
            "must be a column without pii: drop; got 'both', made of email, card (email || card)",
        ),
        (
            {"drift": {"window": "1h", "segments": ["flag"]}},
            "must be a column without personal data; got 'flag', made of email",
        ),
        (
            {"quality": {"segments": ["flag"]}},
            "must be a column without personal data; got 'flag', made of email",
        ),
        (
            {"drift": {"window": "1h", "duplicates": "masked"}},
            "must be left out for personal data, unless predictions.pii_key is given; got 'masked'",
        ),
        ({"dead_letters": {"pii": "encrypt"}}, "unless privacy.encrypt_key is given"),
        ({"late": {"pii": "encrypt"}}, "unless privacy.encrypt_key is given"),
        (
            {"predictions": {"pii_key": "${SHORT}"}},
            "predictions.pii_key: must be a key of at least 16 bytes; got a shorter one (not shown)",
        ),
        (
            {"privacy": {"encrypt_key": "${SHORT}"}},
            "privacy.encrypt_key: must be a key of 32 bytes, as base64 or hex digits; got",
        ),
        ({"privacy": {"encrypt_key": ENCRYPT_KEY}}, "must be a secret from the environment"),
    ],
)
def test_exits_of_derived_columns_are_closed(tmp_path: Path, sections: dict[str, Any], expected: str) -> None:
    found = refused(tmp_path, features={"derive": DERIVED}, **sections)
    assert any(expected in each for each in found), found
    assert not any(secret in each for each in found for secret in (ENVIRON["SHORT"], ENCRYPT_KEY))


def test_keys_of_records_have_a_label_of_their_own(tmp_path: Path) -> None:
    source = {"topic": "orders", "key_pii": "hash", "schema": SCHEMA}
    assert "source.key_pii" in refused(tmp_path, source=source)[0]
    plan = planned(tmp_path, source=source, predictions={"pii_key": "${HASH_KEY}"})
    assert "SELECT r._result._safe_key AS _key, " in plan.views.inserts["predictions"]


def test_the_event_time_is_no_place_for_a_label(tmp_path: Path) -> None:
    schema = {**SCHEMA, "born": {"type": "long", "pii": "drop"}}
    source = {"topic": "orders", "schema": schema, "event_time": {"field": "born"}}
    (found,) = refused(tmp_path, source=source)
    assert "source.schema.born.pii: must be left out for the event time" in found


@pytest.mark.parametrize("output", ["dead_letters", "late"])
def test_whole_records_are_dropped_unless_the_job_says_otherwise(tmp_path: Path, output: str) -> None:
    def insert(**sections: Any) -> str:
        return planned(tmp_path, **sections).views.inserts[output]

    nothing = "SELECT CAST(NULL AS BYTES), CAST(NULL AS BYTES), MAP["
    assert nothing in insert()
    fits = "CASE WHEN _size <= 2031640 THEN"
    assert f"{fits} _key END, {fits} _value END, {fits} MAP_UNION(" in insert(**{output: {"pii": "keep"}})
    sealed = insert(**{output: {"pii": "encrypt"}}, privacy={"encrypt_key": "${ENCRYPT_KEY}"})
    assert f"{fits} CAST(NULL AS BYTES) END, {fits} _value END, " in sealed
    assert "MAP_UNION" not in sealed
    assert "r._result._sealed AS _value" in sealed
    public = {name: {**field, "pii": None} for name, field in SCHEMA.items()}
    assert f"{fits} _value END, {fits} MAP_UNION(" in insert(source={"topic": "orders", "schema": public})


def test_no_secret_is_shown(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        features={"derive": DERIVED},
        predictions={"include": ["masked"], "pii_key": "${HASH_KEY}"},
        dead_letters={"pii": "encrypt"},
        privacy={"encrypt_key": "${ENCRYPT_KEY}"},
    )
    shown = f"{plan!r}{plan.views.functions['score_record'].params!r}{describe.as_data(plan)}"
    shown += (
        describe.as_text(plan)
        + describe.as_sql(plan)
        + describe.privacy_text(plan)
        + plan.job.model_dump_json()
    )
    assert HASH_KEY not in shown
    assert ENCRYPT_KEY not in shown


def test_the_privacy_of_a_plan_names_each_place(tmp_path: Path) -> None:
    window = {"by": "email", "over": "1h", "select": {"n": "count(*)", "oldest": "max(age)"}}
    plan = planned(
        tmp_path,
        features={"windows": {"w": window}, "derive": DERIVED},
        predictions={"include": ["masked"], "pii_key": "${HASH_KEY}"},
        model={"name": "sums", "registry": "models", "inputs": {"first": "oldest"}},
        drift={"window": "1h", "duplicates": True},
        dead_letters={"pii": "encrypt"},
        privacy={"encrypt_key": "${ENCRYPT_KEY}"},
    )
    places = {
        (place["kind"], place["name"]): place["holds"]
        for place in describe.as_data(plan)["privacy"]["places"]
    }
    assert places == {
        ("topic", "orders"): "whole records, as they came",
        ("topic", "private.predictions"): "keys as the source has them; masked as keyed hashes",
        ("topic", "private.dead-letters"): "whole records, encrypted",
        ("topic", "private.late"): "no record, only its coordinates and the reason",
        ("topic", "private.drift"): "none",
        ("topic", "private.alerts"): "none",
        ("state", "records that wait for the watermark"): "whole records, as they came",
        ("state", "window w"): "email, age, as they came",
        ("state", "repeated keys of drift"): "64 bits of a hash of each key",
        ("file", "model sums"): "golden rows and profile of first, as the maker gave them",
    }


def test_tables_of_topics_and_databases_are_places_of_what_they_are_looked_up_for(tmp_path: Path) -> None:
    select = {"street": {"column": "street", "type": "string"}}
    lookups = {
        "people": {"topic": "people", "by": "email", "select": select, "wait": "5m"},
        "phones": {
            "database": {"file": "phones.sqlite"},
            "table": "phones",
            "by": "city",
            "select": {"phone": {"column": "phone", "type": "string", "pii": "drop"}},
        },
    }
    places = {
        (place["kind"], place["name"]): (place["holds"], place["until"])
        for place in describe.as_data(planned(tmp_path, features={"lookups": lookups}))["privacy"]["places"]
    }
    held, until = places["state", "table people"]
    assert (held, until.startswith("until the row changes, and 5m")) == ("email, street, as they came", True)
    assert places["database", str(tmp_path / "phones.sqlite")][0] == "what lookup phones reads"


def test_an_input_made_of_personal_data_is_not_watched(tmp_path: Path) -> None:
    """Its `unseen_examples` were records' own values."""
    model = {"name": "sums", "registry": "models", "inputs": {"first": "spent"}}
    features = {"derive": {"spent": "amount + age"}}
    plan = planned(tmp_path, features=features, model=model, drift={"window": "1h"})
    assert plan.drift is not None
    assert plan.drift.collect.columns == ()
    model_params = score_params(plan).model
    assert model_params
    follow = model_params.follow
    assert follow
    assert "spent" not in follow.watched
    assert "amount" in follow.watched


def test_the_example_of_the_docs_is_a_job(tmp_path: Path) -> None:
    (block, *_) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "privacy.md").read_text(), re.DOTALL)
    write_model(tmp_path / "models", "m", "amount")
    (tmp_path / "job.yaml").write_text(f"job: orders\nmodel: {{name: m, registry: models}}\n{block}")
    environ = {"PII_KEY": HASH_KEY, "ENCRYPT_KEY": ENCRYPT_KEY}
    plan = validated_plan(tmp_path / "job.yaml", environ=environ)
    assert {name: label.treatment for name, label in plan.labels.items()} == {
        "email": "hash",
        "phone": "mask",
        "ssn": "encrypt",
        "name": "drop",
        "address": "hash",
    }
    assert "named" in plan.columns.columns
