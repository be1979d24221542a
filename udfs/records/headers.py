"""Names the headers that Tailrace adds to dead letters and late records, and to replayed ones."""

from __future__ import annotations

from udfs.records.envelope import KEY_HEADER

PREFIX = "tailrace."
# Of a dead letter or a late record: in place of the record's own of the same name.
# With `left_out` the record has so many bytes, more than can be written.
LEFT_OUT = f"{PREFIX}left_out"
OURS = frozenset(
    f"{PREFIX}{name}"
    for name in (
        *("job", "topic", "partition", "offset", "timestamp", "at"),
        *("stage", "reason", "message", "model"),
    )
) | {KEY_HEADER, LEFT_OUT}
# Of a replayed record: how often it was, and where its first dead letter stands, TOPIC/PARTITION/OFFSET.
ATTEMPT, FIRST = f"{PREFIX}replay_attempt", f"{PREFIX}replay_of"
REPLAYED = frozenset({ATTEMPT, FIRST})
