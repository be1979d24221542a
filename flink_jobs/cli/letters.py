"""What `tailrace dlq` and `tailrace late` share: which records are meant, and how they are shown.

for letter in asked.letters(): …     # an opened record after the other, of those that are meant
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from flink_jobs.cli.connection import environment
from flink_jobs.cli.records import printable, set_out, text_or_base64
from flink_jobs.errors import InputError, WorkError
from flink_jobs.jobfile import load_job
from flink_jobs.kafka import ClientSettings, read_record, read_topic
from flink_jobs.kafka.dead_letters import DeadLetter, as_dead_letter, keys_by_id
from flink_jobs.kafka.replays import read_decisions, read_notes
from flink_jobs.plan.clients import client_settings
from flink_jobs.spec import JobSpec
from flink_jobs.system.terminal import literal, open_console, plain, print_json, say
from udfs.errors import EnvelopeError
from udfs.records.personal import parse_key
from udfs.times import parse_time

SCHEMA, LIST_SCHEMA = "tailrace.dead-letter/1", "tailrace.dead-letters/1"
BUCKETS = {"hour": 13, "day": 10}


@dataclass(frozen=True)
class Chosen:
    """Which records are meant, by what their headers say; times in ms."""

    places: frozenset[tuple[int, int]] = frozenset()
    stage: str | None = None
    reason: str | None = None
    model: str | None = None
    since: int | None = None
    until: int | None = None

    @property
    def all(self) -> bool:
        """Whether nothing is said, so that all are meant."""
        return self == Chosen()

    def means(self, letter: DeadLetter) -> bool:
        """Whether this is one of them."""
        if self.places and letter.at not in self.places:
            return False
        if any(
            wanted is not None and letter.reason.get(name, "") != wanted
            for name, wanted in (("stage", self.stage), ("reason", self.reason), ("model", self.model))
        ):
            return False
        if self.since is None and self.until is None:
            return True
        died = letter.died
        return died is not None and (self.since or 0) <= died and (self.until is None or died < self.until)


def chosen(
    places: list[str] | None,
    *,
    stage: str | None = None,
    reason: str | None = None,
    model: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Chosen:
    """What the options say. Raises InputError for places and times that are none."""
    return Chosen(
        frozenset(_place(text) for text in places or ()),
        stage,
        reason,
        model,
        moment("--since", since),
        moment("--until", until),
    )


def _place(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9}):(\d{1,18})", text)
    if not found:
        raise InputError(f"a record is named PARTITION:OFFSET, as 0:17; got {plain(text)!r}")
    return int(found[1]), int(found[2])


def moment(option: str, text: str | None) -> int | None:
    """The time of an option, in ms. Raises InputError for one that is none."""
    try:
        return None if text is None else parse_time(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from None


@dataclass(frozen=True)
class Asked:
    """A job, which of its topics of whole records, and which of its records."""

    spec: JobSpec
    late: bool
    which: Chosen
    keys: Mapping[str, bytes]
    limit: int | None = None

    @property
    def topic(self) -> str:
        return self.spec.late.topic if self.late else self.spec.dead_letters.topic

    @property
    def settings(self) -> ClientSettings:
        return client_settings(self.spec)

    def letters(self) -> Iterator[DeadLetter]:
        """Those that are meant, at most `limit`."""
        records = (as_dead_letter(record, self.keys) for record in read_topic(self.settings, self.topic))
        return islice(filter(self.which.means, records), self.limit)


def ask(job: Path, late: bool, which: Chosen, key_file: list[Path] | None, limit: int | None) -> Asked:
    """Raises JobFileError and InputError for a job file, or a key, that cannot be had."""
    spec = load_job(job, environment())
    return Asked(spec, late, which, _keys(spec, key_file or []), limit)


def _keys(spec: JobSpec, further: list[Path]) -> dict[str, bytes]:
    """Raises InputError for a key that cannot be had."""
    found = []
    try:
        if spec.privacy.encrypt_key:
            found.append(spec.privacy.encrypt_key.params.read())
        for path in further:
            found.append(parse_key(path.read_text("ascii", "replace")))
    except EnvelopeError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from None
    return keys_by_id(found)


def export(asked: Asked) -> None:
    """Prints each as a line of JSON; ends with 1 where one could not be opened."""
    shut = 0
    for found in asked.letters():
        shut += found.state == "encrypted" and found.original is None
        print(json.dumps(as_data(found)))
    sys.stdout.flush()
    if shut:
        say(f"{shut:,} records could not be opened", error=True)
        raise typer.Exit(WorkError.exit_code)


def as_data(found: DeadLetter) -> dict[str, Any]:
    """A record of `tailrace.dead-letter/1`."""
    topic, partition, offset = found.place
    original = found.original and {
        "key": text_or_base64(found.original.key),
        "headers": [[name, text_or_base64(value)] for name, value in found.original.headers],
        "value": text_or_base64(found.original.value),
    }
    data = {"schema": SCHEMA, "topic": topic, "partition": partition, "offset": offset}
    data |= {name: found.reason.get(name, "") for name in ("stage", "reason", "message", "model", "at")}
    return data | {"written": found.state, "original": original, "why": found.why or None}


@dataclass
class Group:
    """Records of one reason; `example` is the place of the newest in its topic."""

    stage: str
    reason: str
    model: str
    time: str
    records: int = 0
    replayed: int = 0
    dropped: int = 0
    first: str = ""
    last: str = ""
    example: str = ""
    message: str = ""

    @property
    def open(self) -> int:
        return self.records - self.replayed - self.dropped


@dataclass
class Groups:
    """Records by stage, reason and model, and by hour or day if asked for."""

    by: str | None
    found: dict[tuple[str, ...], Group] = field(default_factory=dict)

    def add(self, letter: DeadLetter, action: str | None) -> None:
        reason, at = letter.reason, letter.reason.get("at", "")
        time = at[: BUCKETS[self.by]] if self.by else ""
        stage, word, model = (reason.get(name, "") for name in ("stage", "reason", "model"))
        group = self.found.setdefault((time, stage, word, model), Group(stage, word, model, time))
        group.records += 1
        group.replayed += action == "replayed"
        group.dropped += action == "dropped"
        group.first = min(filter(None, (group.first, at)), default="")
        if at >= group.last:
            group.last, group.message = at, reason.get("message", "")
            group.example = f"{letter.at[0]}:{letter.at[1]}"

    def sorted(self) -> list[Group]:
        return sorted(self.found.values(), key=lambda group: (group.time, -group.records))


def list_records(asked: Asked, by: str | None, as_json: bool) -> None:
    """Prints the groups, each with an example."""
    decisions, groups = read_decisions(asked.settings, asked.spec.job), Groups(by)
    for letter in asked.letters():
        groups.add(letter, decisions.of(letter.identity))
    if as_json:
        rows = [{**asdict(group), "open": group.open} for group in groups.sorted()]
        return print_json({"schema": LIST_SCHEMA, "topic": asked.topic, "groups": rows})
    console = open_console()
    if not groups.found:
        return console.print(f"{literal(asked.topic)}: no such records")
    console.print(_table(groups, asked))
    return None


def _table(groups: Groups, asked: Asked) -> Table:
    what = ("late",) if asked.late else ("stage", "reason", "model")
    table = Table(box=None, title=literal(asked.topic), title_justify="left")
    for name in (*((groups.by,) if groups.by else ()), *what):
        table.add_column(name)
    for name in ("open", "replayed", "dropped"):
        table.add_column(name, justify="right")
    for name in ("first", "last", "example", *(() if asked.late else ("message",))):
        table.add_column(name)
    for group in groups.sorted():
        told = [f"{group.records}"] if asked.late else [group.stage, group.reason, group.model]
        cells = [*([group.time] if groups.by else []), *told]
        cells += [f"{count:,}" for count in (group.open, group.replayed, group.dropped)]
        cells += [group.first[:19], group.last[:19], group.example]
        table.add_row(*map(literal, [*cells, *([] if asked.late else [group.message])]))
    return table


def show(asked: Asked, as_json: bool) -> None:
    """Prints one record whole, with what was decided of it. Raises InputError where there is none."""
    if len(asked.which.places) != 1:
        raise InputError("show needs one record: PARTITION:OFFSET, as list prints it")
    ((partition, offset),) = asked.which.places
    record = read_record(asked.settings, asked.topic, partition, offset)
    if record is None:
        raise InputError(f"{asked.topic} has no record at {partition}:{offset}")
    letter = as_dead_letter(record, asked.keys)
    history = [
        note
        for identity, note in read_notes(asked.settings, asked.spec.job)
        if identity == letter.identity and note
    ]
    if as_json:
        return print_json(as_data(letter) | {"attempt": letter.attempt, "decided": history})
    console = open_console(soft_wrap=True)
    for name, told in letter.reason.items():
        console.print(Text.assemble((name, "yellow"), " = ", told))
    if letter.first:
        console.print(Text.assemble(("attempt", "yellow"), f" = {letter.attempt}, first {letter.first}"))
    for note in history:
        to = note.replayed_as
        where = f" as {to.topic}/{to.partition}/{to.offset}" if to else ""
        console.print(Text.assemble((note.action, "bold"), f" {note.at}{where}"))
    if letter.original is None:
        return console.print(Text(f"no original: {letter.why}"))
    console.print(Text.assemble(("key ", "dim"), printable(letter.original.key)))
    for name, value in letter.original.headers:
        console.print(
            Text.assemble(("  " + printable(name.encode(errors="replace"))), " = ", printable(value))
        )
    return console.print(Text(set_out(letter.original.value)))
