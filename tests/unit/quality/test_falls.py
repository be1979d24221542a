"""Quality below what it was is an alert: at once, as long as it lasts, and hardly ever by chance."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from scipy import stats

from tests.helpers.examples import sized
from tests.helpers.quality_records import record
from udfs.alerts.records import AlertRecord
from udfs.quality.alerts import AlertState, judge
from udfs.quality.expected import ReferenceQuality
from udfs.quality.falls import LEAST_WINDOWS, LEVEL, Baseline
from udfs.quality.intervals import beside_storms, error_alone, of_mean
from udfs.quality.records import LabelState, Metric, QualityRecord

RANDOM = np.random.default_rng(5)
USUAL = [0.9, 0.905, 0.895, 0.902, 0.898, 0.901]


def window(
    i: int, auc: float, *, error: float = 0.005, revision: int = 0, **changes: object
) -> QualityRecord:
    """Of an hour, with an estimate that is as good as the realized value, or none."""
    metric = Metric(value=auc, low=auc - 1.96 * error, high=auc + 1.96 * error)
    day, hour = divmod(i, 23)
    made = msgspec.structs.replace(
        record(hour), revision=revision, final=True, gap=None, estimated={"auc": metric}, realized={}
    )
    start = made.window.start.replace("2026-01-01", f"2026-01-{day + 1:02}")
    span = msgspec.structs.replace(made.window, start=start)
    return msgspec.structs.replace(made, window=span, **changes)


def play(
    records: Sequence[QualityRecord], fall: float = 0.05, trained: ReferenceQuality | None = None
) -> list[AlertRecord]:
    """One at a time; the state goes through bytes, as with a restart after each."""
    state, found = AlertState(), []
    for each in records:
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=AlertState)
        state, alerts = judge(state, [each], fall, {1: trained} if trained else None)
        found += alerts
    return found


def told(values: Sequence[float]) -> list[tuple[str, int]]:
    windows = [window(i, value) for i, value in enumerate(values)]
    places = {each.window.start: i for i, each in enumerate(windows)}
    return [(alert.state, places[alert.window.start]) for alert in play(windows)]


def test_a_fall_is_an_alert_within_its_first_window_and_over_after_two_as_before() -> None:
    assert told([*USUAL, 0.81, 0.81, 0.9, 0.9, 0.9]) == [("firing", 6), ("resolved", 9)]
    (fired, _) = play([window(i, v) for i, v in enumerate([*USUAL, 0.81, 0.9, 0.9])])
    assert (fired.severity, fired.damage, fired.rule, fired.id) == (
        "critical", "estimated", "estimated-quality", "estimated-quality/1",
    )  # fmt: skip
    assert (fired.statistic, fired.value) == ("auc", 0.81)
    # scipy's own Student's t, on the windows of before.
    spread = max(np.std(USUAL, ddof=1), 0.005) * np.sqrt(1 + 1 / 6)
    assert fired.threshold == pytest.approx(np.mean(USUAL) - stats.t.ppf(0.999, 5) * spread)
    assert fired.impact == pytest.approx((np.mean(USUAL) - 0.81) / (np.mean(USUAL) - 0.5))
    assert "AUC 0.81, estimated without labels, is below the expected minimum of 0." in fired.message
    assert "(usual 0." in fired.message
    assert fired.message.endswith("from 6 windows before), in the window of 2026-01-01 06:00")


def test_twice_the_fall_is_an_update() -> None:
    assert told([*USUAL, 0.84, 0.82, 0.77, 0.76]) == [("firing", 6), ("updated", 8)]


def test_no_window_is_judged_before_there_are_some_to_compare_with() -> None:
    assert told([0.9, 0.9, 0.6, 0.9]) == []


def test_bad_windows_do_not_become_what_is_usual() -> None:
    """A slow poisoning of the reference: weeks of bad windows."""
    assert told([*USUAL, *[0.75] * 60]) == [("firing", 6)]


def test_what_is_sure_but_small_and_what_is_better_is_no_alert() -> None:
    exact = [window(i, v, error=1e-5) for i, v in enumerate([*[0.9] * 20, 0.885, 0.98])]
    assert play(exact) == []
    assert len(play(exact, fall=0.02)) == 1


def test_a_small_window_is_judged_by_its_own_error() -> None:
    usual = [window(i, v) for i, v in enumerate(USUAL)]
    assert play([*usual, window(6, 0.8, error=0.05)]) == []


def test_realized_quality_waits_for_enough_labels_and_may_be_taken_back() -> None:
    def came(i: int, auc: float, n: int, *, final: bool, revision: int) -> QualityRecord:
        labels = LabelState(
            n=n,
            rejected=0,
            coverage=n / 1_000,
            delay_p50_ms=0.0,
            delay_p90_ms=0.0,
            until="2026-01-02T00:00:00.000Z",
        )
        made = window(i, auc, revision=revision)
        return msgspec.structs.replace(
            made, estimated={}, realized=made.estimated, labels=labels, final=final
        )

    usual = [came(i, v, 900, final=True, revision=3) for i, v in enumerate(USUAL)]
    assert play([*usual, came(6, 0.7, 99, final=True, revision=1)]) == []
    assert play([*usual, came(6, 0.7, 300, final=False, revision=1)]) == []
    early = came(6, 0.7, 500, final=False, revision=1)
    taken_back = came(6, 0.9, 900, final=True, revision=2)
    fired, resolved = play([*usual, early, taken_back])
    assert (fired.damage, fired.at, fired.state) == ("realized", "2026-01-02T00:00:00.000Z", "firing")
    assert resolved.state == "resolved"
    # What is known of an older window later says nothing new.
    later = came(8, 0.9, 900, final=True, revision=1)
    assert play([*usual, later, came(7, 0.7, 900, final=True, revision=3)]) == []


def test_chance_alone_is_below_once_in_a_thousand() -> None:
    """Independent windows with any spread, after 5 to 40 others."""
    false, count = 0, sized(33_000, 8_000)
    for n in (LEAST_WINDOWS, 10, 40):
        draws = RANDOM.normal(size=(count, n + 1))
        for row in draws.tolist():
            baseline = Baseline()
            for value in row[:-1]:
                baseline = baseline.added(value, 1.0)
            limits = baseline.limits(0.0, None)
            assert limits is not None
            false += row[-1] < limits.mean - limits.reach
    low, high = stats.binom.interval(0.9999, 3 * count, LEVEL)
    assert low <= false <= high


TRAINED = ReferenceQuality("auc", 0.9, 0.004, 0.003, 12)


def test_the_first_windows_of_a_version_are_beside_what_training_says_of_it() -> None:
    """A release that is bad from its first record on, which no window before tells."""
    assert play([window(0, 0.8)]) == []
    (fired,) = play([window(0, 0.8)], trained=TRAINED)
    assert (fired.state, fired.severity, fired.rule) == ("firing", "critical", "estimated-quality")
    assert fired.message.startswith("AUC 0.8, estimated without labels, is below the expected minimum of")
    assert "from training" in fired.message
    reach = stats.t(11).ppf(1 - LEVEL) * np.sqrt(0.005**2 + 0.004**2 + 0.003**2)
    assert fired.threshold == pytest.approx(0.9 - reach)
    assert play([window(0, 0.89), window(1, 0.9)], trained=TRAINED) == []


def test_five_windows_say_more_than_training() -> None:
    usual = [window(i, 0.93) for i in range(LEAST_WINDOWS)]
    (fired,) = play([*usual, window(LEAST_WINDOWS, 0.88)], trained=TRAINED)
    assert "from 5 windows before" in fired.message
    assert play([window(0, 0.88)], trained=TRAINED) == []


def test_what_training_says_of_another_metric_or_version_is_no_reference() -> None:
    of_losses = ReferenceQuality("mae", 0.9, 0.001, 0.001, 12)
    assert play([window(0, 0.5)], trained=of_losses) == []
    assert play([window(0, 0.5, version=2)], trained=TRAINED) == []


def test_a_window_of_few_labels_is_not_held_against_training_as_if_it_had_many() -> None:
    assert play([window(0, 0.8, error=0.04)], trained=TRAINED) == []


@pytest.mark.parametrize("value", [0.9, 0.97])
def test_an_estimates_interval_of_storms_does_not_blunt_its_alert(value: float) -> None:
    """Also where it is cut, as no AUC is above 1."""
    alone = of_mean(value, 0.008)
    wide = beside_storms(alone, 0.03, 1.0)
    assert wide.value == value
    assert wide.low == pytest.approx(value - 1.959964 * np.hypot(0.008, 0.03), rel=1e-6)
    assert (wide.high == 1.0) == (value == 0.97)
    assert error_alone(wide) == pytest.approx(0.008)
    assert error_alone(alone) == pytest.approx(0.008)
    assert beside_storms(alone, 0.0, 1.0) == alone
