"""Numbered records, what has to become of each in plain Python, and what became of it.

What is late by an hour is late as long as all partitions are read side by side. After a restart one may be
read ahead of another by more than that: then the watermark, which is that of the last one, has not passed
the record, which is on time and belongs to the windows of others. So it may be late or predicted, and the
features of all have to be those with it or without it.

A record is what the source topic has at an offset: a producer whose broker was killed may write a batch
again. The second one of a record may be late, too. So may one of a partition that was just added, of which
the job does not know yet while it reads the others.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from flink_jobs.kafka import Message, Record
from flink_jobs.testing import record

START = 1_767_225_600_000
STEP_MS, OVER_MS, OUT_OF_ORDER_MS, LATE_BY_MS = 1_000, 60_000, 10_000, 3_600_000
DRIFT_MS = 600_000
PARTITIONS, CARDS = 4, 7
# By so many records in, the watermark has passed all that is sent as late.
FIRST_LATE = (LATE_BY_MS + OUT_OF_ORDER_MS) // STEP_MS

# Partition and offset in the source.
Place = tuple[int, int]


class Sent(NamedTuple):
    """One record: `outcome` is what has to become of it.

    Its payload's clock is `ahead` by so many ms, and `padding` bytes come along.
    """

    number: int
    card: str
    amount: float
    time: int
    outcome: str
    ahead: int = 0
    padding: int = 0


def stream(seed: int) -> Iterator[Sent]:
    """Without end: a few broken, a few late by an hour, the others up to 5 s out of order."""
    draw = random.Random(seed)
    number = 0
    while True:
        chance = draw.random()
        outcome = (
            "dead" if chance < 0.01 else "late" if chance < 0.02 and number > 2 * FIRST_LATE else "predicted"
        )
        time = START + number * STEP_MS - draw.randrange(5_000) - (LATE_BY_MS if outcome == "late" else 0)
        yield Sent(number, f"c{draw.randrange(CARDS)}", round(draw.uniform(-100, 100), 3), time, outcome)
        number += 1


def message(sent: Sent, partitions: Sequence[int] = range(PARTITIONS)) -> Message:
    """As the source topic has it, in one of these partitions; a broken one lacks its amount."""
    value: dict[str, Any] = {"id": sent.number, "card": sent.card, "at": sent.time + sent.ahead}
    if sent.outcome != "dead" or sent.ahead:
        value["amount"] = sent.amount
    if sent.padding:
        # Brokers weigh what is compressed, which this cannot be.
        value["padding"] = random.Random(sent.number).randbytes(sent.padding // 2).hex()
    partition = partitions[sent.number % len(partitions)]
    return record(value, key=str(sent.number), timestamp=sent.time, partition=partition)


def flush(number: int, partitions: int = PARTITIONS) -> Iterator[Message]:
    """Moves each partition's watermark past all; these wait for ever."""
    for partition in range(partitions):
        time = START + number * STEP_MS + 10 * OVER_MS
        value = {"id": -1, "card": "end", "amount": 0.0, "at": time}
        yield record(value, key="-1", timestamp=time, partition=partition)


@dataclass
class Ledger:
    """What differs from what had to be: numbers of records, and of drift's windows the starts.

    `in_time` are those late by design that were on time after a restart, `named` those without an outcome of
    which the product says so.
    """

    in_time: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)
    elsewhere: list[int] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    windows_changed: list[int] = field(default_factory=list)
    named: list[int] = field(default_factory=list)

    def balanced(self) -> bool:
        return not (self.lost or self.doubled or self.elsewhere or self.changed or self.windows_changed)


def audit(
    sent: Sequence[Sent],
    source: Iterable[Record],
    outputs: Mapping[str, Iterable[Record]],
    windows: Sequence[tuple[int, int]] | None,
    unsettled: Collection[Place] = (),
    gone: Collection[Place] = (),
    missing: Collection[Place] = (),
) -> Ledger:
    """`outputs` by outcome and `source`, as read_committed readers see them; `windows` by `drift_windows`,
    None for a job without drift.

    What is `unsettled` may be late. The product says that it has never read what is `gone`, and that the
    outcomes of what is `missing` were lost, which it has read. What has an outcome all the same, or was never
    there, is named wrongly.
    """
    by_number = {each.number: each for each in sent}
    places = {place: number for place, number in map(_placed, source) if number >= 0}
    again = _repeats(places) | {*unsettled}
    ledger, seen = Ledger(), Counter[Place]()
    predictions: dict[Place, dict[str, Any]] = {}
    for outcome, records in outputs.items():
        for row in records:
            place = _origin(outcome, row)
            number = places.get(place, -1)
            if number < 0:
                continue
            seen[place] += 1
            if outcome == "predicted":
                predictions[place] = json.loads(row.value or b"")
            expected = by_number[number].outcome
            if (expected, outcome) == ("late", "predicted"):
                ledger.in_time.append(number)
            elif expected != outcome and not (place in again and outcome == "late"):
                ledger.elsewhere.append(number)
    predicted = {
        place: by_number[number]
        for place, number in places.items()
        if place in predictions
        or (by_number[number].outcome == "predicted" and place not in again and place not in gone)
    }
    features = expected_features(predicted)
    ledger.changed = [
        places[place]
        for place, prediction in predictions.items()
        if (prediction["seen"], prediction["spent"]) != features[place]
    ]
    named = {*gone, *missing}
    ledger.lost = [places[place] for place in places if not seen[place] and place not in named]
    ledger.named = [places[place] for place in places if not seen[place] and place in named]
    ledger.elsewhere += [places[place] for place in places if seen[place] and place in named]
    ledger.lost += sorted(by_number.keys() - {*places.values()})
    ledger.doubled = [places[place] for place, times in seen.items() if times > 1]
    if windows is None:
        return ledger
    counts = Counter(each.time // DRIFT_MS * DRIFT_MS for each in predicted.values())
    ledger.windows_changed = sorted({start for start, _ in {*counts.items()} ^ {*windows}})
    ledger.windows_changed += [start for (start, _), times in Counter(windows).items() if times > 1]
    return ledger


def _placed(row: Record) -> tuple[Place, int]:
    return (row.partition, row.offset), int((row.key or b"-1").decode())


def _repeats(places: Mapping[Place, int]) -> set[Place]:
    """Where a record stands that the same partition has before."""
    known: set[int] = set()
    again = set()
    for place, number in sorted(places.items()):
        if number in known:
            again.add(place)
        known.add(number)
    return again


def _origin(outcome: str, row: Record) -> Place:
    """Where the record stands of which this is the outcome."""
    if outcome == "predicted":
        said = json.loads(row.value or b"")
        return said["partition"], said["offset"]
    headers = dict(row.headers)
    return int(headers["tailrace.partition"] or b""), int(headers["tailrace.offset"] or b"")


def drift_windows(records: Iterable[Record]) -> list[tuple[int, int]]:
    """Start in ms, and how many were predicted, of each window that was closed."""
    reports = [json.loads(row.value or b"") for row in records]
    return [
        (
            round(datetime.fromisoformat(each["window"]["start"]).timestamp() * 1_000),
            each["records"]["predicted"],
        )
        for each in reports
        if each["segment"] is None
    ]


def expected_features(predicted: Mapping[Place, Sent]) -> dict[Place, tuple[int, float]]:
    """Count and sum of the last minute of the card, for each record."""
    by_card: dict[str, list[tuple[Place, Sent]]] = defaultdict(list)
    for place, each in predicted.items():
        by_card[each.card].append((place, each))
    found = {}
    for rows in by_card.values():
        rows.sort(key=lambda row: row[1].time)
        first = stop = 0
        for place, each in rows:
            while rows[first][1].time < each.time - OVER_MS:
                first += 1
            while stop < len(rows) and rows[stop][1].time <= each.time:
                stop += 1
            found[place] = (stop - first, math.fsum(other.amount for _, other in rows[first:stop]))
    return found
