"""What is compared: each reads a topic and writes what it makes of it to `<name>.predictions`.

command(CONTENDERS["bare"], Work(brokers, registry, "bare-1", "transactions", 1_000_000))

Each runs in a process of its own. Those of other projects are scripts as their users write them, which know
nothing of this one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flink_jobs.system.jars import PROJECT, connector_jars
from tests.bench import data
from tests.bench.data import COLUMNS, PARTITIONS, TOPIC

QUIX_PYTHON = PROJECT / ".venv-quix" / "bin" / "python"
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Work:
    """Which broker and models, the prefix of its outputs, the topic to read and how many of its records."""

    brokers: str
    registry: str
    name: str
    topic: str
    records: int

    @property
    def model(self) -> Path:
        """The estimator itself, for those who know nothing of registries."""
        return Path(self.registry) / data.MODEL / "versions" / "1" / "model.joblib"


@dataclass(frozen=True)
class Contender:
    """`what` and `delivery` are for the page; `share` is the part of the records that a slow one reads."""

    name: str
    what: str
    delivery: str
    script: str = ""
    share: float = 1.0
    topic: str = TOPIC
    stream: Callable[[int], data.Stream] = data.usual
    by_default: bool = True

    def records(self, loaded: int) -> int:
        return max(1, int(self.stream(loaded).records * self.share))


_ONCE = "exactly once"
_WINDOW = "Tailrace with one window of three aggregates"
ALL = (
    Contender("bare", "a loop of consume, decode, predict, produce, written by hand", "none"),
    Contender(
        "bare_transactions", "the same loop, with its offsets in transactions of one second each", _ONCE
    ),
    Contender(
        "quix",
        "Quix Streams as in its tutorials: one function, applied to each record",
        "at least once",
        "quix_app.py",
        share=0.02,
    ),
    Contender(
        "pyflink",
        "PyFlink as in its documentation: tables in the `json` format and a pandas UDF",
        "at least once",
        "pyflink_job.py",
    ),
    Contender("java", "Flink alone: bytes from topic to topic, without decoding or a model", _ONCE),
    Contender("java_over", "Flink SQL alone: `json` tables and `OVER`, without a model", _ONCE),
    Contender("stateless", "Tailrace", _ONCE),
    Contender("watched", "Tailrace with `drift` for each minute", _ONCE),
    Contender("windowed", f"{_WINDOW}, 12 rows a key", _ONCE),
    Contender("windowed_100", f"{_WINDOW}, 100 rows a key", _ONCE),
    Contender("windowed_1000", f"{_WINDOW}, 1,000 rows a key", _ONCE),
    Contender("windowed_10000", f"{_WINDOW}, 10,000 rows a key", _ONCE),
    Contender(
        "skewed",
        f"{_WINDOW}, of which one key has half of all records",
        _ONCE,
        topic="transactions-skewed",
        stream=data.skewed,
        by_default=False,
    ),
    Contender(
        "backlog",
        f"{_WINDOW} of an hour, 50 keys, twice as many records",
        _ONCE,
        topic="transactions-backlog",
        stream=data.backlog,
        by_default=False,
    ),
)
CONTENDERS = {contender.name: contender for contender in ALL}


def command(contender: Contender, work: Work) -> list[str]:
    """What to run."""
    if contender.script:
        python = str(QUIX_PYTHON) if contender.name == "quix" else sys.executable
        task = {
            "brokers": work.brokers,
            "source": work.topic,
            "output": f"{work.name}.predictions",
            "group": work.name,
            "records": work.records,
            "model": str(work.model),
            "columns": COLUMNS,
            "parallelism": PARTITIONS,
            "jars": ";".join(jar.resolve().as_uri() for jar in connector_jars()),
        }
        return [python, str(_HERE / contender.script), json.dumps(task)]
    place = [work.brokers, work.registry, work.name, work.topic, str(work.records)]
    return [sys.executable, "-m", "tests.bench.contenders", contender.name, *place]


def left_out(contender: Contender) -> str | None:
    """Why it cannot run here."""
    if contender.name == "quix" and not QUIX_PYTHON.exists():
        return "`quix` is left out: its environment .venv-quix is not there; scripts/quix_env makes it"
    return None
