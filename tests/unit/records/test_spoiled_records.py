"""Spoiled records in Avro and Protobuf behind ids of schemas: one outcome each, alone and in any batch.

The adversary is whoever changes bytes on the way: lengths of 2^63, other ids and indexes, levels without end.
`tests.bench.fuzz` tries as many as one likes.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.helpers.examples import examples
from tests.helpers.fuzz_framed import CONTRACTS, MAKERS, FramedFormat, differences
from udfs.records.contract import Contract


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("contract", CONTRACTS, ids=["nested", "lists and maps", "plain"])
def test_spoiled_records_are_refused_or_read_as_others_read_them(
    name: FramedFormat, contract: Contract
) -> None:
    case, rng = MAKERS[name](contract), random.Random(3)
    seen: Counter[str] = Counter()
    for _ in range(max(2, examples(10))):
        counts, found, _ = differences(case, contract, rng, 200)
        assert not found, found[0]
        seen += counts
    assert {"read", f"decode not_{name}", "decode schema_unknown", "decode not_framed"} <= {*seen}
