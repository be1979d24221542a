"""Has Beam's workers end a bundle at once: Flink never asks what they sample.

A thread of each bundle looks now and then at which step is at work, and sleeps between. The bundle waits
until it wakes up, which is a fifth of the bundle's own time, or 200 ms, at most.
"""

from __future__ import annotations

import functools
import sys
import threading
from typing import Any

_SAMPLER = "apache_beam.runners.worker.statesampler"


@functools.cache
def sample_nothing() -> None:
    """For all bundles of this process that begin from now on; nothing where Beam is not loaded.

    Raises RuntimeError where Beam's sampler is not as that of the pinned version.
    """
    if (beam := sys.modules.get(_SAMPLER)) is None:
        return
    sampler = beam.StateSampler
    if not (hasattr(sampler, "start") and hasattr(sampler, "stop_if_still_running")):
        raise RuntimeError(f"{_SAMPLER} has no start and stop: use the apache-flink that is pinned")
    sampler.start = functools.partialmethod(_start, beam.set_current_tracker)
    stop = sampler.stop_if_still_running
    sampler.stop_if_still_running = functools.partialmethod(_stop, beam.set_current_tracker, stop)


def _start(sampler: Any, set_current: Any) -> None:
    """Counters find their step by the tracker of their thread."""
    sampler.tracked_thread = threading.current_thread()
    set_current(sampler)


def _stop(sampler: Any, set_current: Any, stop: Any) -> None:
    """The first bundle has begun with a thread."""
    if sampler.started:
        stop(sampler)
    else:
        set_current(None)
