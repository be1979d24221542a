"""Holds the decoders to an independent strict reading on as many records as one likes.

python -m tests.bench.fuzz --records 1000000 --seed 1
python -m tests.bench.fuzz --format avro --records 500000 --docs     # its row of docs/formats.md
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import sys
import time
from collections import Counter
from pathlib import Path

from tests.helpers import fuzz, fuzz_framed

CHUNK = 5_000
# What no record may cost, however spoiled: memory of the process, and CPU for each record of a batch.
MOST_MB, MOST_MS = 300, 25.0
PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
TITLES = {"avro": "Avro", "protobuf": "Protobuf"}


def main() -> int:
    """Prints outcomes and differences; 1 if there is a difference, or a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--format", choices=("json", *fuzz_framed.MAKERS), default="json")
    parser.add_argument("--docs", action="store_true", help="Write the figures into docs/formats.md.")
    args = parser.parse_args()
    rng, started = random.Random(args.seed), time.monotonic()
    counts: Counter[str] = Counter()
    found: list[str] = []
    slowest = 0.0
    cases = (
        []
        if args.format == "json"
        else [
            (fuzz_framed.MAKERS[args.format](contract), contract)
            for contract in fuzz_framed.CONTRACTS_OF[args.format]
        ]
    )
    for number, start in enumerate(range(0, args.records, CHUNK)):
        count = min(CHUNK, args.records - start)
        if cases:
            of_chunk, different, slow = fuzz_framed.differences(*cases[number % len(cases)], rng, count)
            slowest = max(slowest, slow)
        else:
            of_chunk, different = fuzz.differences(fuzz.make_records(rng, count), rng)
        counts += of_chunk
        found += different
    print(f"{args.records} records of {args.format}, seed {args.seed}, {time.monotonic() - started:.0f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{peak} MB at most; the slowest batch took {slowest * 1000:.1f} ms of CPU for each record")
    for name, count in sorted(counts.items()):
        print(f"{count:9d} {name}")
    print(f"{len(found):9d} differences", *found[:20], sep="\n")
    if args.docs and cases:
        written = page_with(
            PAGE.read_text(), row_of(args.format, args.records, counts, len(found), peak, slowest)
        )
        PAGE.write_text(written)
    return 1 if found or peak > MOST_MB or slowest * 1000 > MOST_MS else 0


def row_of(name: str, records: int, counts: Counter[str], different: int, peak: int, slowest: float) -> str:
    """A line of the table in docs/formats.md.

    >>> row_of("avro", 1000, Counter({"read": 400, fuzz_framed.NOT_BY_APACHE: 10}), 0, 118, 0.0014)
    '| Avro | 1,000 | 400 | 600 | 0 | 10 | 118 MB | 1.4 ms |'
    """
    read = counts["read"]
    figures = (records, read, records - read, different, counts[fuzz_framed.NOT_BY_APACHE])
    return (
        f"| {TITLES[name]} | {' | '.join(f'{n:,}' for n in figures)} | {peak} MB | {slowest * 1000:.1f} ms |"
    )


def page_with(page: str, row: str) -> str:
    """The page with this line in the place of that of the same format."""
    beginning = row[: row.index("|", 2) + 1]
    made, replaced = re.subn(rf"(?m)^{re.escape(beginning)} [0-9][0-9,]* \|.*$", lambda _: row, page)
    if replaced != 1:
        raise ValueError(f"{PAGE.name} must have one line of figures that begins with {beginning!r}")
    return made


if __name__ == "__main__":
    sys.exit(main())
