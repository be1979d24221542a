"""What a job's drift section becomes, and where it does not fit the model's reference profile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from flink_jobs.errors import InputError, JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, make_plan
from flink_jobs.plan.describe import as_data, as_text
from flink_jobs.registry import Registry
from udfs.alerts.shapes import ShapeParams
from udfs.alerts.webhook import WebhookParams
from udfs.drift.alert_rules import DEFAULT_RULES
from udfs.drift.params import RecentParams, SequentialParams
from udfs.model.manifest import Input, Output, Signature
from udfs.profile.params import SegmentParams
from udfs.profile.profile import reference_profile

DAY = 86_400_000
JOB = """
job: homes
source:
  topic: homes
  schema:
    size: double
    rooms: {{type: long, pii: hash}}
    garden: boolean
    town: {{type: string, values: [bonn, rome]}}
    street: string
features: {{derive: {{per_room: size / 2.0}}}}
model: {{name: {model}, inputs: {{area: size}}}}
{sections}
"""
INPUTS = (
    Input(name="area", type="double"),
    Input(name="rooms", type="double"),
    Input(name="per_room", type="double"),
    Input(name="street", type="string"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plan")
    numbers = np.arange(200.0)
    rows = pa.table(
        {"area": numbers, "rooms": numbers % 7, "per_room": numbers / 2, "street": ["a", "b"] * 100}
    )
    outputs = pa.table({"prediction": numbers})
    for name, profile in (("prices", reference_profile(rows, outputs)), ("bare", {})):
        estimator = make_pipeline(SimpleImputer(strategy="most_frequent"), DummyRegressor())
        registry = Registry(root / "models")
        registry.write_version(
            name,
            model=estimator.fit(rows.to_pandas(), numbers),
            signature=Signature(inputs=INPUTS, output=Output(kind="regression")),
            golden_inputs=rows.slice(0, 5),
            profile=profile,
            metrics={},
            training={},
        )
        registry.promote(name, 1)
    return root


def plan(folder: Path, sections: str, model: str = "prices") -> Plan:
    return make_plan(load_job_text(JOB.format(model=model, sections=sections), "homes.yaml", folder))


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("reference: training", None),
        ("reference: trailing 28d", RecentParams("trailing", 28 * DAY, DAY)),
        ("reference: trailing 6h", RecentParams("trailing", DAY // 4, DAY // 24)),
        ("reference: year_ago 28d", RecentParams("year_ago", 28 * DAY, DAY, 350 * DAY)),
        (
            "window: 6h, reference: trailing 28d, seasonal: hour_of_week",
            RecentParams("trailing", 28 * DAY, DAY // 4, same_hours=True),
        ),
    ],
)
def test_what_is_kept_of_the_stream_follows_from_the_reference(
    folder: Path, section: str, expected: RecentParams | None
) -> None:
    """However short windows are, at most some dozens of stretches, unless hours are told apart."""
    made = plan(folder, f"drift: {{{section}}}")
    assert made.drift is not None
    assert made.drift.monitor.recent == expected


def test_without_a_drift_section_nothing_is_watched(folder: Path) -> None:
    made = plan(folder, "")
    assert made.drift is None
    assert made.views.parts is None
    assert [table.name for table in made.tables] == ["source", "predictions", "dead_letters", "late"]


def test_all_that_the_reference_has_is_watched_but_personal_data(folder: Path) -> None:
    made = plan(folder, "drift: {segments: [town, garden, street], max_segments: 1}").drift
    assert made is not None
    assert made.collect.columns == (("area", "size"), ("per_room", "per_room"), ("street", "street"))
    assert made.collect.segments == (
        SegmentParams("town", ("bonn",)),
        SegmentParams("garden", ("false",)),
        SegmentParams("street", ("a",)),
    )
    assert made.monitor.roles == {
        "area": "input",
        "per_room": "feature",
        "street": "input",
        "prediction": "prediction",
    }
    assert made.monitor.rules == DEFAULT_RULES
    assert (made.collect.window_ms, made.monitor.window_ms) == (3_600_000, 3_600_000)


def test_rules_and_columns_of_ones_own(folder: Path) -> None:
    rules = "alerts: {rules: {size: {on: drift, columns: [area], bad: 1, of: 2, cooldown: 1d}}}"
    single = "thresholds: {area: {psi: 0.2}}, min_effects: {area: 0.1}"
    made = plan(folder, f"drift: {{columns: [area], {single}}}\n{rules}").drift
    assert made is not None
    assert made.collect.columns == (("area", "size"),)
    assert made.monitor.settings.thresholds == {"area": {"psi": 0.2}}
    assert made.monitor.settings.min_effects == {"area": 0.1}
    (rule,) = made.monitor.rules
    assert (rule.name, rule.columns, rule.windows, rule.cooldown_ms) == (
        "size",
        ("area",),
        (1, 2),
        86_400_000,
    )


def test_the_sequential_detector_watches_the_output_by_default(folder: Path) -> None:
    made = plan(folder, "drift: {window: 6h, sequential: {run_length: 100h}}").drift
    assert made is not None
    assert made.monitor.sequential == SequentialParams(("prediction",), 1_800_000, 360_000_000)
    assert (made.collect.step_ms, made.collect.step_columns) == (1_800_000, ("prediction",))


def test_steps_of_part_of_a_day_are_warned_about_where_no_times_are_known(folder: Path) -> None:
    """A rhythm of the day is a change to them, unless the profile knows how alike rows near in time are."""

    def note(step: str) -> str | None:
        made = plan(folder, f"drift: {{window: 2d, sequential: {{step: {step}, run_length: 1000h}}}}")
        assert made.drift is not None
        return made.drift.note

    warned = note("6h") or ""
    assert warned.startswith("drift.sequential.step: with steps of 6h a rhythm of the day in prediction")
    assert "--event-time" in warned
    assert note("1d") is None
    whole = plan(folder, "drift: {window: 2d}").drift
    assert whole is not None
    assert whole.note is None


def test_rare_values_count_unless_a_job_says_what_matters(folder: Path) -> None:
    """Who demands that a tenth of the rows move is not to be told of one row in a thousand."""
    given = {"": 1.5, "min_effect: 0.1": None, "min_ratio: 3": 3.0, "min_effect: 0.1, min_ratio: 3": 3.0}
    for keys, expected in given.items():
        made = plan(folder, f"drift: {{{keys}}}").drift
        assert made is not None
        assert made.monitor.settings.min_ratio == expected
    off = plan(folder, "drift: {min_ratio: null}").drift
    assert off is not None
    assert off.monitor.settings.min_ratio is None


def test_a_webhook_is_told_in_full_to_the_worker_and_shown_to_nobody(folder: Path) -> None:
    text = 'drift: {}\nalerts: {webhook: {url: "${ADDRESS}", headers: {X-Key: "${KEY}"}, timeout: 2s}}'
    environ = {"ADDRESS": "https://hooks.example.org/T0/secret", "KEY": "hidden"}
    job = load_job_text(JOB.format(model="prices", sections=text), "homes.yaml", folder, environ)
    made = make_plan(job)
    assert made.drift is not None
    assert made.webhook == WebhookParams(
        environ["ADDRESS"], (("X-Key", "hidden"),), 2.0, 5, windows={"tailrace.drift/1": 3_600_000}
    )
    shown = f"{job!r}{made!r}{job.model_dump_json()}{made.drift!r}{as_data(made)}{as_text(made)}"
    assert not any(secret in shown for secret in ("T0/secret", "hidden"))


def test_a_service_is_told_in_its_own_form(folder: Path) -> None:
    sections = (
        'drift: {window: 6h}\nquality: {}\nalerts: {webhook: {url: "${A}", format: pagerduty,'
        ' routing_key: "${K}", runbook_url: "https://wiki.example.org/x"}}'
    )
    text = JOB.format(model="prices", sections=sections)
    made = make_plan(load_job_text(text, "homes.yaml", folder, {"A": "https://e.example", "K": "hidden"}))
    assert made.webhook
    assert made.webhook.shape == ShapeParams("pagerduty", "https://wiki.example.org/x", "hidden")
    assert made.webhook.windows == {"tailrace.drift/1": 21_600_000, "tailrace.quality/1": 3_600_000}
    assert "hidden" not in f"{made!r}{as_data(made)}{as_text(made)}"
    with pytest.raises(JobFileError, match=r"routing_key: must be given with format: pagerduty"):
        load_job_text(text.replace('routing_key: "${K}",', ""), "homes.yaml", folder, {"A": "https://e"})


@pytest.mark.parametrize("url", ["hooks.example.org/T0", "ftp://example.org", "https://:80/x"])
def test_a_wrong_address_is_not_shown(folder: Path, url: str) -> None:
    with pytest.raises(JobFileError, match="an address that begins with http") as caught:
        plan(folder, f"drift: {{}}\nalerts: {{webhook: {{url: '{url}'}}}}")
    assert url not in str(caught.value)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            "drift: {columns: [sise]}",
            r"drift.columns\[0\]: must be an input .*\(area, per_room, street\); got 'sise'",
        ),
        (
            "drift: {seasonal: hour_of_week}",
            r"drift.seasonal: must be left out for a reference without hours of the week",
        ),
        ("drift: {reference: last week}", r"drift.reference: must be training, or trailing or year_ago with"),
        ("drift: {reference: trailing 9999d}", r"drift.reference: must be a duration from 0s to 999d"),
        ("drift: {reference: trailing 90m}", r"drift.reference: must be 2h to 364d long; got 90m"),
        (
            "drift: {reference: trailing 7d, seasonal: hour_of_week}",
            r"drift.reference: must be 14d to 364d long; got 7d",
        ),
        (
            "drift: {window: 5h, reference: trailing 28d, seasonal: hour_of_week}",
            r"drift.window: must be a shorter window of which a week is a multiple.*; got 5h",
        ),
        (
            "drift: {reference: year_ago 28d, seasonal: hour_of_week}",
            r"drift.reference: must be kept in at most 2,000 windows: of 273m or longer; got windows of 1h",
        ),
        ("drift: {sequential: {columns: [size]}}", r"drift.sequential.columns\[0\]: .*area.*; got 'size'"),
        (
            "drift: {sequential: {step: 7m}}",
            r"drift.sequential.step: must be a divisor of the window of 1h; got 7m",
        ),
        ("drift: {sequential: {run_length: 1h}}", r"run_length: must be 20 to 100,000 steps of 5m; got 1h"),
        (
            "drift: {sequential: {}}\nalerts: {rules: {sequential: {on: drift}}}",
            r"alerts.rules.sequential: must be a rule of another name beside drift.sequential",
        ),
        ("drift: {columns: [rooms]}", r"drift.columns\[0\]: .*not personal data .*; got 'rooms'"),
        (
            "drift: {segments: [per_room]}",
            r"drift.segments\[0\]: must be a column whose values are known.*'per_room'",
        ),
        (
            "drift: {min_effects: {size: 0.1}}",
            r"drift.min_effects.size: must be a watched column .*; got 'size'",
        ),
        (
            "drift: {thresholds: {size: {psi: 1}}}",
            r"drift.thresholds.size: must be a watched column .*; got 'size'",
        ),
        (
            "drift: {}\nalerts: {rules: {a: {on: drift, columns: [size]}}}",
            r"alerts.rules.a.columns\[0\]: must be a watched column \(area, .*\); got 'size'",
        ),
    ],
)
def test_what_does_not_fit_the_reference_is_an_error(folder: Path, sections: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(folder, sections)


def test_a_version_without_a_profile_cannot_be_watched(folder: Path) -> None:
    with pytest.raises(InputError, match=r"drift: .*profile.json: the reference profile must be of tailrace"):
        plan(folder, "drift: {}", "bare")
