"""From the paired rows of two versions to slices: all of them, over time, by segment, and what changed most.

rows = rows_of(output, table_a, table_b, times, truth, labelled)
slice_of(rows, ComparisonSettings(window_ms=604_800_000)).metrics
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from flink_jobs.backtest.differences import differences, most_changed, score_change
from flink_jobs.backtest.intervals import Draws, compare_metrics, time_blocks
from flink_jobs.backtest.outputs import Flags, Floats, Integers, Predictions, outputs_of
from flink_jobs.backtest.records import ChangedRow, DeadCount, Segments, Slice, VersionRun
from flink_jobs.history import History
from udfs.model.manifest import Manifest, Output, digest

BLOCKS_PER_WINDOW = 28
SEGMENT_VALUES = 12
CHANGED_ROWS = 50


@dataclass(frozen=True)
class PairedRows:
    """n rows that both versions scored: what they said, and what is known of each.

    `truth` (n,) is as `Predictions.prediction`, of those that are `labelled`; `times` (n,) are ms since 1970.
    """

    output: Output
    a: Predictions
    b: Predictions
    times: Integers
    truth: Floats
    labelled: Flags

    def take(self, chosen: Flags) -> PairedRows:
        """The rows whose flag is set."""
        return PairedRows(
            self.output,
            self.a.take(chosen),
            self.b.take(chosen),
            self.times[chosen],
            self.truth[chosen],
            self.labelled[chosen],
        )


@dataclass(frozen=True)
class ComparisonSettings:
    """`window_ms`: the length of the windows over time. Blocks that are drawn are a 28th of it."""

    window_ms: int
    draws: Draws = field(default_factory=Draws)

    @property
    def block_ms(self) -> int:
        return max(1, self.window_ms // BLOCKS_PER_WINDOW)


def rows_of(
    output: Output, a: pa.Table, b: pa.Table, times: Integers, truth: Floats, known: Flags
) -> PairedRows:
    """Rows from the paired tables of both versions."""
    return PairedRows(output, outputs_of(output, a), outputs_of(output, b), times, truth, known)


def slice_of(rows: PairedRows, settings: ComparisonSettings, **place: str | None) -> Slice:
    """What can be said of the rows; `place` are the slice's start, end or value."""
    labelled = rows.take(rows.labelled)
    blocks = time_blocks(labelled.times, settings.block_ms)
    return Slice(
        rows=len(rows.times),
        labelled=len(labelled.times),
        label_mean=_mean(labelled.truth) if rows.output.kind != "multiclass" else None,
        score_mean_a=_mean(rows.a.score),
        score_mean_b=_mean(rows.b.score),
        differences=differences(rows.a, rows.b, class_names(rows.output)),
        metrics=compare_metrics(labelled.truth, labelled.a, labelled.b, blocks, settings.draws)
        if len(labelled.times)
        else (),
        **place,
    )


def over_time(rows: PairedRows, settings: ComparisonSettings) -> tuple[Slice, ...]:
    """A slice for each window that has rows; windows begin at multiples of their length since 1970."""
    number = rows.times // settings.window_ms
    return tuple(
        slice_of(
            rows.take(number == each),
            settings,
            start=iso(int(each) * settings.window_ms),
            end=iso(int(each + 1) * settings.window_ms),
        )
        for each in np.unique(number)
    )


def by_segment(
    rows: PairedRows, column: str, values: pa.ChunkedArray, settings: ComparisonSettings
) -> Segments:
    """A slice for each of the most frequent values, and one for all others."""
    texts = [None if value is None else str(value) for value in values.to_pylist()]
    counted = sorted(Counter(texts).items(), key=lambda item: (-item[1], str(item[0])))
    kept = [value for value, _ in counted[:SEGMENT_VALUES]]
    code = {value: place for place, value in enumerate(kept)}
    codes = np.array([code.get(text, len(kept)) for text in texts], np.int64)
    slices = [slice_of(rows.take(codes == place), settings, value=value) for place, value in enumerate(kept)]
    others = len(counted) - len(kept)
    if others:
        slices.append(slice_of(rows.take(codes == len(kept)), settings, value=f"{others} others"))
    return Segments(column, tuple(slices), others)


def changed_rows(
    rows: PairedRows,
    a: pa.Table,
    b: pa.Table,
    numbers: pa.ChunkedArray | None,
    labels: pa.ChunkedArray | None,
) -> tuple[ChangedRow, ...]:
    """The rows that changed most, with the columns that both predictions carry."""
    chosen = most_changed(rows.a, rows.b, CHANGED_ROWS)
    change = score_change(rows.a, rows.b)
    shown = [name for name in a.column_names if name not in ("prediction", "score", "probabilities")]
    first, second = a.take(pa.array(chosen)), b.take(pa.array(chosen))
    carried = first.select(shown).to_pylist()
    return tuple(
        ChangedRow(
            row=None if numbers is None else numbers[int(i)].as_py(),
            event_time=iso(int(rows.times[i])),
            change=float(change[i]),
            prediction_a=first.column("prediction")[place].as_py(),
            prediction_b=second.column("prediction")[place].as_py(),
            score_a=float(rows.a.score[i]),
            score_b=float(rows.b.score[i]),
            label=None if labels is None else labels[int(i)].as_py(),
            columns={name: _plain(value) for name, value in carried[place].items()},
        )
        for place, i in enumerate(chosen.tolist())
    )


def run_of(manifest: Manifest, history: History) -> VersionRun:
    """What became of the records with a version."""
    kinds = Counter((row["stage"], row["reason"]) for row in history.dead.to_pylist())
    dead = tuple(DeadCount(stage, reason, n) for (stage, reason), n in sorted(kinds.items()))
    return VersionRun(
        model=manifest.name,
        version=manifest.version,
        digest=digest(manifest),
        predicted=history.table.num_rows,
        late=len(history.late),
        dead=dead,
    )


def class_names(output: Output) -> tuple[Any, ...]:
    """What the codes of predictions stand for; nothing for a regression."""
    return (False, True) if output.kind == "anomaly" else output.classes


def iso(milliseconds: int) -> str:
    """A time in UTC to the second, or finer where it is."""
    time = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return time.isoformat(timespec="milliseconds" if milliseconds % 1000 else "seconds")[:-6] + "Z"


def _plain(value: object) -> object:
    return iso(int(value.timestamp() * 1000)) if isinstance(value, datetime) else value


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None
