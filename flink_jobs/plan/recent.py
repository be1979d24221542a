"""Plans references of what the job itself saw: from `drift.reference` to stretches of time that are kept."""

from __future__ import annotations

from flink_jobs.plan.diagnose import Collector
from flink_jobs.spec import Drift
from flink_jobs.spec.scalars import UNITS_MS, format_duration, parse_duration
from udfs.drift.params import RecentParams

DAY_MS = UNITS_MS["d"]
WEEK_MS = 7 * DAY_MS
# So many weeks, and not a year, so that days of the week meet.
YEAR_MS = 52 * WEEK_MS
PARTS = 28
MOST_KEPT = 2_000


def recent_params(drift: Drift, found: Collector) -> RecentParams | None:
    """None where windows are compared with the reference of training."""
    if drift.reference == "training":
        return None
    location = ("drift", "reference")
    name, text = drift.reference.split()
    length = parse_duration(text)
    if found.doubts.below(("drift", "window")):
        return None
    window, same_hours = drift.window, drift.seasonal is not None
    if same_hours and (WEEK_MS % window or window == WEEK_MS):
        expected = "a shorter window of which a week is a multiple, with seasonal and such a reference"
        found.add(("drift", "window"), expected, format_duration(window))
        return None
    least = 2 * WEEK_MS if same_hours else 2 * window
    if not least <= length <= YEAR_MS:
        expected = f"{format_duration(least)} to {format_duration(YEAR_MS)} long"
        found.add(location, expected, text)
        return None
    bucket = window if same_hours else window * max(length // PARTS // window, 1)
    ago = 0 if name == "trailing" else YEAR_MS - length // 2
    if (ago + length) // bucket > MOST_KEPT:
        longest = format_duration(-(-(ago + length) // MOST_KEPT // 60_000) * 60_000)
        expected = f"kept in at most {MOST_KEPT:,} windows: of {longest} or longer"
        found.add(location, expected, f"windows of {format_duration(window)}")
        return None
    return RecentParams("trailing" if name == "trailing" else "year_ago", length, bucket, ago, same_hours)
