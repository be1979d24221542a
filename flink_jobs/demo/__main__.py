"""Runs the demo: scripts/demo, or python -m flink_jobs.demo."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Literal

from flink_jobs.demo.batch import run as run_batch
from flink_jobs.demo.common import console, lay_out
from flink_jobs.demo.lifecycle import run as run_lifecycle
from flink_jobs.demo.loop import run as run_loop
from flink_jobs.errors import InputError, JobFailedError, TailraceError


def main() -> int:
    """Runs the demo; 0 when all accounts are right."""
    started = time.monotonic()
    lay_out()
    try:
        right = _chosen(sys.argv[1:])
    except JobFailedError as error:
        console.print(error.worker_traceback or "", markup=False)
        return _failed(error)
    except TailraceError as error:
        return _failed(error)
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 130
    console.print(f"\nThe demo took {time.monotonic() - started:.0f} s.")
    return 0 if right else 1


def _chosen(options: Sequence[str]) -> bool:
    if "--loop" in options:
        return run_loop(console)
    if "--lifecycle" in options:
        return run_lifecycle(console)
    return run_batch(_format(options))


def _format(options: Sequence[str]) -> Literal["json", "avro"]:
    match [*options]:
        case [] | ["--format", "json"]:
            return "json"
        case ["--format", "avro"]:
            return "avro"
    raise InputError(f"the options are --format avro, --lifecycle or --loop; got {' '.join(options)}")


def _failed(error: TailraceError) -> int:
    console.print(f"error: {error}", style="red", markup=False)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
