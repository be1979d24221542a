"""Receipts against a forged prediction, down to the last bit of a number."""

from __future__ import annotations

import hashlib
import json
import math

from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.reports.receipt import compare

fields = st.dictionaries(
    st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.none()
)


@given(fields, fields)
def test_what_differs_is_named_and_nothing_else(before: dict[str, object], after: dict[str, object]) -> None:
    recorded, now = json.dumps(before).encode(), json.dumps(after).encode()
    found = compare(recorded, now)
    assert (found.sha256, found.size) == (hashlib.sha256(recorded).hexdigest(), len(recorded))
    assert found.same == (recorded == now)
    texts = [{name: json.dumps(value) for name, value in each.items()} for each in (before, after)]
    assert {each.field for each in found.differences} == {
        name for name in {**before, **after} if texts[0].get(name) != texts[1].get(name)
    }


def test_one_bit_is_a_difference() -> None:
    score = 0.1
    recorded, now = (json.dumps({"score": x}).encode() for x in (score, math.nextafter(score, 1)))
    [difference] = compare(recorded, now).differences
    assert (difference.field, difference.recorded) == ("score", score)
