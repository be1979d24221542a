"""Bundles end at once, by Beam's own sampler: its threads, and what counters find their step by."""

from __future__ import annotations

import json
import subprocess
import sys

RUN = """
import json, sys, threading, time
from apache_beam.runners.worker import statesampler
from apache_beam.utils.counters import CounterFactory
from udfs.flink.sampling import sample_nothing

begun = statesampler.StateSampler("first", CounterFactory())
begun.start()
if sys.argv[1] == "patched":
    sample_nothing()
sampler = statesampler.StateSampler("next", CounterFactory())
sampler.start()
mine = statesampler.get_current_tracker() is sampler
threads = threading.active_count()
time.sleep(0.05)
for _ in range(2):
    sampler.stop_if_still_running()
left = statesampler.get_current_tracker()
begun.stop_if_still_running()
sampler.reset()
sampler.start()
sampler.stop_if_still_running()
print(json.dumps({"mine": mine, "left": left is None, "threads": threads, "now": threading.active_count()}))
"""


def test_a_bundle_has_its_tracker_and_no_thread() -> None:
    """The first bundle began before the function was opened: it ends as Beam ends it."""
    assert _run("as it is") == {"mine": True, "left": True, "threads": 3, "now": 1}
    assert _run("patched") == {"mine": True, "left": True, "threads": 2, "now": 1}


def _run(how: str) -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", RUN, how], capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found
