"""How much memory a worker's process takes with a version's model: measured, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import udfs
from flink_jobs.errors import InputError

# The last line is the answer: libraries may print. Highest, not present: what loading needs, a worker needs.
_MEASURE = """
import resource, sys, warnings
warnings.simplefilter("ignore")
sys.path.append(sys.argv[2])
import udfs.flink.functions
from udfs.model.loading import load_version
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
kept = load_version(sys.argv[1])
print(before, peak(), flush=True)
"""


def footprint(folder: str) -> tuple[int, int]:
    """Bytes before and after the version at this path or URI is loaded, with its libraries and golden rows.

    Raises InputError when it does not load.
    """
    command = [sys.executable, "-c", _MEASURE, folder, str(Path(udfs.__file__).parents[1])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise InputError(f"the model at {folder} does not load, so its size is not known: {said}")
    before, after = map(int, done.stdout.split()[-2:])
    return before, after
