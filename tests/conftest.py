"""Fixtures for all tests: one real broker a session, fresh topic names."""

from __future__ import annotations

import gc
import os
import socketserver
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from flink_jobs.kafka import ClientSettings, create_topics
from flink_jobs.system.temporary import java_temporary
from flink_jobs.testing import Broker, broker
from tests.helpers.examples import LONG, SHORT
from tests.helpers.s3 import s3_server

__all__ = ["broker"]

# How long an example takes says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile("long", deadline=None, max_examples=LONG)
hypothesis.settings.register_profile("short", deadline=None, max_examples=SHORT)

# These JVMs live for seconds: compiling hot code a second time, better, would cost more than it brings.
SHORT_LIVED = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
os.environ.setdefault("JVM_ARGS", f"{SHORT_LIVED} {java_temporary()}")
os.environ.setdefault("KAFKA_JVM_PERFORMANCE_OPTS", SHORT_LIVED)

# What a machine remembers of release logs: folders of tests get the names of earlier ones again.
os.environ["TAILRACE_RELEASES"] = tempfile.mkdtemp(prefix="tailrace-tests-")

# Asked that rarely whether it is to end, a server would take as long as many tests.
socketserver.BaseServer.serve_forever.__defaults__ = (0.02,)

# Nothing of what is imported and collected is garbage: see `pytest_collection_finish`.
gc.disable()

# With several processes, what takes longest must not be what is begun last.
LONGEST = (
    "test_drift.py",
    "test_proof.py",
    "test_docs_cluster.py",
    "test_docs_history.py",
    "test_cli_run.py",
    "test_personal_history.py",
    "test_alive.py",
    "test_loop.py",
    "test_personal_data.py",
    "test_replays.py",
    "test_edited_jobs.py",
    "test_promote.py",
    "test_shadows.py",
    "test_docs_install.py",
    "test_backtest.py",
    "test_secured.py",
    "test_bench.py",
    "test_metrics.py",
    "test_flights.py",
    "test_per_window.py",
    "test_stack.py",
    "test_outputs.py",
    "test_application_cluster.py",
    "test_automatic.py",
    "test_event_time.py",
    "test_quality.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="all examples of properties, and tests marked `long`"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: only with --long; a smaller form of it is always run")
    hypothesis.settings.load_profile("long" if config.getoption("long") else "short")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files first, those without Flink last; the order within a file stays."""
    if not config.getoption("long"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=lambda item: _turn(item.path))


def pytest_collection_finish() -> None:
    """The garbage collector need not walk through all libraries and tests again and again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()


def pytest_unconfigure() -> None:
    """Collected once, for pytest to find what was never closed: pytest would do so five times over."""
    gc.collect()
    gc.freeze()


def _turn(file: Path) -> int:
    if file.name in LONGEST:
        return LONGEST.index(file.name)
    return len(LONGEST) + (file.parent.name not in ("kafka", "minicluster"))


@pytest.fixture(scope="session")
def kafka(broker: Broker) -> ClientSettings:
    """How to reach the session's broker."""
    return ClientSettings(broker.bootstrap)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Host and port of an S3 server for the whole session; see `tests.helpers.s3.bucket_uri`."""
    with s3_server() as address:
        yield address


@pytest.fixture
def new_topic(kafka: ClientSettings) -> Callable[..., str]:
    """Creates a topic with a name of its own: new_topic(partitions=1) -> name."""

    def create(partitions: int = 1, **config: str) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        create_topics(
            kafka, {name: partitions}, {key.replace("_", "."): value for key, value in config.items()}
        )
        return name

    return create
