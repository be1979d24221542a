"""Does to a running job what can happen to it, at random moments, and accounts for each of its records.

scripts/prove --faults worker,broker --runs 5 --seed 7
scripts/prove --full --docs docs
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.proof.faults import FAULTS
from tests.proof.page import page
from tests.proof.proof import in_words, prove


def main(arguments: list[str]) -> int:
    """0 when each record has one outcome, and the right one."""
    parser = argparse.ArgumentParser(prog="scripts/prove", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--faults", default="worker,taskmanager", help=f"of {', '.join(FAULTS)}; in this order"
    )
    parser.add_argument("--runs", type=int, default=1, help="how often each happens")
    parser.add_argument(
        "--full", action="store_true", help="all faults, as often as the documented table has them"
    )
    parser.add_argument("--seed", type=int, help="of records and moments; default: the clock")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--docs", type=Path, help="write the page proof.md into this folder")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else int(time.time())
    plans = (
        [[name] * fault.runs for name, fault in FAULTS.items()]
        if options.full
        else [options.faults.split(",") * options.runs]
    )
    proofs = []
    for number, faults in enumerate(plans):
        with tempfile.TemporaryDirectory(prefix="tailrace-proof-") as directory:
            proofs.append(prove(Path(directory), faults, seed + number))
        print(in_words(proofs[-1]), flush=True)
        if options.json:
            options.json.write_text(json.dumps([asdict(proof) for proof in proofs], indent=2))
    if options.docs:
        (options.docs / "proof.md").write_text(page(proofs, FAULTS))
    return 0 if all(proof.holds() for proof in proofs) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
