"""`tailrace produce` and `tailrace read`, as a shell runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from flink_jobs.kafka import ClientSettings, Message, describe_topics, produce, read_topic
from flink_jobs.system.processes import free_port
from tests.helpers.commands import tailrace_command

Run = Callable[..., subprocess.CompletedProcess[bytes]]

COMMAND = [sys.executable, "-c", "from flink_jobs.cli import main; main()"]


@pytest.fixture
def tailrace(kafka: ClientSettings) -> Run:
    """Runs the command against the session's broker."""

    def run(*arguments: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
        environment = os.environ | {"TAILRACE_BROKERS": kafka.brokers, "COLUMNS": "200"} | env
        return subprocess.run(
            [*tailrace_command(), *arguments], input=stdin, capture_output=True, env=environment, timeout=60
        )

    return run


def test_lines_go_in_as_they_are_and_come_out_as_json(
    tailrace: Run, kafka: ClientSettings, new_topic: Callable[..., str]
) -> None:
    topic = new_topic()
    lines = b'{"o":"JFK"}\nbroken\n\n\xff\xfe\r\n{"o":5}\n[1]'
    produced = tailrace("produce", topic, "--key-field", "o", stdin=lines)
    assert (produced.returncode, produced.stderr) == (0, f"6 records written to {topic}\n".encode())
    assert [(r.key, r.value) for r in read_topic(kafka, topic)] == [
        (b"JFK", b'{"o":"JFK"}'),
        (None, b"broken"),
        (None, b""),
        (None, b"\xff\xfe"),
        (b"5", b'{"o":5}'),
        (None, b"[1]"),
    ]
    read = [json.loads(line) for line in tailrace("read", topic, "--json").stdout.splitlines()]
    assert [r["value"] for r in read] == ['{"o":"JFK"}', "broken", "", {"base64": "//4="}, '{"o":5}', "[1]"]
    assert [r["offset"] for r in read] == list(range(6))
    assert read[0]["key"] == "JFK"


def test_a_topic_is_created_only_when_asked(
    tailrace: Run, kafka: ClientSettings, new_topic: Callable[..., str]
) -> None:
    topic = new_topic() + "-new"
    refused = tailrace("produce", topic, stdin=b"1")
    assert refused.returncode == 2
    assert f"error: no topic '{topic}'" in refused.stderr.decode()
    assert "--create makes it" in refused.stderr.decode()
    assert tailrace("produce", topic, "--create", "--partitions", "3", stdin=b"1").returncode == 0
    info = describe_topics(kafka, [topic])[topic]
    assert info is not None
    assert info.partitions == 3


def test_pretty_sets_json_out_with_headers(
    tailrace: Run, kafka: ClientSettings, new_topic: Callable[..., str]
) -> None:
    topic = new_topic()
    produce(kafka, topic, [Message(b'{"a":1}', b"k", [("stage", b"decode")], timestamp=1_000)])
    shown = tailrace("read", topic, "--pretty", "--limit", "1").stdout.decode()
    assert shown == '0:0  1970-01-01T00:00:01.000Z  key k\n  stage = decode\n{\n  "a": 1\n}\n'


def test_a_misspelt_topic_is_exit_2_with_a_suggestion(tailrace: Run, new_topic: Callable[..., str]) -> None:
    topic = new_topic()
    done = tailrace("read", topic[:-1])
    assert done.returncode == 2
    assert f"did you mean '{topic}'" in done.stderr.decode()
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["read", "t", "--json", "--pretty"], 2, "only one of --json and --pretty"),
        (["read", "t", "--brokers", "nowhere"], 2, "must be host:port"),
        (["produce", "t", "/no/such/file"], 2, "No such file"),
        (["read", "t", "--limit", "0"], 2, "--limit"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_a_users_mistake_is_a_message(tailrace: Run, arguments: list[str], code: int, message: str) -> None:
    done = tailrace(*arguments)
    assert done.returncode == code
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_no_broker_is_exit_1_and_debug_shows_where(tailrace: Run) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    done = tailrace("--debug", "read", "t", "--brokers", nobody)
    assert done.returncode == 1
    assert f"error: no Kafka broker answers at {nobody}" in done.stderr.decode()
    assert b"Traceback" in done.stderr


def test_a_closed_pipe_ends_reading_quietly(kafka: ClientSettings, new_topic: Callable[..., str]) -> None:
    topic = new_topic()
    produce(kafka, topic, (Message(b"x" * 100) for _ in range(20_000)))
    reading = subprocess.Popen(
        [*COMMAND, "read", topic, "--brokers", kafka.brokers],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert reading.stdout is not None
    assert reading.stderr is not None
    assert reading.stdout.readline().startswith(b'{"topic"')
    reading.stdout.close()
    assert reading.stderr.read() == b""
    reading.stderr.close()
    assert reading.wait(30) == 1


def test_help_and_version_need_no_broker(tailrace: Run) -> None:
    assert tailrace("--version").stdout.startswith(b"tailrace ")
    for command in ("produce", "read", "up", "down", "status"):
        shown = tailrace(command, "--help")
        assert shown.returncode == 0
        assert f"tailrace {command}" in shown.stdout.decode().partition("Examples")[2]
