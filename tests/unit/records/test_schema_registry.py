"""How long records wait for schemas, and what is told to whom.

The adversaries are a registry that is slow, wrong, gone, or sends its clients elsewhere, a proxy in its
place, and a producer that makes up ids.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.certificates import Authority
from udfs.records.problems import RejectedError
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_cache import DOWN_S, MOST_SCHEMAS, UNKNOWN_S, SchemaCache
from udfs.records.schema_registry import (
    LARGEST_ANSWER,
    NoSuchSchemaError,
    RegistryError,
    Schema,
    SchemaRegistry,
)


class World:
    """A clock that sleeping moves, and a registry that is up, down or has no such schema."""

    def __init__(self, wait_s: float = 30.0) -> None:
        self.now, self.down, self.asked = 1_000.0, False, 0
        self.known = {1, 2}
        self.cache: SchemaCache[str] = SchemaCache(
            self.fetch, lambda number, schema: schema.text, wait_s, lambda: self.now, self.sleep
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def fetch(self, number: int) -> Schema:
        self.asked += 1
        if self.down:
            raise RegistryError("the registry does not answer: gone")
        if number not in self.known:
            raise NoSuchSchemaError("the registry has no such schema")
        return Schema(f"schema of {number}")

    def refused(self, number: int) -> str:
        with pytest.raises(RejectedError) as error:
            self.cache.get(number)
        assert error.value.problem.reason == "schema_unknown"
        return error.value.problem.message


def test_a_known_id_is_asked_for_once_and_goes_on_without_the_registry() -> None:
    world = World()
    for _ in range(3):
        assert world.cache.get(1) == "schema of 1"
    world.down = True
    assert world.cache.get(1) == "schema of 1"
    assert world.asked == 1


def test_an_unknown_id_waits_once_and_the_next_does_not() -> None:
    world = World()
    world.down = True
    assert world.refused(2) == "schema 2: the registry does not answer: gone"
    assert world.now == 1_030.0
    asked = world.asked
    assert world.refused(1) == "schema 1: the registry does not answer: gone"
    assert (world.now, world.asked) == (1_030.0, asked)
    world.now += DOWN_S
    world.refused(1)
    assert (world.now, world.asked) == (1_030.0 + DOWN_S, asked + 1), "one attempt, and no wait"
    world.now += DOWN_S
    world.down = False
    assert world.cache.get(1) == "schema of 1"
    world.down, before = True, world.now
    world.refused(2)
    assert world.now == before + 30, "after it has answered, the next outage is waited for again"


def test_a_registry_that_comes_back_in_time_costs_no_record() -> None:
    world = World()
    world.down = True
    sleeps = iter([None, None, lambda: setattr(world, "down", False)])

    def sleep(seconds: float) -> None:
        world.now += seconds
        if wake := next(sleeps):
            wake()

    world.cache._sleep = sleep
    assert world.cache.get(1) == "schema of 1"
    assert world.now == 1_003.0


def test_an_id_that_nobody_registered_is_asked_for_again_later_but_not_by_each_record() -> None:
    world = World()
    for _ in range(100):
        assert world.refused(7) == "schema 7: the registry has no such schema"
    assert (world.asked, world.now) == (1, 1_000.0)
    world.known.add(7)
    world.now += UNKNOWN_S
    assert world.cache.get(7) == "schema of 7"


def test_made_up_ids_and_many_schemas_take_bounded_memory() -> None:
    world = World()
    world.known = set(range(5_000))
    for number in range(20_000):
        if number in world.known:
            world.cache.get(number)
        else:
            world.refused(number)
    assert len(world.cache._known) == MOST_SCHEMAS
    assert len(world.cache._unknown) <= 10_000


@contextmanager
def server(
    answers: dict[str, tuple[int, bytes, dict[str, str]]], tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[Any]]]:
    """Its address, and the requests that it got: path and headers."""
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append((self.path, dict(self.headers)))
            status, body, headers = answers.get(self.path, (404, b"no such page", {}))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        running.socket = tls.wrap_socket(running.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{running.server_port}", got
    finally:
        running.shutdown()
        running.server_close()


def answer(value: Any, status: int = 200) -> tuple[int, bytes, dict[str, str]]:
    return status, json.dumps(value).encode(), {}


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (answer({"error_code": 50001}, 500), "answers 500"),
        (answer({"error_code": 40101}, 401), "answers 401"),
        ((404, b"<html>no such host</html>", {}), "answers 404"),
        ((200, b"<html>log in</html>", {}), "not JSON"),
        ((200, b"[" * 100_000, {}), "not JSON"),
        (answer(["a"]), "not an object"),
        (answer({"id": 1}), "no schema"),
        (answer({"schema": "{}", "references": [{"name": "x"}]}), "reference without subject"),
        (answer({"schema": "x" * LARGEST_ANSWER}), "larger than"),
    ],
)
def test_an_answer_of_another_kind_is_no_statement_about_the_schema(response: Any, message: str) -> None:
    with server({"/schemas/ids/1": response}) as (url, _), pytest.raises(RegistryError, match=message):
        SchemaRegistry(RegistryParams(url)).by_id(1)


def test_only_the_registry_itself_says_that_there_is_no_such_schema() -> None:
    found = server({"/schemas/ids/1": answer({"error_code": 40403}, 404)})
    with found as (url, _), pytest.raises(NoSuchSchemaError):
        SchemaRegistry(RegistryParams(url)).by_id(1)
    with pytest.raises(RegistryError, match="does not answer"):
        SchemaRegistry(RegistryParams(url)).by_id(1)


def test_references_that_go_in_circles_end() -> None:
    reference = {"name": "x", "subject": "a", "version": 1}
    circle = answer({"schema": "{}", "references": [reference]})
    found = server({"/schemas/ids/1": circle, "/subjects/a/versions/1": circle})
    with found as (url, got), pytest.raises(NoSuchSchemaError, match="a circle"):
        SchemaRegistry(RegistryParams(url)).by_id(1)
    assert len(got) == 2


@pytest.mark.parametrize(
    ("params", "header"),
    [
        ({"username": "me", "password": "pässword"}, "Basic bWU6cMOkc3N3b3Jk"),
        ({"token": "abc"}, "Bearer abc"),
    ],
)
def test_a_login_goes_to_the_registry_and_not_to_where_it_sends_us(
    params: dict[str, str], header: str
) -> None:
    with server({"/schemas/ids/1": answer({"schema": "{}"})}) as (elsewhere, got_elsewhere):
        moved = (302, b"", {"Location": f"{elsewhere}/schemas/ids/1"})
        with server({"/schemas/ids/1": moved}) as (url, got):
            SchemaRegistry(RegistryParams(url, **params)).by_id(1)  # type: ignore[arg-type]
    assert got[0][1]["Authorization"] == header
    assert "Authorization" not in got_elsewhere[0][1]


def test_what_is_secret_is_in_no_text_of_the_parameters() -> None:
    params = RegistryParams("https://r", "me", "hunter2", "token-abc", "ca", "certificate", "key-abc")
    assert repr(params) == "RegistryParams('https://r')"


def test_both_sides_show_certificates(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority.issue("registry", "127.0.0.1"))
    tls.load_verify_locations(authority.file)
    tls.verify_mode = ssl.CERT_REQUIRED
    own = authority.issue("scorer").with_suffix(".crt").read_text()
    key = (tmp_path / "scorer.key").read_text()
    with server({"/schemas/ids/1": answer({"schema": "{}"})}, tls) as (url, _):
        good = RegistryParams(url, ca=authority.file.read_text(), certificate=own, key=key)
        assert SchemaRegistry(good).by_id(1).text == "{}"
        for wrong in (
            RegistryParams(url, certificate=own, key=key),
            RegistryParams(url, ca=stranger.file.read_text(), certificate=own, key=key),
            RegistryParams(url, ca=authority.file.read_text()),
        ):
            with pytest.raises(RegistryError, match="does not answer"):
                SchemaRegistry(wrong).by_id(1)
