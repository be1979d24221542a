"""A cluster whose Java may not ask the token server would fail after the start, again and again."""

from __future__ import annotations

import pytest

from flink_jobs.errors import InputError
from flink_jobs.run.tokens import java_option, require_allowed
from flink_jobs.spec import JobSpec

URL = "https://login.example.org/token"
OAUTH = {"token_url": URL, "client_id": "me", "client_secret": "hunter2"}


def job(security: dict[str, object] | None) -> JobSpec:
    return JobSpec.model_validate(
        {
            "job": "a",
            "kafka": {"security": security} if security else {},
            "source": {"topic": "in", "schema": {"x": "double"}},
            "model": {"name": "m"},
        }
    )


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"env.java.opts.all": f"-Xmx1g {java_option('https://other/token', URL)} -ea"}, True),
        ({"env.java.opts.taskmanager": java_option(URL)}, True),
        ({"env.java.opts.all": java_option(URL + "s")}, False),
        ({"env.java.opts.all": f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={URL}"}, False),
        ({}, False),
    ],
)
def test_a_cluster_must_allow_the_token_server(options: dict[str, str], allowed: bool) -> None:
    """By the name that the connector's own copy of the client looks for."""
    asking = job({"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "oauth": OAUTH})
    require_allowed(job(None), "http://flink:8081", options)
    if allowed:
        require_allowed(asking, "http://flink:8081", options)
        return
    with pytest.raises(InputError, match=r"http://flink:8081 may not ask .*must have -Dorg") as caught:
        require_allowed(asking, "http://flink:8081", options)
    assert java_option(URL) in str(caught.value)
    assert "hunter2" not in str(caught.value)
