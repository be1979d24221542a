"""The ledger sees what it is there for: a record that is lost, doubled, of another outcome, or changed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice

import pandas as pd
import pytest

from flink_jobs.kafka import Record
from tests.proof.ledger import (
    DRIFT_MS,
    OVER_MS,
    PARTITIONS,
    Ledger,
    Place,
    Sent,
    audit,
    drift_windows,
    expected_features,
    message,
    stream,
)

SENT = list(islice(stream(5), 7_600))


def place(number: int) -> Place:
    return number % PARTITIONS, number // PARTITIONS


FEATURES = expected_features({place(each.number): each for each in SENT if each.outcome == "predicted"})


def windows(predicted: Iterable[Sent]) -> list[tuple[int, int]]:
    """As pandas counts them."""
    starts = pd.Series([each.time for each in predicted]) // DRIFT_MS * DRIFT_MS
    counts = starts.value_counts()
    return list(zip(counts.index.tolist(), counts.tolist(), strict=True))


WINDOWS = windows(each for each in SENT if each.outcome == "predicted")


def record(number: int, at: Place, value: bytes | None = b"", outcome: str = "") -> Record:
    """As a topic has it: of the source without an outcome."""
    headers: list[tuple[str, bytes | None]] = []
    if outcome:
        headers = [("tailrace.partition", b"%d" % at[0]), ("tailrace.offset", b"%d" % at[1])]
    key = str(number).encode()
    return Record(value, key, headers, *(at if not outcome else (0, 0)), 0)


SOURCE = [record(each.number, place(each.number)) for each in SENT]


def prediction(number: int, features: tuple[int, float], at: Place) -> Record:
    said = {"seen": features[0], "spent": features[1], "partition": at[0], "offset": at[1]}
    return record(number, at, json.dumps(said).encode(), "predicted")


def outputs() -> dict[str, list[Record]]:
    """What a job without a fault writes."""
    found: dict[str, list[Record]] = {"predicted": [], "dead": [], "late": []}
    for each in SENT:
        at = place(each.number)
        if each.outcome == "predicted":
            found["predicted"].append(prediction(each.number, FEATURES[at], at))
        else:
            found[each.outcome].append(record(each.number, at, message(each).value, each.outcome))
    return found


def test_all_outcomes_occur_and_balance() -> None:
    assert {each.outcome for each in SENT} == {"predicted", "dead", "late"}
    assert audit(SENT, SOURCE, outputs(), WINDOWS) == Ledger()
    assert audit(SENT, SOURCE, outputs(), WINDOWS).balanced()


def test_features_are_those_of_pandas() -> None:
    frame = pd.DataFrame([each._asdict() for each in SENT if each.outcome == "predicted"]).sort_values("time")
    frame.index = pd.to_datetime(frame["time"], unit="ms")
    for _, rows in frame.groupby("card"):
        # All peers of a time count for each other, so the last one's result is that of all.
        rolled = rows["amount"].rolling(f"{OVER_MS + 1}ms").agg(["count", "sum"]).groupby(level=0).last()
        for at, number in zip(rows.index, rows["number"], strict=True):
            seen, spent = FEATURES[place(number)]
            assert (seen, spent) == (rolled.loc[at, "count"], pytest.approx(rolled.loc[at, "sum"], abs=1e-6))


def _changed(row: Record) -> Record:
    value = json.loads(row.value or b"")
    value["seen"] += 1
    return Record(json.dumps(value).encode(), row.key, row.headers, row.partition, row.offset, row.timestamp)


def test_each_fault_is_found() -> None:
    made = outputs()
    predicted = made["predicted"]
    lost, doubled, changed = predicted[10], predicted[20], predicted[30]
    made["predicted"] = [*predicted[:10], *predicted[11:30], _changed(changed), *predicted[31:], doubled]
    moved = made["late"].pop()
    made["dead"].append(moved)
    ledger = audit(SENT, SOURCE, made, WINDOWS)
    assert not ledger.balanced()
    assert [ledger.lost, ledger.doubled, ledger.changed, ledger.elsewhere] == [
        [int(row.key or b"")] for row in (lost, doubled, changed, moved)
    ]


def test_what_was_late_by_design_may_be_on_time_if_all_windows_say_so() -> None:
    late = next(each for each in SENT if each.outcome == "late")
    taken = [each for each in SENT if each.outcome == "predicted" or each is late]
    made = outputs()
    made["late"] = [row for row in made["late"] if int(row.key or b"") != late.number]
    features = expected_features({place(each.number): each for each in taken})
    made["predicted"] = [
        prediction(each.number, features[place(each.number)], place(each.number)) for each in taken
    ]
    assert audit(SENT, SOURCE, made, windows(taken)).balanced()
    assert audit(SENT, SOURCE, made, windows(taken)).in_time == [late.number]
    assert audit(SENT, SOURCE, made, WINDOWS).windows_changed == [late.time // DRIFT_MS * DRIFT_MS]
    made["predicted"] = [*outputs()["predicted"], made["predicted"][-1]]
    assert not audit(SENT, SOURCE, made, windows(taken)).balanced()


def test_what_the_source_has_twice_may_be_late_the_second_time() -> None:
    first = next(each for each in SENT if each.outcome == "predicted")
    second = (place(first.number)[0], 1_000_000)
    source = [*SOURCE, record(first.number, second)]
    made = outputs()
    assert audit(SENT, source, made, WINDOWS).lost == [first.number]
    made["late"].append(record(first.number, second, outcome="late"))
    assert audit(SENT, source, made, WINDOWS).balanced()
    made["late"][-1] = record(first.number, place(first.number), outcome="late")
    ledger = audit(SENT, source, made, WINDOWS)
    assert [ledger.lost, ledger.doubled, ledger.elsewhere] == [[first.number]] * 3


def test_what_the_source_lacks_is_lost() -> None:
    assert audit(SENT, SOURCE[1:], outputs(), WINDOWS).lost == [SENT[0].number]


@pytest.mark.parametrize("wrong", [WINDOWS[1:], [*WINDOWS, WINDOWS[0]], [(WINDOWS[0][0], 1), *WINDOWS[1:]]])
def test_windows_that_are_missing_doubled_or_cut_are_found(wrong: list[tuple[int, int]]) -> None:
    ledger = audit(SENT, SOURCE, outputs(), wrong)
    assert not ledger.balanced()
    assert ledger.windows_changed == [WINDOWS[0][0]]


def test_windows_of_segments_are_no_windows_of_their_own() -> None:
    records = [
        Record(
            json.dumps(
                {
                    "segment": segment,
                    "window": {"start": datetime.fromtimestamp(start / 1_000, UTC).isoformat()},
                    "records": {"predicted": predicted},
                }
            ).encode(),
            None,
            [],
            0,
            0,
            0,
        )
        for start, predicted in WINDOWS
        for segment in (None, {"column": "card", "value": "c1"})
    ]
    assert drift_windows(records) == WINDOWS


def test_the_stream_is_the_same_for_a_seed() -> None:
    again: list[Sent] = list(islice(stream(5), 7_600))
    assert again == SENT
    assert list(islice(stream(6), 9_000)) != SENT


def test_records_of_a_partition_that_was_found_late_may_be_late_and_no_others() -> None:
    young = next(each for each in SENT[3_000:] if each.outcome == "predicted")
    made = outputs()
    others = {place(each.number): each for each in SENT if each.outcome == "predicted" and each is not young}
    features = expected_features(others)
    made["predicted"] = [prediction(each.number, features[at], at) for at, each in others.items()]
    made["late"].append(record(young.number, place(young.number), outcome="late"))
    counted = windows(others.values())
    assert audit(SENT, SOURCE, made, counted, {place(young.number)}).balanced()
    assert audit(SENT, SOURCE, made, counted).elsewhere == [young.number]


def test_what_the_product_says_was_never_read_is_in_no_window() -> None:
    """Retention took it; said of what has an outcome it is wrong, and not said it is lost."""
    gone = {place(each.number) for each in SENT[4_000:4_200] if each.outcome == "predicted"}
    others = {place(each.number): each for each in SENT if each.outcome == "predicted"}
    others = {at: each for at, each in others.items() if at not in gone}
    made, features = outputs(), expected_features(others)
    made["predicted"] = [prediction(each.number, features[at], at) for at, each in others.items()]
    counted = windows(others.values())
    ledger = audit(SENT, SOURCE, made, counted, gone=gone)
    assert ledger.balanced()
    assert len(ledger.named) == len(gone)
    assert len(audit(SENT, SOURCE, made, counted).lost) == len(gone)
    assert audit(SENT, SOURCE, outputs(), WINDOWS, gone=gone).elsewhere


def test_what_was_read_and_has_lost_its_outcome_is_in_the_windows_of_others() -> None:
    made, missing = outputs(), {place(each.number) for each in SENT[4_000:4_200]}
    for outcome, rows in made.items():
        made[outcome] = [row for row in rows if place(int(row.key or b"")) not in missing]
    ledger = audit(SENT, SOURCE, made, None, missing=missing)
    assert ledger.balanced()
    assert len(ledger.named) == len(missing)
    assert sorted(audit(SENT, SOURCE, made, None).lost) == [*range(4_000, 4_200)]


def test_a_clock_that_is_wrong_is_only_in_the_payload() -> None:
    sent = SENT[100]._replace(ahead=86_400_000, outcome="dead", padding=50_000)
    made, value = message(sent, [3]), json.loads(message(sent).value or b"")
    assert (made.partition, made.timestamp) == (3, sent.time)
    assert (value["at"], value["amount"]) == (sent.time + 86_400_000, sent.amount)
    assert len(value["padding"]) == 50_000
    assert len(gzip.compress(made.value or b"")) > 20_000
