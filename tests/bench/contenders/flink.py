"""Flink without Python workers and without a model, with the options that Tailrace's jobs have."""

from __future__ import annotations

from typing import Any

from flink_jobs.plan import make_plan
from flink_jobs.plan.tables import kafka_tables
from flink_jobs.run.program import Target, _environment, _options
from flink_jobs.spec import JobSpec
from tests.bench.contenders import Work
from tests.bench.data import COLUMNS, ROWS_PER_KEY, job

OUT_OF_ORDER = "INTERVAL '5' SECOND"


def java(work: Work) -> None:
    """The raw bytes from topic to topic."""
    spec = _spec(work)
    tables = _tables(spec)
    for table in kafka_tables(spec, bounded=True)[:2]:
        tables.execute_sql(table.ddl(reveal=True))
    tables.execute_sql("INSERT INTO predictions SELECT _key, _value FROM source").wait()


def java_over(work: Work) -> None:
    """The aggregates of `windowed`, as a user of Flink SQL would write them."""
    tables = _tables(_spec(work))
    longs = ", ".join(f"`{name}` BIGINT" for name in ("id", "ts", *ROWS_PER_KEY))
    doubles = ", ".join(f"`{name}` DOUBLE" for name in COLUMNS)
    tables.execute_sql(f"""
        CREATE TABLE source (
          {longs}, {doubles},
          event_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
          WATERMARK FOR event_time AS event_time - {OUT_OF_ORDER}
        ) WITH (
          'connector' = 'kafka', 'topic' = '{work.topic}', 'format' = 'json',
          'properties.bootstrap.servers' = '{work.brokers}', 'properties.group.id' = '{work.name}',
          'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'
        )""")
    tables.execute_sql(f"""
        CREATE TABLE predictions (
          id BIGINT, card BIGINT, seen BIGINT, mean_amount DOUBLE, max_amount DOUBLE
        ) WITH (
          'connector' = 'kafka', 'topic' = '{work.name}.predictions', 'format' = 'json',
          'properties.bootstrap.servers' = '{work.brokers}',
          'properties.compression.type' = 'lz4', 'properties.linger.ms' = '100',
          'properties.transaction.timeout.ms' = '900000',
          'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{work.name}'
        )""")
    tables.execute_sql("""
        INSERT INTO predictions
        SELECT id, card, COUNT(*) OVER recent, AVG(amount) OVER recent, MAX(amount) OVER recent
        FROM source
        WINDOW recent AS (
          PARTITION BY card ORDER BY event_time
          RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW
        )""").wait()


def _spec(work: Work) -> JobSpec:
    return JobSpec.model_validate(job(work.brokers, work.registry, work.name, topic=work.topic))


def _tables(spec: JobSpec) -> Any:
    return _environment(_options(make_plan(spec, bounded=True), Target(), None))[0]
