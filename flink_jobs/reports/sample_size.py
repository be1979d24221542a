"""How long a comparison will take: from what the comparisons of a job say of its losses and its rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from flink_jobs.errors import InputError
from flink_jobs.reports.running import MEASURES
from udfs.rollout.compare import add_up
from udfs.rollout.gate import Automatic, Gate
from udfs.rollout.records import ComparisonRecord, PairReport, VersionReport
from udfs.rollout.sample_size import Spread, canary_labels, information, steps_labels
from udfs.times import parse_time


@dataclass(frozen=True)
class Measured:
    """What windows say: the champion's loss, how it spreads, records a second, and labels of these."""

    measure: str
    loss: float
    spread: Spread
    rate: float
    labelled: float
    windows: int


def measured(records: Sequence[ComparisonRecord], rate: float | None) -> Measured:
    """Raises InputError where no labels are."""
    total = add_up(records)
    champions = [r for r in total.versions if r.role == "champion" and r.labels and r.labels.n > 1]
    if not champions:
        raise InputError("comparisons must have labels of a champion (comparisons.labels); got none")
    champion = max(champions, key=lambda report: report.labels.n if report.labels else 0)
    labels = champion.labels
    assert labels is not None
    base = labels.rmse**2 if labels.rmse is not None else labels.log_loss or 0.0
    if base <= 0:
        raise InputError("the champion's loss must be above 0; got 0: nothing can be a part of it")
    seconds = (parse_time(total.window.end) - parse_time(total.window.start)) / 1000
    scored = [report for report in total.versions if report.role != "shadow"]
    seen = sum(report.records for report in scored)
    told = sum(report.labels.n for report in scored if report.labels)
    return Measured(
        "rmse" if labels.rmse is not None else "log_loss",
        labels.rmse if labels.rmse is not None else base,
        Spread((labels.loss_deviation / base) ** 2, _paired(total.pairs, champion, base)),
        rate if rate is not None else seen / seconds,
        min(told / seen, 1.0) if seen else 1.0,
        len(records),
    )


def _paired(pairs: Sequence[PairReport], champion: VersionReport, base: float) -> float | None:
    """The largest of the shadows', as the next one may be as different."""
    found = [
        (pair.labels.rise_deviation / base) ** 2
        for pair in pairs
        if pair.labels and pair.labels.paired > 1 and pair.champion == champion.version
    ]
    return max(found, default=None)


def plan_report(found: Measured, gate: Gate, automatic: Automatic, power: float) -> Iterator[Table | Text]:
    """What it takes to show that an equal version's loss is higher by less than the gate's `quality`."""
    assert gate.quality is not None
    squares = found.measure == "rmse"

    def needed(part: float) -> float:
        effects = [_squared(effect, squares=squares) for effect in gate.effects]
        return information(_squared(part, squares=squares), gate.error, power, effects, effects[0])

    name = MEASURES[found.measure]
    yield Text(
        f"An equal version's {name} is shown to be higher by less than {gate.quality:.3g} of the champion's, "
        f"with {gate.confidence:.4g} confidence, in {power:.0%} of cases by"
    )
    table = Table(box=None, pad_edge=False)
    for column in ("as", "labels of it", "labels of all", "records of all", "time"):
        table.add_column(column, no_wrap=True, justify="left" if column == "as" else "right")
    if found.spread.paired is not None:
        own = max(found.spread.paired * needed(gate.quality), float(gate.labels))
        table.add_row("shadow", *_numbers(found, own, own))
    shares = [share for share in automatic.steps if share < 1]
    for share in shares:
        own = max(canary_labels(found.spread, needed(gate.quality), share), float(gate.labels))
        table.add_row(f"canary at {share:.3g}", *_numbers(found, own, own / share))
    targets = [needed(min(gate.quality / automatic.after(share), 1e3)) for share in shares]
    steps = steps_labels(found.spread, targets, shares, gate.labels)
    table.add_row(
        "canary by steps", *_numbers(found, sum(own for own, _ in steps), sum(every for _, every in steps))
    )
    yield table
    yield Text(
        f"From {name} {found.loss:.4g}, {found.rate:.4g} records a second, {found.labelled:.1%} of them with "
        f"labels, in {found.windows} windows. Most need less; a version that is worse but allowed needs more."
    )


def _squared(part: float, *, squares: bool) -> float:
    return (1 + part) ** 2 - 1 if squares else part


def _numbers(found: Measured, own: float, every: float) -> list[str]:
    labels_a_second = found.rate * found.labelled
    time = lasting(every / labels_a_second) if labels_a_second else "–"
    records = every / found.labelled if found.labelled else float("inf")
    return [f"{own:,.0f}", f"{every:,.0f}", f"{records:,.0f}" if records < float("inf") else "–", time]


def lasting(seconds: float) -> str:
    """A time in its two largest units.

    >>> lasting(90_061)
    '1 d 1 h'
    >>> lasting(59.2)
    '1 min 0 s'
    """
    whole = max(int(-(-seconds // 1)), 1)
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    first = next(i for i, (_, size) in enumerate(units) if whole >= size)
    found = []
    for name, size in units[first : first + 2]:
        found.append(f"{whole // size} {name}")
        whole %= size
    return " ".join(found)
