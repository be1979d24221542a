"""What drift says beside an alarm of quality: what moved then, what did not, and so where to look.

beside(groups, group, versions[0], open_alerts(alerts)).facts    # ("score suddenly moved down at …", …)
"""

from __future__ import annotations

from collections.abc import Sequence

from flink_jobs.reports.drift.charts import heat_map
from flink_jobs.reports.drift.page_columns import distribution_figure
from flink_jobs.reports.drift.series import OUTPUTS, Line, VersionSeries
from flink_jobs.reports.drift.story import Story, story
from flink_jobs.reports.quality.evidence import agrees, as_before
from flink_jobs.reports.quality.section import Beside
from flink_jobs.reports.quality.summary import WHAT_TO_DO, VersionQuality, quality_alert
from flink_jobs.reports.text import begin, day, percent, plural
from udfs.alerts.records import AlertRecord

_NAMED = 4


def beside(
    groups: Sequence[VersionSeries],
    group: VersionSeries,
    quality: VersionQuality,
    firing: Sequence[AlertRecord],
) -> Beside:
    """`groups` are those of all versions, so that it is known whether a release began then."""
    alert = quality_alert(quality.job, quality.version, firing)
    since = alert.since if alert else quality.total[-1].window.start
    outputs = [line for line in group.total.lines if line.last.role in OUTPUTS]
    stories = [found for line in outputs if (found := story(line))]
    calm = as_before(quality, since)
    facts = [_told(found, since, calm=calm) for found in stories]
    if outputs and not stories:
        facts.append("The model's output is as in the reference.")
    released = _began_with(groups, group, since)
    facts += [text for text in (_inputs(group), _release(group, since, released=released)) if text]
    what_to_do = _GO_BACK if released else _look(group, quality, since)
    return Beside(tuple(facts), what_to_do, _pictures(outputs, group))


def _told(found: Story, since: str, *, calm: bool) -> str:
    harmless = calm and found.before and found.before[-1].window.window.start < since
    return found.told("; quality was as expected then" if harmless else "")


def _watched(group: VersionSeries) -> list[Line]:
    return [line for line in group.total.lines if line.last.role not in OUTPUTS]


def _inputs(group: VersionSeries) -> str:
    """Which of the inputs moved, or that none did."""
    watched = _watched(group)
    moved = [found for line in watched if (found := story(line))]
    if not watched:
        return "No input is watched."
    if not moved:
        return f"Inputs are as in the reference ({len(watched):,} watched)."
    shown = [
        f"{found.name} since {day(found.since, found.worst[0].window.window)} ({percent(_largest(found))})"
        for found in moved[:_NAMED]
    ]
    more = f" and {len(moved) - _NAMED} more" if len(moved) > _NAMED else ""
    return f"Of {plural(len(watched), 'input')} watched, moved: {', '.join(shown)}{more}."


def _largest(found: Story) -> float:
    return max(point.report.effect for point in found.worst if point.report)


def _began_with(groups: Sequence[VersionSeries], group: VersionSeries, since: str) -> bool:
    """Whether the version's first window is that of the alarm, and another version was there before."""
    others = [each for each in groups if each.job == group.job and each.version != group.version]
    before = any(each.total.windows[0].window.start < since for each in others)
    return before and group.total.windows[0].window.start >= since


def _release(group: VersionSeries, since: str, *, released: bool) -> str:
    first = group.total.windows[0].window
    if released:
        return f"It began with the release of version {group.version}, at {begin(first)}."
    if first.start < since:
        return (
            f"Version {group.version} has predicted since {begin(first)} or longer: no new version"
            " came with it."
        )
    return ""


_GO_BACK = (
    "Go back to the version before (tailrace release rollback), then see why this one is worse than when it"
    " was checked (tailrace backtest)."
)


def _look(group: VersionSeries, quality: VersionQuality, since: str) -> str:
    """Where to look for a cause that is no release."""
    when = day(since, group.total.windows[-1].window)
    look = f"Look for what else began at {when}."
    watched = _watched(group)
    if not watched or any(line.since for line in watched):
        return f"{look} {WHAT_TO_DO}"
    inputs = f"The {plural(len(watched), 'watched input')} did not move"
    labelled = [r for r in quality.total if r.gap and r.window.start >= since]
    if labelled and agrees(labelled[-1]):
        return (
            f"{look} {inputs}, and outcomes follow the scores as they did: that points to other records than"
            " before (a source, a segment, an input that is not watched) rather than to a wrong score."
        )
    return (
        f"{look} {inputs}, so look between them and the score (the model's file, features, lookups),"
        " and at how labels are made."
    )


def _pictures(outputs: Sequence[Line], group: VersionSeries) -> str:
    """The output over time and now, and the columns that moved."""
    moved = [line for line in group.total.lines if line.since and line not in outputs][:_NAMED]
    lines = [*outputs, *moved]
    if not lines:
        return ""
    caption = "Share of the rows that moved: the darker, the more; framed: drift."
    heat = f'<div class="wide">{heat_map(group.total, lines)}</div>'
    shown = [distribution_figure(line.latest, f"{_name(line)}, newest window") for line in outputs[:1]]
    return f"{''.join(shown)}<figure>{heat}<figcaption>{caption}</figcaption></figure>"


def _name(line: Line) -> str:
    return f"Distribution of the {line.last.role}"
