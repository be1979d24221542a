"""Bytes that Arrow reads from are its own; the adversary is a process that ends while Arrow's threads run."""

from __future__ import annotations

import random
import sys

from udfs.tables import reader_of


def test_no_thread_of_arrow_holds_an_object_of_python() -> None:
    data = random.Random(1).randbytes(100_000)
    held = sys.getrefcount(data)
    reader = reader_of(data)
    assert sys.getrefcount(data) == held
    assert reader.read() == data
