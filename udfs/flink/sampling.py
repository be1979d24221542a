"""Has Beam's workers end a bundle at once: Flink never asks what they sample.

A thread of each bundle looks now and then at which step is at work, and sleeps between. The bundle waits
until it wakes up, which is a fifth of the bundle's own time, or 200 ms, at most.
"""

from __future__ import annotations

import functools
import sys
import threading
from typing import Any

from udfs.flink.patching import patch

_SAMPLER = "apache_beam.runners.worker.statesampler"


@functools.cache
def sample_nothing() -> None:
    """For all bundles of this process that begin from now on; nothing where Beam is not loaded.

    Raises RuntimeError where Beam's sampler is not as that of the pinned version.
    """
    if (beam := sys.modules.get(_SAMPLER)) is None:
        return
    set_current = beam.set_current_tracker
    patch(beam.StateSampler, "start", functools.partial(_without_thread, set_current))
    patch(beam.StateSampler, "stop_if_still_running", functools.partial(_at_once, set_current))


def _without_thread(set_current: Any, start: Any) -> Any:
    """Counters find their step by the tracker of their thread."""

    @functools.wraps(start)
    def begun(sampler: Any) -> None:
        sampler.tracked_thread = threading.current_thread()
        set_current(sampler)

    return begun


def _at_once(set_current: Any, stop: Any) -> Any:
    """The first bundle has begun with a thread."""

    @functools.wraps(stop)
    def ended(sampler: Any) -> None:
        if sampler.started:
            stop(sampler)
        else:
            set_current(None)

    return ended
