"""What is counted is what the processes themselves say they used."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.bench.usage import Watch

# A process, and a child that ends before it; each says what it used.
FAMILY = """
import subprocess, sys, time
left = int(sys.argv[1])
if left:
    subprocess.run([sys.executable, __file__, str(left - 1)], check=True)
while time.process_time() < 0.5:
    sum(range(10_000))
time.sleep(0.8)
print(time.process_time(), flush=True)
"""


def watched(*command: str) -> tuple[Watch, str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watch = Watch(process.pid)
    watch.start()
    output, _ = process.communicate()
    watch.stop()
    return watch, output


def test_a_child_is_counted_also_when_it_has_ended(tmp_path: Path) -> None:
    script = tmp_path / "family.py"
    script.write_text(FAMILY)
    began = time.time()
    watch, output = watched(sys.executable, str(script), "1")
    used = [float(line) for line in output.split()]
    assert len(used) == 2
    # The kernel counts in ticks of 10 ms; the interpreter's own start and end are not in what they say.
    assert sum(used) - 0.1 < watch.cpu_seconds() < sum(used) + 0.4
    assert watch.cpu_seconds(began - 10) == 0
    assert 0 < watch.cpu_seconds((began + time.time()) / 2) < watch.cpu_seconds()


def test_other_processes_are_not_counted() -> None:
    """A neighbour that is busy all the time."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            watch, _ = watched(sys.executable, "-c", "import time; time.sleep(1.5)")
        finally:
            neighbour.kill()
    assert watch.cpu_seconds() < 0.5


def test_the_largest_memory_is_kept_after_it_was_freed() -> None:
    code = "import time; x = bytearray(200_000_000); time.sleep(1); del x; time.sleep(1)"
    watch, _ = watched(sys.executable, "-c", code)
    assert 200 < watch.memory.worker < 260
    assert watch.memory.jvm == 0
