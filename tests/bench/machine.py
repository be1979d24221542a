"""Says where and with what a benchmark ran: processor, load, versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from flink_jobs.system.jars import PROJECT, broker_classpath
from flink_jobs.system.processes import find_java
from tests.bench.contenders import QUIX_PYTHON

_PACKAGES = {
    "Flink": "apache-flink",
    "confluent-kafka": "confluent-kafka",
    "scikit-learn": "scikit-learn",
    "NumPy": "numpy",
    "pandas": "pandas",
    "Arrow": "pyarrow",
}


def describe_machine() -> dict[str, str]:
    """Processor, cores, memory, system."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{pages / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
    }


def describe_versions() -> dict[str, str]:
    """Of Tailrace and its commit, Python, Java, and what the contenders are made of."""
    found = {"Tailrace": _tailrace(), "Python": platform.python_version(), "Java": _java()}
    found["Kafka"] = _first(r"kafka_[\d.]+-([\d.]+)\.jar", broker_classpath())
    return found | {name: version(package) for name, package in _PACKAGES.items()} | _quix()


def load_average() -> float:
    """Of the last minute."""
    return os.getloadavg()[0]


def _processor() -> str:
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return names[0] if names else platform.machine()


def _java() -> str:
    done = subprocess.run([find_java(), "-version"], capture_output=True, text=True, check=True)
    return _first(r'version "([^"]+)"', done.stderr)


def _tailrace() -> str:
    """With the commit, and whether the files are no longer those of the commit."""
    try:
        commit = _git("rev-parse", "--short=10", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return version("tailrace")
    changed = " with changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return f"{version('tailrace')} ({commit}{changed})"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _quix() -> dict[str, str]:
    if not QUIX_PYTHON.exists():
        return {}
    ask = "from importlib.metadata import version as v; print(v('quixstreams'), v('confluent-kafka'))"
    done = subprocess.run([QUIX_PYTHON, "-c", ask], capture_output=True, text=True, check=True)
    own, client = done.stdout.split()
    return {"Quix Streams": f"{own} (confluent-kafka {client})"}


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else "unknown"
