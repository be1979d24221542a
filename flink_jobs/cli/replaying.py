"""`replay` and `drop` of `tailrace dlq` and `tailrace late`: each record once, whatever comes between."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import typer

from flink_jobs.cli.letters import Asked
from flink_jobs.cli.repair import Checker, Mapping, Unrepairable
from flink_jobs.errors import InputError, WorkError
from flink_jobs.kafka import Message, count_committed, describe_topics, no_such_topic, read_record
from flink_jobs.kafka.dead_letters import DeadLetter
from flink_jobs.kafka.replays import Action, Note, Place, Replays, Sending, notes_topic, read_decisions
from flink_jobs.plan.lookups import topic_lookups
from flink_jobs.plan.topics import forgives_replayed
from flink_jobs.spec import JobSpec
from flink_jobs.system.terminal import at_terminal, plain, print_json, say
from udfs.records.headers import ATTEMPT, FIRST, REPLAYED
from udfs.records.personal import Record
from udfs.times import iso, now_ms

BATCH = 1_000
ALREADY = "already decided"
SUMMARY = "tailrace.replays/1"


@dataclass(frozen=True)
class Options:
    """How records are replayed; `rate` is in records a second, None for as fast as the brokers take them."""

    mapping: Mapping | None = None
    fixed: JobSpec | None = None
    rate: float | None = None
    max_attempts: int = 3
    dry_run: bool = False
    every: bool = False
    from_source: bool = False
    as_json: bool = False


def replay(asked: Asked, options: Options) -> None:
    """Sends those that are meant to the source topic again; ends with 1 where one had to be left."""
    target = options.fixed or asked.spec
    _require_selection(asked, options, "replay")
    _require_replayable(asked, target, options)
    _Work(asked, options, target).run("replayed")


def drop(asked: Asked, options: Options) -> None:
    """Notes of those that are meant that nobody will replay them; they stay in their topic."""
    _require_selection(asked, options, "drop")
    _Work(asked, options, asked.spec).run("dropped")


def _require_selection(asked: Asked, options: Options, action: str) -> None:
    """At a terminal a person is asked whether all are meant. Raises InputError where nobody says which."""
    if asked.which.all and not options.every and not options.dry_run:
        if not at_terminal():
            raise InputError("say which records: PARTITION:OFFSET, --reason and the like, or --all")
        count = count_committed(asked.settings, asked.topic)
        typer.confirm(plain(f"{action} all {count:,} records of {asked.topic}?"), abort=True, err=True)
    notes = notes_topic(asked.spec.job)
    if not asked.spec.kafka.create_topics and describe_topics(asked.settings, [notes])[notes] is None:
        raise InputError(
            f"kafka.create_topics is false, so the topic {notes} must be there, with cleanup.policy=compact"
        )


def _require_replayable(asked: Asked, target: JobSpec, options: Options) -> None:
    if target.source.isolation != "read_committed":
        raise InputError(
            "source.isolation must be read_committed, else the job reads what an interrupted replay leaves; "
            f"got {target.source.isolation}"
        )
    if options.mapping and target.source.format != "json":
        raise InputError(f"--map is for source.format json; got {target.source.format}")
    if describe_topics(asked.settings, [target.source.topic])[target.source.topic] is None:
        raise no_such_topic(asked.settings, target.source.topic)
    if forgives_replayed(target):
        return
    joined = (
        "windows" if target.features.windows else "tables of topics" if topic_lookups(target) else "labels"
    )
    if asked.late:
        raise InputError(
            f"{target.job} has {joined}, which have passed the time of its late records: replayed they would "
            "be late again. For those to come, widen source.event_time.out_of_order"
        )
    say(
        f"{target.job} has {joined}: a record that its watermark has passed ends as a late record", error=True
    )


class _Work:
    """One run over the topic, in batches of a transaction each."""

    def __init__(self, asked: Asked, options: Options, target: JobSpec) -> None:
        self._asked, self._options, self._target = asked, options, target
        self._checker = Checker(options.fixed) if options.fixed else None
        self._left: Counter[str] = Counter()
        self._done = 0
        self._started = time.monotonic()

    def run(self, action: str) -> None:
        if self._options.dry_run:
            decisions = read_decisions(self._asked.settings, self._asked.spec.job)
            self._done = sum(1 for _ in self._sendings(decisions.of, action))
        else:
            with Replays(self._asked.settings, self._asked.spec.job) as replays:
                self._send_all(replays, action)
        self._tell(action)

    def _send_all(self, replays: Replays, action: str) -> None:
        batch: list[Sending] = []
        for sending in self._sendings(replays.decided, action):
            batch.append(sending)
            if len(batch) >= self._batch_size:
                self._send(replays, batch)
                batch = []
        self._send(replays, batch)

    @property
    def _batch_size(self) -> int:
        """At most what is sent in a second, as others see a batch when it is complete."""
        return BATCH if self._options.rate is None else max(1, min(BATCH, int(self._options.rate)))

    def _send(self, replays: Replays, batch: list[Sending]) -> None:
        refused = replays.send(batch)
        self._left["too large for the topic"] += len(refused)
        self._done += len(batch) - len(refused)
        if self._options.rate is not None:
            time.sleep(max(0.0, self._started + self._done / self._options.rate - time.monotonic()))

    def _sendings(self, decided: Callable[[str], Action | None], action: str) -> Iterator[Sending]:
        """What is to be sent or noted, each record once."""
        seen: set[str] = set()
        for letter in self._asked.letters():
            if decided(letter.identity) or letter.identity in seen:
                self._left[ALREADY] += 1
                continue
            try:
                sending = self._sending(letter, action)
            except Unrepairable as why:
                self._left[str(why)] += 1
                continue
            seen.add(letter.identity)
            if len(seen) > 10 * BATCH:  # by then the decisions have it
                seen.clear()
            yield sending

    def _sending(self, letter: DeadLetter, action: str) -> Sending:
        if letter.original is None and self._options.from_source and action == "replayed":
            letter = self._from_source(letter)
        partition, offset = letter.at
        here = Place(self._asked.topic, partition, offset)
        topic, read_from, at = letter.place
        note = Note(
            action="replayed" if action == "replayed" else "dropped",
            record=Place(topic, -1 if read_from is None else read_from, -1 if at is None else at),
            dead_letter=here,
            first=_parsed(letter.first) or here,
            attempt=letter.attempt + (action == "replayed"),
            at=iso(now_ms()),
        )
        if action != "replayed":
            return Sending(letter.identity, note)
        return Sending(letter.identity, note, self._target.source.topic, self._message(letter, note))

    def _from_source(self, letter: DeadLetter) -> DeadLetter:
        """With the record as the source still has it. Raises Unrepairable."""
        topic, partition, offset = letter.place
        if partition is None or offset is None or topic != self._asked.spec.source.topic:
            raise Unrepairable("it is not of the source")
        found = read_record(self._asked.settings, topic, partition, offset)
        if found is None or found.timestamp != letter.timestamp:
            raise Unrepairable("the source has it no more")
        return replace(letter, original=Record(found.key, found.value, found.headers))

    def _message(self, letter: DeadLetter, note: Note) -> Message:
        """The record as it was, but for a repair. Raises Unrepairable."""
        original = letter.original
        if letter.place[2] is None and original is not None:
            raise Unrepairable("the row of a window, of which there is no record")
        if original is None:
            raise Unrepairable(letter.why)
        if letter.attempt >= self._options.max_attempts:
            raise Unrepairable(f"replayed {letter.attempt} times before")
        value = self._options.mapping.of(original.value) if self._options.mapping else original.value
        if self._checker and (problem := self._checker.problem(value)):
            raise Unrepairable(f"--fixed still refuses it: {problem}")
        first = f"{note.first.topic}/{note.first.partition}/{note.first.offset}"
        headers = [pair for pair in original.headers if pair[0] not in REPLAYED]
        headers += [(ATTEMPT, str(note.attempt).encode()), (FIRST, first.encode())]
        return Message(value, original.key, headers, letter.timestamp, letter.place[1])

    def _tell(self, action: str) -> None:
        left = {why: count for why, count in self._left.most_common() if count}
        if self._options.as_json:
            print_json({"schema": SUMMARY, "action": action, "records": self._done, "left": left})
        else:
            would = "would be " if self._options.dry_run else ""
            say(
                f"{self._done:,} records {would}{action}"
                + "".join(f"\n{n:,} left: {why}" for why, n in left.items())
            )
        if set(left) - {ALREADY}:
            raise typer.Exit(WorkError.exit_code)


def _parsed(first: str) -> Place | None:
    """None for what is no place, as a producer may write anything."""
    topic, _, rest = first.partition("/")
    partition, _, offset = rest.partition("/")
    numbers = partition, offset
    if not topic or not all(n.isascii() and n.isdigit() and len(n) < 19 for n in numbers):
        return None
    return Place(topic, int(partition), int(offset))
