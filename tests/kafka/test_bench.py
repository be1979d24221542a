"""The benchmark from command to page, and contenders that cheat."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flink_jobs.kafka import ClientSettings, list_topics
from tests.bench.contenders import CONTENDERS, Work, command
from tests.bench.data import load_topic, usual, write_model
from tests.bench.measure import WrongCountError, run

RECORDS = 3_000


@pytest.fixture(scope="module")
def work(kafka: ClientSettings, tmp_path_factory: pytest.TempPathFactory) -> Work:
    registry = tmp_path_factory.mktemp("bench") / "models"
    write_model(registry)
    load_topic(kafka.brokers, usual(RECORDS), "bench-source")
    return Work(kafka.brokers, str(registry), "bench", "bench-source", RECORDS)


@pytest.mark.parametrize("name", ["bare", "bare_transactions"])
def test_a_loop_is_measured_and_leaves_nothing(name: str, work: Work, kafka: ClientSettings) -> None:
    done = run(command(CONTENDERS[name], work), kafka.brokers, work.name, RECORDS)
    assert done.rate > 0
    assert 0 < done.startup < done.seconds
    assert 0 < done.cpu_in_all < 2 * done.seconds
    assert not [topic for topic in list_topics(kafka) if topic.startswith("bench.")]


def test_a_contender_that_stops_early_fails(work: Work, kafka: ClientSettings) -> None:
    """It would be the fastest of all."""
    early = command(CONTENDERS["bare"], work)
    with pytest.raises(WrongCountError, match="3,001 records must have one prediction; got 3,000 of 3,000"):
        run(early, kafka.brokers, work.name, RECORDS + 1)


def test_what_is_not_committed_does_not_count(work: Work, kafka: ClientSettings) -> None:
    """A transaction that was never ended: nobody who reads committed records sees its outputs."""
    code = f"""
from confluent_kafka import Producer
producer = Producer({{"bootstrap.servers": "{kafka.brokers}", "transactional.id": "bench-open"}})
producer.init_transactions()
producer.begin_transaction()
for i in range({RECORDS}):
    producer.produce("{work.name}.predictions", b'{{"id": %d}}' % i)
producer.flush()
import os; os._exit(0)
"""
    with pytest.raises(WrongCountError, match="got 0 of 0"):
        run([sys.executable, "-c", code], kafka.brokers, work.name, RECORDS)


def test_a_contender_that_fails_says_why(work: Work, kafka: ClientSettings) -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        run([sys.executable, "-c", "raise SystemExit('no such thing')"], kafka.brokers, "bench", RECORDS)


@pytest.mark.parametrize("jobs", [[], pytest.param(["stateless"], marks=pytest.mark.long)], ids=len)
def test_the_command_writes_numbers_and_a_page(jobs: list[str], tmp_path: Path) -> None:
    """With a broker of its own, as one calls it."""
    only = ",".join(["bare_transactions", *jobs])
    options = ["--records", "20000", "--rounds", "1", "--only", only]
    files = ["--json", str(tmp_path / "numbers.json"), "--docs", str(tmp_path / "docs")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *options, *files], capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert list(numbers) == ["bare", "bare_transactions", *jobs]
    for measures in numbers.values():
        for measure in ("records_per_s", "cpu_s_per_million", "ratio_to_bare", "cpu_ratio_to_bare"):
            assert 0 < measures[measure]["min"] <= measures[measure]["median"] <= measures[measure]["max"]
    assert all(numbers[job]["jvm_mb"]["max"] > 100 for job in jobs)
    assert numbers["bare"]["jvm_mb"]["max"] == 0
    written = {path.name for path in (tmp_path / "docs").iterdir()}
    assert written == {"benchmarks.md", "benchmarks.svg", "benchmarks.json"}
    assert "**20,000 records, one round" in (tmp_path / "docs" / "benchmarks.md").read_text()
