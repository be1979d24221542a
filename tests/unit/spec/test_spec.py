"""The values of a job file: durations, sizes, aggregates, windows, and what may not be combined."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from flink_jobs.jobfile.references import reference_diagnostics
from flink_jobs.spec import JobSpec, SchemaField, Window
from flink_jobs.spec.aggregates import AGGREGATES, Aggregate, parse_aggregate
from flink_jobs.spec.json_schema import job_schema
from flink_jobs.spec.scalars import LONGEST_MS, format_duration, parse_brokers, parse_duration, parse_size

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)


def job_data(**changes: Any) -> dict[str, Any]:
    """A job of one window, as YAML gives it; `changes` replace sections."""
    base: dict[str, Any] = {
        "job": "trips",
        "source": {
            "topic": "trips",
            "schema": {
                "city": "string",
                "fare": "double",
                "seats": "long",
                "card": {"type": "string", "pii": "hash"},
            },
        },
        "model": {"name": "tips"},
    }
    return base | changes


def per_window(window: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return job_data(score="per_window", features={"windows": {"w": window}, **changes})


def places(data: dict[str, Any]) -> list[str]:
    return [".".join(map(str, diagnostic.location)) for diagnostic in reference_diagnostics(data)]


@given(st.integers(0, LONGEST_MS))
def test_durations_survive_writing(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("0s", 0), ("200ms", 200), ("30s", 30_000), ("5m", 300_000), ("6h", 21_600_000), ("1d", 86_400_000)],
)
def test_durations_are_milliseconds(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "5", "m", "-5m", "5M", "5 m", "5m\n", "٥m", "1e3s", "5mm", 5, None, True, []]
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("5 min", "5m"),
        ("5minutes", "5m"),
        ("2 Hours", "2h"),
        ("1day", "1d"),
        ("30 seconds", "30s"),
        ("9 weeks", None),
    ],
)
def test_durations_written_otherwise_get_a_suggestion(text: str, meant: str | None) -> None:
    with pytest.raises(ValueError, match="must be a duration") as caught:
        parse_duration(text)
    assert caught.value.context["suggestion"] == meant  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "size"), [(7, 7), ("7 B", 7), ("512 KB", 512_000), ("512KB", 512_000), ("1 MB", 1_000_000)]
)
def test_sizes_are_bytes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "1 GB", "1.5 MB", "-1", -1, 0, "101 MB", True, None, 1.0, "9" * 5000])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        parse_size(text)


@pytest.mark.parametrize(
    "brokers", ["a:1", "a:1,b:2", "a:1, b:2", "[::1]:9092", "10.0.0.1:65535", "kafka_0.local:9092"]
)
def test_brokers(brokers: str) -> None:
    assert parse_brokers(brokers) == brokers.replace(" ", "")


@pytest.mark.parametrize("brokers", ["", "a", ":1", "a:", "a:0", "a:65536", "a:1,", "http://a:1", "a b:1", 1])
def test_what_is_no_broker(brokers: object) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parse_brokers(brokers)


SECOND: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "lag": st.integers(1, 10_000).map(lambda n: {"offset": n}),
    "top": st.integers(1, 100).map(lambda n: {"offset": n}),
    "percentile": st.floats(0, 1).map(lambda share: {"share": share}),
    "ewma": st.integers(1, 10**9).map(lambda ms: {"half_life": ms}),
}


@st.composite
def aggregates(draw: st.DrawFn) -> Aggregate:
    function = draw(st.sampled_from(AGGREGATES))
    column = None if function == "time_since_last" else draw(NAMES)
    distinct = function == "count" and draw(st.booleans())
    where = draw(st.none() | st.text(min_size=1, max_size=20).filter(lambda text: text == text.strip()))
    second = draw(SECOND.get(function, st.just({})))
    return Aggregate(function, column, distinct, where=where, **second)


@given(aggregates())
def test_aggregates_survive_writing(aggregate: Aggregate) -> None:
    assert parse_aggregate(str(aggregate)) == aggregate


@pytest.mark.parametrize(
    ("text", "aggregate"),
    [
        ("count(*)", Aggregate("count")),
        ("count(distinct x)", Aggregate("count", "x", distinct=True)),
        (" COUNT ( DISTINCT x ) ", Aggregate("count", "x", distinct=True)),
        ("count(distinct)", Aggregate("count", "distinct")),
        ("lag(x)", Aggregate("lag", "x", offset=1)),
        ("lag(x,3)", Aggregate("lag", "x", offset=3)),
        ("top(x)", Aggregate("top", "x", offset=1)),
        ("top(x, 3 where a)", Aggregate("top", "x", offset=3, where="a")),
        ("percentile(x, 0.9)", Aggregate("percentile", "x", share=0.9)),
        ("percentile(x, 90%)", Aggregate("percentile", "x", share=0.9)),
        ("ewma(x, 10m)", Aggregate("ewma", "x", half_life=600_000)),
        ("rate(x)", Aggregate("rate", "x")),
        ("delta( x )", Aggregate("delta", "x")),
        ("time_since_last()", Aggregate("time_since_last")),
        ("time_since_last( where a )", Aggregate("time_since_last", where="a")),
        ("count(* where amount > 100)", Aggregate("count", where="amount > 100")),
        ("count(*) WHERE amount > 100", Aggregate("count", where="amount > 100")),
        (
            "sum(x where (a > 1) and b in ('c)', ''))",
            Aggregate("sum", "x", where="(a > 1) and b in ('c)', '')"),
        ),
        ("sum(x)where(a)", Aggregate("sum", "x", where="(a)")),
        ("count(distinct x\n where a\n or b)", Aggregate("count", "x", distinct=True, where="a\n or b")),
        ("lag(x, 2 where a)", Aggregate("lag", "x", offset=2, where="a")),
        ("sum(where)", Aggregate("sum", "where")),
        ("sum(where where where)", Aggregate("sum", "where", where="where")),
    ],
)
def test_aggregates(text: str, aggregate: Aggregate) -> None:
    assert parse_aggregate(text) == aggregate
    jsonschema.validate({"n": text}, job_schema()["$defs"]["Window"]["properties"]["select"])


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "x",
            "count",
            "count()",
            "count(*",
            "sum(a, b)",
            "sum(a) + 1",
            "sum(a)); DROP",
            "sum(sum(a))",
            1,
        ),
        *(
            "count(* where)",
            "count(*) where ",
            "sum(awhere b)",
            "sum(a where b) + 1",
            "percentile(a)",
            "ewma(a)",
        ),
        *("percentile(a, 1.1)", "percentile(a, nan)", "ewma(a, 0s)", "ewma(a, 5)", "lag(a, 0)", "lag(a, b)"),
        *(
            "rate(a, 1s)",
            "delta(*)",
            "time_since_last(a)",
            "top(a, 0)",
            "top(*)",
            "top(a, 101)",
            "lag(a, 1, 2)",
            "avg(distinct a)",
        ),
    ],
)
def test_what_is_no_aggregate(text: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_aggregate(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("median(x)", "percentile(x, 0.5)"),
        ("median(x) where a > 1", "percentile(x, 0.5 where a > 1)"),
        ("quantile(x)", "percentile(x, 0.5)"),
        ("p95(x)", "percentile(x, 0.95)"),
        ("percentil(x, 0.9)", "percentile(x, 0.9)"),
        ("percentile(x)", "percentile(x, 0.5)"),
        ("percentile(x, 95)", "percentile(x, 95%)"),
        ("ema(x)", "ewma(x, 10m)"),
        ("ewma(x, 10 min)", None),
        ("ewma(x, 10min)", "ewma(x, 10m)"),
        ("diff(x)", "delta(x)"),
        ("time_since(x)", "time_since_last()"),
        ("time_since_last(x)", "time_since_last(where x IS NOT NULL)"),
        ("mode(x)", "top(x)"),
        ("most_common(x)", "top(x)"),
        ("topp(x, 3)", "top(x, 3)"),
        ("histogram(x, 3)", None),
    ],
)
def test_what_was_meant_by_another_aggregate(text: str, meant: str | None) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        parse_aggregate(text)
    assert (caught.value.context or {}).get("suggestion") == meant
    if meant:
        parse_aggregate(meant)


@pytest.mark.parametrize(
    "text", ["f(" + " " * 1_990, "count(*) where " + ") " * 900, "sum(" + "where " * 330]
)
def test_a_long_aggregate_is_read_at_once(text: str) -> None:
    started = time.perf_counter()
    with suppress(ValueError):
        parse_aggregate(text)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("given_kind", "kind", "size"),
    [
        ({"over": "1h"}, "over", 3_600_000),
        ({"rows": 10_000}, "rows", 10_000),
        ({"tumble": "1m"}, "tumble", 60_000),
        ({"hop": "1h", "every": "5m"}, "hop", 3_600_000),
        ({"session": "200ms"}, "session", 200),
    ],
)
def test_windows_tell_their_kind_and_size(given_kind: dict[str, Any], kind: str, size: int) -> None:
    window = Window.model_validate({"by": "city", "select": {"n": "count(*)"}} | given_kind)
    assert (window.kind, window.size) == (kind, size)


def test_hop_windows_start_on_a_grid_that_fits() -> None:
    for every in ({}, {"every": "7m"}, {"every": "2h"}):
        with pytest.raises(ValidationError) as caught:
            Window.model_validate({"by": "city", "hop": "1h", "select": {"n": "count(*)"}} | every)
        assert [error["loc"] for error in caught.value.errors()] == [("every",)]


@pytest.mark.parametrize(
    "field",
    [
        {"type": "long", "range": [0, 2**63]},
        {"type": "long", "values": [2**63]},
        {"type": "long", "values": [True]},
        {"type": "double", "values": [float("nan")]},
        {"type": "double", "values": [1, 1.0]},
        {"type": "boolean", "values": [0]},
        {"type": "boolean", "range": [0, 1]},
        {"type": "double", "range": [0, True]},
        {"type": "double", "range": [0, 10**400]},
    ],
)
def test_constraints_of_another_type(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SchemaField.model_validate(field)


def test_constraints_keep_their_numbers() -> None:
    field = SchemaField.model_validate({"type": "long", "range": [None, 2**53 + 1], "values": [2**53 + 1]})
    assert (field.low, field.high, field.values) == (None, 2**53 + 1, (2**53 + 1,))


def test_nothing_can_be_changed() -> None:
    job = JobSpec.model_validate(job_data())
    with pytest.raises(ValidationError, match="frozen"):
        job.job = "other"
    with pytest.raises(ValidationError, match="frozen"):
        job.source.topic = "other"


def test_without_a_folder_paths_stay_as_written() -> None:
    assert JobSpec.model_validate(job_data()).model.registry == Path("models")


@pytest.mark.parametrize("kind", [{"tumble": "1h"}, {"hop": "1h", "every": "30m"}, {"session": "5m"}])
def test_a_job_can_score_windows(kind: dict[str, Any]) -> None:
    data = per_window({"by": ["city", "seats"], "select": {"n": "count(*)", "mean": "avg(fare)"}, **kind})
    data["predictions"] = {"include": ["city", "seats", "mean"]}
    assert reference_diagnostics(data) == []
    assert JobSpec.model_validate(data).predictions.include == ("city", "seats", "mean")


def test_a_scored_window_has_no_fields_but_its_keys() -> None:
    lookup = {"file": "cards.csv", "by": "card", "select": ["age"]}
    data = per_window({"by": "city", "tumble": "1h", "select": {"n": "count(*)"}}, lookups={"cards": lookup})
    data |= {
        "predictions": {"include": ["city", "fare", "age"]},
        "model": {"name": "m", "inputs": {"x": "seats"}},
    }
    assert places(data) == ["features.lookups.cards.by", "predictions.include.1", "model.inputs.x"]


KINDS = pytest.mark.parametrize("kind", [{"tumble": "1h"}, {"hop": "1h", "every": "30m"}, {"session": "5m"}])


@KINDS
@pytest.mark.parametrize("aggregate", ["lag(fare)", "time_since_last()", "lag(fare) where fare > 10"])
def test_a_scored_window_has_no_record_before(kind: dict[str, Any], aggregate: str) -> None:
    window = {"by": "city", "select": {"n": aggregate, "m": "count(*)"}, **kind}
    (found,) = reference_diagnostics(per_window(window))
    assert found.location == ("features", "windows", "w", "select", "n")
    assert "over and rows windows" in found.expected
    assert found.found == str(parse_aggregate(aggregate))


@KINDS
@pytest.mark.parametrize(
    "aggregate",
    [
        *("percentile(fare, 0.9)", "ewma(fare, 10m)", "rate(fare)", "delta(fare)"),
        *("count(* where fare > 10)", "sum(fare) where fare > 10"),
    ],
)
def test_a_scored_window_has_all_other_aggregates(kind: dict[str, Any], aggregate: str) -> None:
    window = {"by": "city", "select": {"n": aggregate, "m": "count(*)"}, **kind}
    assert reference_diagnostics(per_window(window)) == []


@KINDS
def test_a_scored_window_takes_fields_named_as_its_own_times(kind: dict[str, Any]) -> None:
    """Flink's windows had columns of these names, and failed."""
    window = {"by": "window_start", "select": {"window_time": "max(window_end)"}, **kind}
    data = per_window(window)
    data["source"]["schema"] |= {"window_start": "string", "window_end": "double"}
    data["predictions"] = {"include": []}
    assert reference_diagnostics(data) == []


def test_a_lookup_can_follow_a_window() -> None:
    features = {
        "windows": {"w": {"by": "city", "rows": 2, "select": {"before": "lag(city)"}}},
        "lookups": {
            "cities": {"file": "cities.csv", "by": "before", "key": "name", "select": {"people": "n"}}
        },
    }
    assert reference_diagnostics(job_data(features=features)) == []


@pytest.mark.parametrize("aggregate", ["first(card)", "last(card)", "min(card)", "max(card)", "lag(card)"])
def test_personal_data_does_not_leave_by_way_of_a_window(aggregate: str) -> None:
    window: dict[str, Any] = {"by": "city", "rows": 2, "select": {"x": aggregate}}
    features = {"windows": {"w": window}}
    predictions = {"include": ["x"], "pii_key": "${KEY}"}
    assert places(job_data(features=features, predictions=predictions)) == ["predictions.include.0"]
    window["select"]["x"] = "count(distinct card)"
    assert reference_diagnostics(job_data(features=features, predictions=predictions)) == []


def test_a_percentile_is_one_of_the_values() -> None:
    window: dict[str, Any] = {"by": "city", "rows": 1, "select": {"x": "percentile(age, 1)"}}
    data = job_data(features={"windows": {"w": window}}, predictions={"include": ["x"]})
    data["source"]["schema"]["age"] = {"type": "long", "pii": "drop"}
    assert places(data) == ["predictions.include.0"]
    window["select"]["x"] = "count(age)"
    assert reference_diagnostics(data) == []


def test_personal_data_can_be_included_as_a_hash() -> None:
    assert (
        reference_diagnostics(job_data(predictions={"include": ["card"], "pii_key": {"file": "key"}})) == []
    )


def test_security_needs_what_its_protocol_needs() -> None:
    def wrong_keys(security: dict[str, Any]) -> list[object]:
        with pytest.raises(ValidationError) as caught:
            JobSpec.model_validate(job_data(kafka={"security": security}))
        return [error["loc"][-1] for error in caught.value.errors()]

    assert wrong_keys({"protocol": "SASL_PLAINTEXT"}) == ["mechanism", "username", "password"]
    assert wrong_keys({"protocol": "SSL", "username": "u", "password": "p"}) == ["username", "password"]
    assert wrong_keys({"protocol": "PLAINTEXT", "ca_file": "ca.pem"}) == ["ca_file"]
    assert wrong_keys({"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "username": "u"}) == [
        "username",
        "oauth",
    ]
    assert wrong_keys({"protocol": "SASL_SSL", "mechanism": "GSSAPI"}) == ["kerberos"]
    assert wrong_keys({"protocol": "SASL_SSL", "mechanism": "AWS_MSK_IAM"}) == ["region"]
    assert wrong_keys({"protocol": "SSL", "key_file": "k"}) == ["certificate_file"]
    both = {"certificate_file": "c", "keystore_file": "k"}
    assert wrong_keys({"protocol": "SSL", **both}) == ["keystore_file"]
    oauth = {"token_url": "https://me:pw@login/t", "client_id": "i", "client_secret": "s"}
    login = {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "oauth": oauth}
    assert wrong_keys(login) == ["token_url"]
    job = JobSpec.model_validate(job_data(kafka={"security": {"protocol": "SSL", "ca_file": "ca.pem"}}))
    assert job.kafka.security is not None


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("bootstrap.servers", "kafka.brokers"),
        ("security.protocol", "kafka.security.protocol"),
        ("isolation.level", "source.isolation"),
        ("acks", "runtime.delivery"),
        ("enable.idempotence", "runtime.delivery"),
        ("group.id", "job"),
        ("transactional.id", "job"),
        ("sasl.mechanism", "kafka.security.mechanism"),
        ("ssl.endpoint.identification.algorithm", "kafka.security"),
    ],
)
def test_a_property_cannot_contradict_what_another_key_promises(name: str, key: str) -> None:
    """`acks: 1` beside exactly_once loses records; `PLAINTEXT` beside a password sends it in the clear."""
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate(job_data(kafka={"properties": {name: "x"}}))
    [error] = caught.value.errors()
    assert f"a property other than {name}, which comes from {key}" in str(error["ctx"])


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("execution.checkpointing.mode", "AT_LEAST_ONCE", "runtime.delivery"),
        ("execution.checkpointing.interval", "1 d", "runtime.checkpoint.interval"),
        ("parallelism.default", 99, "runtime.parallelism"),
        ("pipeline.name", "another", "job"),
        ("pipeline.jars", "file:///tmp/evil.jar", "Tailrace itself"),
        ("pipeline.classpaths", "file:///tmp/evil.jar", "Tailrace itself"),
        ("python.executable", "/tmp/evil", "runtime.python"),
    ],
)
def test_a_flink_option_cannot_contradict_what_another_key_promises(
    name: str, value: object, key: str
) -> None:
    """A mode under exactly_once repeats records; another name escapes the check for a job that runs twice."""
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate(job_data(runtime={"flink": {name: value}}))
    [error] = caught.value.errors()
    assert f"an option other than {name}, which comes from {key}" in str(error["ctx"])
