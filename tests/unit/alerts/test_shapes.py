"""Bodies of notifications against the services' documented formats, with texts that would be markup there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from tests.helpers.alerts import alert, time
from tests.helpers.examples import sized
from udfs.alerts.incidents import IncidentRecord, Incidents, advance
from udfs.alerts.shapes import Format, ShapeParams, shaped

SCHEMAS = Path(__file__).parent / "schemas"
FORMATS: list[Format] = ["slack", "pagerduty", "alertmanager"]
KEY = "0123456789abcdef0123456789abcdef"
HOSTILE = "<!channel> & *bold* <https://evil.example|click>"


def incidents(message: str = "score moved", job: str = "flights") -> list[IncidentRecord]:
    """One that fires, becomes critical, and is over."""
    score = alert("score", damage="outputs", message=message, job=job)
    auc = alert("realized-quality/1", 2, "realized", message="AUC 0.81", job=job)
    over = [alert(each.id, 4, each.damage, state="resolved", job=job) for each in (score, auc)]  # type: ignore[arg-type]
    state: Incidents = {}
    found = []
    for alerts in ([score], [auc], over):
        state, told = advance(state, alerts)
        found += told
    assert [each.state for each in found] == ["firing", "updated", "resolved"]
    return found


def body(form: Format, incident: IncidentRecord, **more: str) -> Any:
    params = ShapeParams(form, routing_key=KEY if form == "pagerduty" else None, **more)
    return msgspec.json.decode(shaped(params, msgspec.json.encode(incident)))


def check(form: Format, made: Any) -> None:
    schema = msgspec.json.decode((SCHEMAS / f"{form}.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(made)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("runbook", [None, "https://wiki.example.org/drift?a=1&b=2"])
def test_each_state_is_as_the_service_documents_it(form: Format, runbook: str | None) -> None:
    more = {"runbook_url": runbook} if runbook else {}
    for incident in incidents():
        made = body(form, incident, **more)
        check(form, made)
        assert ("wiki.example.org" in str(made)) == (runbook is not None)


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=sized(100, 10))
@given(
    message=st.text(min_size=1, max_size=60).map(lambda text: text * 200), job=st.text(min_size=1, max_size=9)
)
def test_no_text_is_too_long_or_breaks_the_form(form: Format, message: str, job: str) -> None:
    for incident in incidents(message, job):
        check(form, body(form, incident))


def test_slack_says_when_the_worst_began_and_not_only_the_first_sign() -> None:
    """A harmless rise that was open for ten hours, and then a break: the break is what a person looks for."""
    score = alert("score", damage="outputs", since=time(0))
    state, _ = advance({}, [score])
    broken = alert("score", 11, "outputs", state="updated", changed=("larger", "turned"), since=time(0))
    _, [told] = advance(state, [broken])
    facts = body("slack", told)["blocks"][-1]["elements"][0]["text"]
    assert facts.startswith("since 2026-01-01 10:00 (first sign 2026-01-01 00:00)")


def test_slack_shows_hostile_text_as_text() -> None:
    """Slack's documentation asks for three escapes; without them a value could ping a channel."""
    made = str(body("slack", incidents(HOSTILE)[0]))
    assert "&lt;!channel&gt; &amp;" in made
    assert "<!channel>" not in made
    assert "<https://evil" not in made


def test_pagerduty_knows_that_all_are_one_incident() -> None:
    made = [body("pagerduty", incident) for incident in incidents()]
    assert [event["event_action"] for event in made] == ["trigger", "trigger", "resolve"]
    assert [event["payload"]["severity"] for event in made] == ["warning", "critical", "critical"]
    assert len({event["dedup_key"] for event in made}) == 1
    assert {event["routing_key"] for event in made} == {KEY}


def test_alertmanager_knows_it_by_labels_that_stay_and_holds_it_until_it_is_over() -> None:
    made = [body("alertmanager", incident)[0] for incident in incidents()]
    assert made[0]["labels"] == made[1]["labels"] == made[2]["labels"]
    assert [each["annotations"]["severity"] for each in made] == ["warning", "critical", "critical"]
    assert made[1]["endsAt"] > "2026-12"
    assert made[2]["endsAt"] == time(4)
    assert all(each["startsAt"] <= each["endsAt"] for each in made)


@pytest.mark.parametrize("form", ["incident", "alert"])
def test_our_own_form_goes_as_it_is(form: Format) -> None:
    data = msgspec.json.encode(incidents()[0])
    assert shaped(ShapeParams(form), data) == data


@pytest.mark.parametrize("form", FORMATS)
def test_an_alert_that_an_earlier_version_left_in_the_state_does_not_stop_the_job(form: Format) -> None:
    data = msgspec.json.encode(alert("a"))
    assert shaped(ShapeParams(form, routing_key=KEY), data) == data


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(ShapeParams("pagerduty", routing_key=KEY))
