"""Holds the decoders to an independent strict reading on as many records as one likes.

python -m tests.bench.fuzz --records 1000000 --seed 1
python -m tests.bench.fuzz --format avro --records 500000
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections import Counter

from tests.helpers import fuzz, fuzz_framed

CHUNK = 5_000


def main() -> int:
    """Prints outcomes and differences; 1 if there is a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--format", choices=("json", *fuzz_framed.MAKERS), default="json")
    args = parser.parse_args()
    rng, started = random.Random(args.seed), time.monotonic()
    counts: Counter[str] = Counter()
    found: list[str] = []
    slowest = 0.0
    cases = (
        []
        if args.format == "json"
        else [(fuzz_framed.MAKERS[args.format](contract), contract) for contract in fuzz_framed.CONTRACTS]
    )
    for number, start in enumerate(range(0, args.records, CHUNK)):
        count = min(CHUNK, args.records - start)
        if cases:
            of_chunk, different, slow = fuzz_framed.differences(*cases[number % 2], rng, count)
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
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
