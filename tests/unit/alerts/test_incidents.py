"""What moves at the same time is one incident, and a person is told of it when it matters, not each time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.alerts import alert, time
from udfs.alerts.gather import Gathered, Gatherer
from udfs.alerts.incidents import IncidentRecord, Incidents, advance, replayed
from udfs.alerts.records import SEVERITIES, AlertRecord, Damage

HOUR = 3_600_000
DRIFT, QUALITY = "tailrace.drift/1", "tailrace.quality/1"


def over(known: AlertRecord, hour: int) -> AlertRecord:
    return alert(known.id, hour, known.damage or "inputs", state="resolved", since=known.since)


def grown(known: AlertRecord, hour: int) -> AlertRecord:
    return alert(
        known.id, hour, known.damage or "inputs", state="updated", changed=("larger",), since=known.since
    )


def told(*moments: Sequence[AlertRecord]) -> list[tuple[str, str, int]]:
    incidents: Incidents = {}
    found: list[IncidentRecord] = []
    for alerts in moments:
        incidents, records = advance(incidents, alerts)
        found += records
    return [(each.state, each.severity, len(each.parts)) for each in found]


A, B, SCORE = alert("a"), alert("b"), alert("score", damage="outputs")
GUESS, LABELS, DEAD = (alert(name, damage=name) for name in ("estimated", "realized", "records"))


def test_what_moves_together_is_told_once_ranked_by_damage() -> None:
    many = [alert("x", impact=0.4), alert("y", impact=0.1), SCORE, LABELS, GUESS, DEAD]
    _, (incident,) = advance({}, many)
    assert [part.id for part in incident.parts] == ["realized", "estimated", "records", "score", "x", "y"]
    assert [part.rank for part in incident.parts] == [1, 2, 3, 4, 5, 6]
    assert (incident.state, incident.severity) == ("firing", "critical")
    assert incident.title == "realized moved; with it estimated-rule, records, score and 2 more"
    assert incident.id == f"flights/delay/{time(1)}"


FIRST = ("firing", "critical", 2)
INPUTS_THEN_SCORE = [("firing", "info", 1), ("updated", "warning", 2)]


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        ([[A], [B]], [("firing", "info", 1)]),
        ([[A], [grown(A, 2)]], [("firing", "info", 1), ("updated", "info", 1)]),
        ([[A, B, SCORE], [grown(A, 2)]], [("firing", "warning", 3)]),
        ([[A], [SCORE], [GUESS]], [*INPUTS_THEN_SCORE, ("updated", "critical", 3)]),
        ([[GUESS], [LABELS]], [("firing", "critical", 1)]),
        ([[DEAD], [GUESS]], [("firing", "critical", 1), ("updated", "critical", 2)]),
        ([[A, B], [over(A, 2)], [over(B, 3)]], [("firing", "info", 2), ("resolved", "info", 1)]),
        ([[SCORE, GUESS], [over(GUESS, 2)], [GUESS]], [FIRST, ("updated", "critical", 2)]),
        ([[SCORE, GUESS], [over(GUESS, 2)], [over(SCORE, 3)]], [FIRST, ("resolved", "critical", 1)]),
        ([[over(A, 2)]], []),
    ],
)  # fmt: skip
def test_a_person_is_told_when_it_begins_grows_worse_and_ends(
    moments: list[list[AlertRecord]], expected: list[tuple[str, str, int]]
) -> None:
    assert told(*moments) == expected


def test_a_refused_release_does_not_hide_behind_what_is_open() -> None:
    refused = [alert(f"version-refused/{number}", damage="release") for number in (2, 3)]
    assert told([GUESS], [refused[0]], [refused[1]], [over(refused[0], 3)]) == [
        ("firing", "critical", 1),
        ("firing", "critical", 1),
        ("firing", "critical", 1),
        ("resolved", "critical", 1),
    ]


def test_a_repeated_record_after_a_failure_is_told_once() -> None:
    assert told([A, A], [A]) == [("firing", "info", 1)]


def test_many_columns_are_cut_short_and_counted() -> None:
    _, (incident,) = advance({}, [alert(f"c{i:03}") for i in range(120)])
    assert (len(incident.parts), incident.left_out) == (50, 70)


def test_records_of_earlier_versions_have_their_damage_by_rule() -> None:
    old = [
        msgspec.structs.replace(alert(name, rule=name), damage=None)
        for name in ("input-drift", "output-drift", "dead-letters")
    ]
    (incident,) = replayed(old)
    assert [part.rule for part in incident.parts] == ["dead-letters", "output-drift", "input-drift"]


damages: st.SearchStrategy[Damage] = st.sampled_from(["realized", "estimated", "outputs", "inputs"])
steps = st.lists(
    st.lists(
        st.tuples(st.sampled_from("abc"), damages, st.sampled_from(["firing", "updated", "resolved"])),
        max_size=4,
    ),
    max_size=12,
)


@given(steps)
def test_incidents_begin_end_and_only_get_worse_in_between(
    found: list[list[tuple[str, Damage, str]]],
) -> None:
    """State goes through bytes, as with a restart after each step."""
    incidents: Incidents = {}
    seen: list[IncidentRecord] = []
    for hour, changes in enumerate(found, start=1):
        alerts = [alert(f"{damage}/{name}", hour, damage, state=state) for name, damage, state in changes]
        incidents = msgspec.msgpack.decode(msgspec.msgpack.encode(incidents), type=Incidents)
        incidents, records = advance(incidents, alerts)
        assert len(records) <= 1
        seen += records
    for before, after in pairwise(seen):
        assert (before.id == after.id) == (after.state != "firing")
        assert (before.state == "resolved") == (after.state == "firing")
    for each in seen:
        assert each.parts
        worst = max(each.parts, key=lambda part: SEVERITIES.index(part.severity))
        assert each.state == "resolved" or each.severity == worst.severity


def window(schema: str, hour: int, closed: str = "watermark") -> bytes:
    return msgspec.json.encode({"schema": schema, "window": {"end": time(hour), "closed": closed}, "more": 1})


Told = list[tuple[str, list[str]]]


def gathered(lengths: dict[str, int], *events: bytes | AlertRecord) -> list[Told]:
    """What was told after each event."""
    gatherer, state = Gatherer(lengths), Gathered()
    found: list[Told] = []
    for event in events:
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Gathered)
        if isinstance(event, bytes):
            state, records = gatherer.windowed(state, event)
        else:
            state, records = gatherer.alerted(state, msgspec.json.encode(event), 5)
        found.append([(each.state, [part.id for part in each.parts]) for each in records])
    return found


BOTH = {DRIFT: HOUR, QUALITY: HOUR}


def test_alerts_of_a_time_wait_until_drift_and_quality_have_looked_at_it() -> None:
    drift, quality = window(DRIFT, 1), window(QUALITY, 1)
    assert gathered(BOTH, SCORE, A, drift, GUESS, quality)[-1] == [("firing", ["estimated", "score", "a"])]
    assert gathered(BOTH, SCORE, A, drift, GUESS, quality)[:-1] == [[], [], [], []]
    assert gathered(BOTH, quality, SCORE, A, drift) == [[], [], [], [("firing", ["score", "a"])]]


def test_shorter_windows_do_not_wait_for_longer_ones_that_are_still_open() -> None:
    lengths = {DRIFT: HOUR, QUALITY: 6 * HOUR}
    first = [window(DRIFT, 6), window(QUALITY, 6)]
    assert gathered(lengths, *first, alert("a", 7), window(DRIFT, 7))[-1] == [("firing", ["a"])]
    late: list[bytes | AlertRecord] = [*first, alert("a", 12), window(DRIFT, 12)]
    assert gathered(lengths, *late)[-1] == []
    assert gathered(lengths, *late, window(QUALITY, 12))[-1] == [("firing", ["a"])]


def test_interim_results_and_other_records_are_no_sign_that_a_window_is_over() -> None:
    early, other = window(DRIFT, 1, "early"), window("tailrace.comparison/1", 1)
    assert gathered({DRIFT: HOUR}, A, early, other, window(DRIFT, 1)) == [[], [], [], [("firing", ["a"])]]


def test_a_release_is_told_at_once_and_what_never_comes_is_not_waited_for_for_ever() -> None:
    refused = alert("version-refused/2", damage="release")
    assert gathered(BOTH, refused) == [[("firing", ["version-refused/2"])]]
    gatherer = Gatherer(BOTH)
    state, _ = gatherer.alerted(Gathered(), msgspec.json.encode(over(A, 2)), 5)
    state, _ = gatherer.alerted(state, msgspec.json.encode(A), 9)
    assert state.arrived_ms == 5
    state, records = gatherer.hurried(state)
    assert [each.state for each in records] == ["firing", "resolved"]
    assert state.waiting == ()
