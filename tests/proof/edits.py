"""Edits of a job file between a savepoint and the next start: what is said before, and what becomes of it.

scripts/prove --edits --docs docs

For each edit the job goes on from one and the same savepoint on a real cluster: what `tailrace plan
--savepoint` says, what `submit --savepoint` does, and what each record after it became are compared, the last
with plain Python. Either the values are right from the first record on, or from as long after the start on as
was said, or the job was refused before it began.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
from sklearn.linear_model import LinearRegression
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import TailraceError, WorkError
from flink_jobs.kafka import (
    ClientSettings,
    Message,
    count_committed,
    create_topics,
    end_offsets,
    produce,
    read_topic,
)
from flink_jobs.local.broker import Broker
from flink_jobs.local.flink import SessionCluster
from flink_jobs.system.processes import free_port, wait_until
from flink_jobs.testing import record
from tests.helpers import models
from tests.proof.job_file import PAYMENTS, head, write_job

START, OUT_OF_ORDER_S, CARDS, SHOPS = 1_767_225_600_000, 10, 3, 2
BEFORE, AFTER = 200, 200
MINUTE = "minute: {by: card, over: 1m, select: {seen: count(*), spent: sum(amount)}}"
BRIEF = "brief: {by: card, over: 20s, select: {most: max(amount)}}"
DRIFT = "drift: {window: 10m}"
JOB = f"""
{head("edits", f"{OUT_OF_ORDER_S}s", PAYMENTS, {"note": "string"})}features:
  windows:
    {MINUTE}
    {BRIEF}
model: {{name: sums, registry: models, use: 1, inputs: {{n: spent}}}}
predictions: {{include: [id, seen, spent, most]}}
{DRIFT}
runtime: {{parallelism: 1, checkpoint: {{interval: 1s}}}}
"""
# No class of Java, nor what Java calls its errors.
_JAVA = re.compile(r"\b(?:java|org\.apache|com\.esotericsoftware)\.[\w.$]+|\w+Exception\b|\w+Serializer\b")
_PATIENCE = 300.0
_AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "count": len,
    "sum": sum,
    "max": max,
    "avg": lambda values: sum(values) / len(values),
}


@dataclass(frozen=True)
class Result:
    """A column of predictions that a window makes; `reach` is in seconds, or in records with `rows`.

    It is right from `late` seconds after the start on; `anew` knows only what came after, and is right at
    once. Of records of before the column of `unknown` is null.
    """

    function: str
    column: str = "amount"
    reach: int = 60
    by: str = "card"
    rows: bool = False
    where: bool = False
    late: int = 0
    anew: bool = False
    unknown: bool = False


BASE = {"seen": Result("count"), "spent": Result("sum"), "most": Result("max", reach=20)}


@dataclass(frozen=True)
class Edit:
    """What of the job file is replaced by what, and what has to become of it.

    `allowed` is given to --allow-empty; `refused` is what has to be said against it. `factor` is that of the
    model's prediction to its input. `of` is the savepoint that it goes on from. Records beyond `dead` are
    those that the job has to refuse. With `lost` what waits in windows has no outcome, as was allowed.
    """

    edits: Sequence[tuple[str, str]] = ()
    results: Mapping[str, Result] | None = None
    allowed: Sequence[str] = ()
    refused: str = ""
    factor: float = 2.0
    fed: str = "spent"
    of: Literal["the job", "one without drift", "a drained one"] = "the job"
    dead: int | None = None
    lost: bool = False


def _window(text: str) -> tuple[str, str]:
    return (BRIEF, f"{BRIEF}\n    {text}")


def _included(*names: str) -> tuple[str, str]:
    return ("[id, seen, spent, most]", f"[id, seen, spent, most, {', '.join(names)}]")


_KEY_GONE = "the job has no windows of this key and kind any more"
_NO_WINDOWS = [
    (f"  windows:\n    {MINUTE}\n    {BRIEF}", "  derive: {spent: amount}"),
    ("[id, seen, spent, most]", "[id]"),
]
_BY_SHOP = [("by: card, over: 1m", "by: shop, over: 1m"), ("by: card, over: 20s", "by: shop, over: 20s")]
_AT_SHOPS = {
    "seen": Result("count", by="shop", anew=True),
    "spent": Result("sum", by="shop", anew=True),
    "most": Result("max", reach=20, by="shop", anew=True),
}
EDITS: dict[str, Edit] = {
    "nothing": Edit(),
    "a comment and the order of keys": Edit([("job: edits\n", "# no change\njob: edits\n")]),
    "another column is included": Edit([_included("amount")]),
    "a column is no longer included": Edit([("seen, spent, most", "spent, most")]),
    "a derived column is added": Edit(
        [("features:\n", "features:\n  derive: {twice: spent * 2}\n"), _included("twice")]
    ),
    "the model gets another column": Edit([("{n: spent}", "{n: most}")], fed="most"),
    "another version of the model": Edit([("use: 1", "use: 2")], factor=3.0),
    "another model": Edit([("name: sums", "name: others")], factor=5.0),
    "a rule of the schema": Edit(
        [("id: {type: long, required: true}", "id: {type: long, required: true, range: [0, 350]}")], dead=350
    ),
    "a window is added by the same key and of the same length": Edit(
        [_window("more: {by: card, over: 1m, select: {mean: avg(amount)}}"), _included("mean")],
        BASE | {"mean": Result("avg")},
    ),
    "a shorter window is added": Edit(
        [_window("short: {by: card, over: 30s, select: {few: count(*)}}"), _included("few")],
        BASE | {"few": Result("count", reach=30)},
    ),
    "a longer window is added": Edit(
        [_window("long: {by: card, over: 100s, select: {many: count(*)}}"), _included("many")],
        BASE | {"many": Result("count", reach=100, late=100)},
    ),
    "a window of rows is added": Edit(
        [_window("last: {by: card, rows: 3, select: {three: sum(amount)}}"), _included("three")],
        BASE | {"three": Result("sum", reach=3, rows=True)},
    ),
    "a window by another key is added": Edit(
        [_window("shops: {by: shop, over: 1m, select: {there: count(*)}}"), _included("there")],
        BASE | {"there": Result("count", by="shop", anew=True)},
    ),
    "a window is renamed": Edit([("brief:", "short:")]),
    "windows are put in another order": Edit([(f"{MINUTE}\n    {BRIEF}", f"{BRIEF}\n    {MINUTE}")]),
    "a window is removed": Edit(
        [(f"    {BRIEF}\n", ""), ("seen, spent, most", "seen, spent")],
        {"seen": BASE["seen"], "spent": BASE["spent"]},
    ),
    "the longest window is removed": Edit(
        [(f"    {MINUTE}\n", ""), ("[id, seen, spent, most]", "[id, most]"), ("{n: spent}", "{n: most}")],
        {"most": BASE["most"]},
        fed="most",
    ),
    "a window is longer": Edit(
        [("over: 1m", "over: 90s")],
        BASE | {"seen": Result("count", reach=90, late=90), "spent": Result("sum", reach=90, late=90)},
    ),
    "a window is longer, within the longest": Edit(
        [("over: 20s", "over: 50s")], BASE | {"most": Result("max", reach=50)}
    ),
    "a window is shorter": Edit(
        [("over: 1m", "over: 40s")],
        BASE | {"seen": Result("count", reach=40), "spent": Result("sum", reach=40)},
    ),
    "another key": Edit(_BY_SHOP, refused=_KEY_GONE),
    "another key, and the windows may start empty": Edit(
        _BY_SHOP, allowed=["minute", "brief"], refused="stop the job as it was with --drain"
    ),
    "the same, after `stop --drain`": Edit(
        _BY_SHOP, _AT_SHOPS, allowed=["minute", "brief"], of="a drained one"
    ),
    "the same, and what waits may be lost": Edit(
        _BY_SHOP, _AT_SHOPS, allowed=["minute", "brief", "waiting"], lost=True
    ),
    "all windows are removed": Edit(_NO_WINDOWS, refused=_KEY_GONE),
    "all windows are removed after `stop --drain`, and may be left behind": Edit(
        _NO_WINDOWS, {}, allowed=["minute", "brief"], fed="amount", of="a drained one"
    ),
    "an aggregate is added": Edit(
        [("sum(amount)}", "sum(amount), mean: avg(amount)}"), _included("mean")],
        BASE | {"mean": Result("avg")},
    ),
    "an aggregate of a column that no window read is added": Edit(
        [("sum(amount)}", "sum(amount), fees: sum(fee)}"), _included("fees")],
        BASE | {"fees": Result("sum", column="fee", unknown=True)},
    ),
    "an aggregate is of another column": Edit(
        [("spent: sum(amount)", "spent: sum(fee)")],
        BASE | {"spent": Result("sum", column="fee", unknown=True)},
    ),
    "an aggregate is another function": Edit(
        [("spent: sum(amount)", "spent: avg(amount)")], BASE | {"spent": Result("avg")}
    ),
    "an aggregate is renamed": Edit(
        [("seen: count(*)", "had: count(*)"), ("[id, seen, ", "[id, had, ")],
        {"had": BASE["seen"], "spent": BASE["spent"], "most": BASE["most"]},
    ),
    "an aggregate is removed": Edit(
        [("seen: count(*), ", ""), ("[id, seen, ", "[id, ")],
        {"spent": BASE["spent"], "most": BASE["most"]},
    ),
    "a field of the schema is added": Edit([("    note: string", "    note: string\n    more: string")]),
    "a field of the schema is removed": Edit([("    note: string\n", "")]),
    "a field that windows read has another type": Edit(
        [("card: {type: string, required: true}", "card: {type: long, required: true}")],
        refused="card was a string, and is a long",
    ),
    "drift is turned on": Edit(of="one without drift"),
    "drift is turned off": Edit([(f"{DRIFT}\n", "")], refused="the job has none any more"),
    "drift is turned off, and may be left behind": Edit([(f"{DRIFT}\n", "")], allowed=["drift", "alerts"]),
    "accounting is turned on": Edit([(f"{DRIFT}\n", f"{DRIFT}\naccounting: {{}}\n")]),
    "explanations are turned on": Edit([("predictions: {", "predictions: {explain: 1, ")]),
    "2 workers": Edit([("parallelism: 1", "parallelism: 2")]),
    "4 workers": Edit([("parallelism: 1", "parallelism: 4")]),
    "at least once": Edit([("runtime: {", "runtime: {delivery: at_least_once, ")]),
    "low latency": Edit([("runtime: {", "runtime: {latency: low, ")]),
    "checkpoints at another interval": Edit([("interval: 1s", "interval: 3s")]),
    "a wider event time": Edit([(f"out_of_order: {OUT_OF_ORDER_S}s", "out_of_order: 30s")]),
    "another source topic": Edit(
        [("  topic: edits", "  topic: edits-2")], refused="the savepoint has offsets of edits"
    ),
}


@dataclass(frozen=True)
class Row:
    """A record, `at` seconds after the first; `before` if it was scored before the savepoint."""

    id: int
    at: int
    card: str
    shop: str
    amount: float
    fee: float
    before: bool = False


def rows(seed: int, *, drained: bool = False) -> list[Row]:
    """One a second, in order, so that each has one right answer whatever the edit."""
    draw = random.Random(seed)
    released = BEFORE if drained else BEFORE - OUT_OF_ORDER_S - 1
    return [
        Row(
            number,
            number,
            f"c{draw.randrange(CARDS)}",
            f"s{draw.randrange(SHOPS)}",
            round(draw.uniform(1, 100), 3),
            round(draw.uniform(1, 100), 3),
            number < released,
        )
        for number in range(BEFORE + AFTER)
    ]


def expected(result: Result, every: Sequence[Row], row: Row) -> float | None:
    """The value, by plain Python."""
    mine = [r for r in every if getattr(r, result.by) == getattr(row, result.by) and r.at <= row.at]
    if result.anew:
        mine = [r for r in mine if not r.before]
    mine = mine[-result.reach :] if result.rows else [r for r in mine if r.at >= row.at - result.reach]
    values = [getattr(r, result.column) for r in mine if not (result.unknown and r.before)]
    if result.function == "count":
        return len(mine)
    return float(_AGGREGATES[result.function](values)) if values else None


class Found(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was said and what became of it: `wrong` are differences in words, none where all is well.

    `right_from` is how many seconds after the start all values are right, None for a job that was refused.
    """

    edit: str
    said: str
    refused: bool
    records: int
    right_from: int | None
    wrong: tuple[str, ...] = ()


class _Stage:
    """A broker, a cluster, and the two savepoints that all edits go on from; a context manager."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._directory, self._seed, self.rows = directory, seed, rows(seed)
        self._broker = Broker(directory=directory / "kafka")
        self._cluster = SessionCluster(directory / "flink", free_port(), 4, "2500m")

    def __enter__(self) -> _Stage:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.stop()
        self._broker.stop(0)

    def _start(self) -> None:
        self._broker.start()
        self._settings = ClientSettings(self._broker.bootstrap)
        for _ in self._cluster.launch():
            pass
        self._cluster.wait()
        create_topics(self._settings, {"edits": 1, "edits-2": 1})
        self._write_models()
        self._send(self.rows[:BEFORE])
        released = sum(row.before for row in self.rows)
        self._savepoints = {
            "the job": self._savepoint((), released),
            "one without drift": self._savepoint([(f"{DRIFT}\n", "")], released),
            "a drained one": self._savepoint((), released, "--drain"),
        }
        self._send(self.rows[BEFORE:])
        # Moves the watermark past all others; in windows it waits for ever.
        produce(self._settings, "edits", [_message(Row(-1, 10_000, "end", "end", 0.0, 0.0))])

    def _write_models(self) -> None:
        root, inputs = self._directory / "models", pa.table({"n": [1.0, 2.0, 3.0]})
        for name, factor in (("sums", 2.0), ("sums", 3.0), ("others", 5.0)):
            targets = [factor, 2 * factor, 3 * factor]
            outputs = pa.table({"prediction": targets})
            models.write(root, name, LinearRegression(), inputs, targets, "regression", profiled=outputs)

    def _send(self, some: Sequence[Row]) -> None:
        produce(self._settings, "edits", map(_message, some))

    def _savepoint(self, edits: Sequence[tuple[str, str]], released: int, *options: str) -> str:
        """Of a job that has read the first records, when it has scored those that the watermark passed."""
        before = self._predicted()
        self._run("submit", self._file(edits), "--again", "--take-over")
        if not wait_until(lambda: self._predicted() - before >= released, _PATIENCE, 0.5):
            raise WorkError(f"{self._predicted() - before} of {released} were predicted before the savepoint")
        folder = str(self._directory / "savepoints")
        code, said = self._run("stop", "edits", "--savepoint", folder, *options)
        if code:
            raise WorkError(said)
        return said.split()[-1]

    def _predicted(self) -> int:
        if not end_offsets_or_none(self._settings, "edits.predictions"):
            return 0
        return count_committed(self._settings, "edits.predictions")

    def _file(self, edits: Sequence[tuple[str, str]]) -> str:
        return str(write_job(self._directory / "edits.yaml", JOB, self._broker.bootstrap, edits))

    def _run(self, *arguments: str) -> tuple[int, str]:
        """A command of `tailrace`, in this process: Flink numbers operators from one job to the next."""
        done = CliRunner(env={"TAILRACE_CLUSTER": self._cluster.url}).invoke(app, list(arguments))
        if isinstance(done.exception, TailraceError):
            return done.exception.exit_code, f"{done.output}{done.exception}"
        if done.exception and not isinstance(done.exception, SystemExit):
            return 70, f"{done.output}{type(done.exception).__name__}: {done.exception}"
        return done.exit_code, done.output

    def tried(self, name: str, edit: Edit) -> Found:
        file, savepoint = self._file(edit.edits), self._savepoints[edit.of]
        every = rows(self._seed, drained=edit.of == "a drained one")
        allowed = [part for each in edit.allowed for part in ("--allow-empty", each)]
        planned, plan = self._run("plan", file, "--savepoint", savepoint)
        ends = {topic: end_offsets_or_none(self._settings, f"edits.{topic}") for topic in _TOPICS}
        submitted, said = self._run("submit", file, "--savepoint", savepoint, "--take-over", *allowed)
        outcomes = self._outcomes(ends)
        if not submitted:
            # A bounded run would not end: splits of a savepoint have the end that they were made with.
            due = sum(not row.before and not (edit.lost and row.id < BEFORE) for row in every)
            wait_until(lambda: sum(map(len, self._outcomes(ends).values())) >= due, _PATIENCE, 1)
            time.sleep(3)  # doubled ones would still come
            outcomes = self._outcomes(ends)
            self._run("stop", "edits", "--cancel")
        verdicts = _verdicts(plan)
        wrong = [*_wrong_words(edit, planned, plan, submitted, said)]
        predictions = [each for each in outcomes["predictions"] if each["id"] >= 0]
        if edit.refused:
            if any(outcomes.values()):
                wrong.append("it was refused, and wrote all the same")
            return Found(name, verdicts, True, 0, None, tuple(wrong))
        results = BASE if edit.results is None else edit.results
        shown = {key: result for key, result in results.items() if all(key in p for p in predictions)}
        right, values = _judged(edit, shown, every, predictions)
        wrong += values
        dead = {each["id"] for each in outcomes["dead-letters"] if each["id"] >= 0}
        late = len(outcomes["late"])
        wrong += _accounted(edit, every, [p["id"] for p in predictions], dead, late)
        promised = max([r.late for r in results.values()], default=0)
        if promised and "complete" not in verdicts:
            wrong.append(f"values are right {promised} s after the start, and nothing says so")
        return Found(name, verdicts, False, len(predictions) + len(dead), right, tuple(wrong))

    def _outcomes(self, ends: Mapping[str, dict[int, int] | None]) -> dict[str, list[dict[str, Any]]]:
        """What has been written since, as JSON."""
        return {
            topic: [
                json.loads(each.value or b"")
                for each in read_topic(self._settings, f"edits.{topic}", since=end)
            ]
            for topic, end in ends.items()
        }


_TOPICS = ("predictions", "dead-letters", "late")


def end_offsets_or_none(settings: ClientSettings, topic: str) -> dict[int, int] | None:
    """Ends by partition; None for a topic that is not there."""
    try:
        return dict(end_offsets(settings, topic))
    except TailraceError:
        return None


def _message(row: Row) -> Message:
    value = {"id": row.id, "card": row.card, "shop": row.shop, "amount": row.amount, "fee": row.fee}
    return record(value, key=str(row.id), timestamp=START + row.at * 1_000, partition=0)


def _verdicts(plan: str) -> str:
    """What `plan --savepoint` says of parts that do not just go on."""
    lines = plan.partition("\nFrom ")[2].splitlines()[1:]
    return "; ".join(re.sub(r"\s{2,}", " ", line.strip()) for line in lines if "  goes on" not in line)


def _wrong_words(edit: Edit, planned: int, plan: str, submitted: int, said: str) -> Iterator[str]:
    """Where the two commands do not agree with each other or with what has to be."""
    if planned != (2 if edit.refused or edit.allowed else 0):
        yield f"plan ends with {planned}: {plan[-300:]}"
    if submitted != (2 if edit.refused else 0):
        yield f"submit ends with {submitted}: {said[-300:]}"
    if edit.refused:
        for command, text in (("plan", plan), ("submit", said)):
            if edit.refused not in text:
                yield f"{command} does not say {edit.refused!r}: {text[-300:]}"
    if found := _JAVA.search(plan + said):
        yield f"{found[0]} is a name of Java's"


def _accounted(
    edit: Edit, every: Sequence[Row], predicted: Sequence[int], dead: set[int], late: int
) -> Iterator[str]:
    """Each record that the savepoint had not scored, once."""
    first = BEFORE if edit.lost else 0
    waiting = [row.id for row in every if not row.before and row.id >= first]
    broken = {number for number in waiting if edit.dead is not None and number > edit.dead}
    if sorted(predicted) != [number for number in waiting if number not in broken]:
        yield f"{len(predicted)} predicted, {len({*predicted})} different, of {len(waiting) - len(broken)}"
    if dead != broken:
        yield f"{len(dead)} dead, of {len(broken)}"
    if late:
        yield f"{late} late"


def _judged(
    edit: Edit, results: Mapping[str, Result], every: Sequence[Row], predictions: Sequence[Mapping[str, Any]]
) -> tuple[int, list[str]]:
    """From how many seconds after the start all values are right, and what is wrong beyond what was said."""
    by_id, start = {row.id: row for row in every}, sum(row.before for row in every)
    gone = {row.id for row in every if edit.lost and not row.before and row.id < BEFORE}
    gone |= {row.id for row in every if edit.dead is not None and row.id > edit.dead}
    alive = [row for row in every if row.before or row.id not in gone]
    right, wrong = 0, []
    for prediction in predictions:
        row = by_id[prediction["id"]]
        for name, result in results.items():
            value, truth = prediction[name], expected(result, alive, row)
            if _same(value, truth):
                continue
            after = row.at - start
            right = max(right, after + 1)
            if after >= result.late:
                wrong.append(f"{name} of {row.id} is {value}, and has to be {truth}")
        fed = prediction.get(edit.fed, getattr(row, edit.fed, None))
        if fed is not None and not _same(prediction["prediction"], edit.factor * fed):
            wrong.append(f"the prediction of {row.id} is {prediction['prediction']} of {fed}")
    return right, [*wrong[:3], *([f"and {len(wrong) - 3} more"] if len(wrong) > 3 else [])]


def _same(value: Any, truth: Any) -> bool:
    if value is None or truth is None:
        return value is truth
    return bool(abs(value - truth) <= 1e-6 * max(1.0, abs(truth)))


def try_edits(directory: Path, seed: int, names: Sequence[str] = ()) -> Iterator[Found]:
    """Each edit, or those named, in turn."""
    with _Stage(directory, seed) as stage:
        for name in names or EDITS:
            yield stage.tried(name, EDITS[name])


def table(found: Sequence[Found]) -> str:
    """Markdown: a line for each edit."""
    lines = [
        f"| {each.edit} | {'refused' if each.refused else 'goes on'} | {each.said or 'all parts go on'} | "
        f"{'' if each.refused else each.records} | {_right(each)} |"
        for each in found
    ]
    return "\n".join(
        ["| edit | submit | plan says | records after | right |", "|---|---|---|---|---|", *lines]
    )


def _right(found: Found) -> str:
    if found.wrong:
        return f"WRONG: {'; '.join(found.wrong)}"
    if found.refused:
        return "nothing was written"
    return "from the first record" if not found.right_from else f"from {found.right_from} s after the start"
