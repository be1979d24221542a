"""Alerts reach a web address in order, however it behaves at first, and nobody waits for it."""

from __future__ import annotations

import time

import pytest

from tests.helpers.endpoint import HANG, Endpoint
from udfs.alerts.webhook import Sender, WebhookParams


def sender(endpoint: Endpoint, retries: int = 3, timeout: float = 0.3) -> Sender:
    made = Sender(WebhookParams(endpoint.url, (("X-Token", "s3cret"),), timeout, retries), first_wait_s=0.01)
    made.start()
    return made


def test_an_endpoint_that_fails_then_hangs_then_works() -> None:
    with Endpoint([503, HANG, 429]) as endpoint:
        sending = sender(endpoint)
        started = time.monotonic()
        for number in range(3):
            sending.submit(number, b"%d" % number)
        assert time.monotonic() - started < 0.1
        assert sending.done() == []
        assert sending.wait(10)
        assert sending.done() == [(0, True), (1, True), (2, True)]
        assert sending.done() == []
        sending.close()
    assert endpoint.bodies == [b"0", b"1", b"2"]
    assert endpoint.attempts == 6
    assert endpoint.headers[0]["X-Token"] == "s3cret"
    assert endpoint.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize(("answers", "attempts"), [([404], 1), ([301], 1), ([500] * 4, 4)])
def test_what_is_refused_is_given_up_and_the_next_goes_on(answers: list[int], attempts: int) -> None:
    with Endpoint(answers) as endpoint:
        sending = sender(endpoint)
        sending.submit(7, b"lost")
        sending.submit(8, b"next")
        assert sending.wait(10)
        assert sending.done() == [(7, False), (8, True)]
        sending.close()
    assert endpoint.attempts == attempts + 1
    assert endpoint.bodies == [b"next"]


def test_no_endpoint_at_all() -> None:
    with Endpoint() as endpoint:
        pass
    sending = sender(endpoint, retries=1)
    sending.submit(1, b"x")
    assert sending.wait(10)
    assert sending.done() == [(1, False)]
    sending.close()


def test_a_closed_sender_decides_nothing() -> None:
    with Endpoint([500] * 100) as endpoint:
        sending = sender(endpoint, retries=20)
        sending.submit(1, b"x")
        time.sleep(0.1)
        sending.close()
        assert not sending.wait(0.3)
        assert sending.done() == []


def test_the_address_is_not_shown() -> None:
    params = WebhookParams("https://hooks.example.org/T0/secret", (("Authorization", "secret"),))
    assert repr(params) == "WebhookParams('hooks.example.org')"
