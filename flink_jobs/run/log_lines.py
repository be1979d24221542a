r"""Picks lines out of Flink's logs.

>>> theirs = "2026-11-28 10:33:33,985 INFO  PythonWorker [] - a"
>>> other = "2026-11-28 10:33:34,001 INFO  Task [] - x"
>>> worker_lines(f"{theirs}\n  b\n{other}")
['2026-11-28 10:33:33,985 INFO  a', '  b']
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ENTRY = re.compile(
    r"(?P<head>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \w+) +(?P<logger>\S+) +\[[^\]]*\] - (?P<text>.*)"
)
_WORKER = "PythonWorker"


def worker_lines(log: str) -> list[str]:
    """What Python workers wrote into a TaskManager's log, with the lines that go on below an entry."""
    found: list[str] = []
    theirs = False
    for line in log.splitlines():
        entry = _ENTRY.match(line)
        if entry:
            theirs = entry["logger"] == _WORKER
            line = f"{entry['head']}  {entry['text']}"
        if theirs:
            found.append(line)
    return found


def last_lines(lines: Sequence[str], count: int) -> Sequence[str]:
    """At most so many, the newest."""
    return lines[-count:]
