"""Holds the decoders to an independent strict reading on as many records as one likes.

python -m tests.bench.fuzz --records 1000000 --seed 1
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

from tests.helpers import fuzz

CHUNK = 5_000


def main() -> int:
    """Prints outcomes and differences; 1 if there is a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng, started = random.Random(args.seed), time.monotonic()
    counts: Counter[str] = Counter()
    found: list[str] = []
    for start in range(0, args.records, CHUNK):
        raws = fuzz.make_records(rng, min(CHUNK, args.records - start))
        of_chunk, different = fuzz.differences(raws, rng)
        counts += of_chunk
        found += different
    print(f"{args.records} records, seed {args.seed}, {time.monotonic() - started:.0f} s")
    for name, count in sorted(counts.items()):
        print(f"{count:9d} {name}")
    print(f"{len(found):9d} differences", *found[:20], sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
