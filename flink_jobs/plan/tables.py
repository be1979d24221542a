"""Writes the Kafka tables of a job: what it reads and what it writes, with all connector options."""

from __future__ import annotations

from collections.abc import Mapping

from flink_jobs.plan import sql
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.flink_options import largest_message, producer_properties
from flink_jobs.plan.lookups import table_name, topic_lookups
from flink_jobs.plan.outputs import Output, outputs_of
from flink_jobs.plan.topics import labels_of
from flink_jobs.spec import JobSpec, Lookup
from flink_jobs.spec.rollout import Labels
from flink_jobs.spec.source import Source
from udfs.records.event_time import EventTimeField

STARTUP = {"earliest": "earliest-offset", "latest": "latest-offset", "committed": "group-offsets"}
TRANSACTION_TIMEOUT_MS = 900_000
# When Debezium made a change known, beside the row.
CHANGE_TIME = "ts_ms"
# Records of a partition that was added come later than those of the others, and may be late then.
DISCOVERY_MS = 10_000
# In one such interval all partitions together advance at most by `read_ahead`.
READ_AHEAD_CHECKED_MS = 100


def event_time_field(job: JobSpec) -> EventTimeField | None:
    """Where the event time is, or None for the Kafka record's timestamp."""
    return _time_field(job.source)


def _time_field(read: Source | Labels) -> EventTimeField | None:
    when = read.event_time
    name = when.field or when.header
    if name is None:
        return None
    if not (isinstance(read, Source) and when.field):
        return EventTimeField(name, when.unit, header=when.header is not None)
    own = read.envelope.fields.get(name)
    declared = own or read.fields.get(name)
    path = declared.field if declared and declared.field else ""
    if read.envelope.kind == "none":
        return EventTimeField(name, when.unit, path=path)
    if read.envelope.kind == "cloudevents":
        return EventTimeField(name, when.unit, path=path, event="attribute" if own else "data")
    rows = [""] if own else ["after.", "before."] if read.envelope.deletes == "before" else ["after."]
    first, *others = (f"{top}{row}{path or name}" for row in rows for top in ("", "payload."))
    return EventTimeField(name, when.unit, path=first, others=tuple(others))


def kafka_tables(job: JobSpec, *, bounded: bool) -> tuple[sql.Table, ...]:
    """Source, labels and tables, if there are any, then sinks; bounded topics end at their present end."""
    labels = labels_of(job)
    read = [_source(job, "source", job.source, bounded)]
    if labels:
        read.append(_source(job, "labels", labels, bounded))
    read += [_changes(job, name, lookup, bounded) for name, lookup in topic_lookups(job).items()]
    return (*read, *(_sink(job, output) for output in outputs_of(job)))


def _properties(job: JobSpec, own: dict[str, str]) -> dict[str, str]:
    """Client properties as connector options; the user's own are stronger."""
    merged = own | client_settings(job).java()
    return {f"properties.{key}": value for key, value in merged.items()}


def _changes(job: JobSpec, name: str, lookup: Lookup, bounded: bool) -> sql.Table:
    """A table's topic is read from its beginning, wherever the source starts.

    One instance reads it all: one without a partition would give no watermark, and hold all records back.
    """
    columns = sql.source_columns(
        changes_time(lookup), lookup.event_time.max_ahead, lookup.event_time.out_of_order, tombstones=True
    )
    options = _reading(job, table_name(name), lookup, bounded)
    options |= {"scan.startup.mode": STARTUP["earliest"], "scan.parallelism": "1"}
    return sql.Table(table_name(name), columns, options)


def changes_time(lookup: Lookup) -> EventTimeField | None:
    """Where the event time of a table's changes is, or None for the Kafka record's timestamp."""
    when = lookup.event_time
    name = when.field or when.header
    if name is None:
        return None
    if when.header or lookup.envelope == "none":
        return EventTimeField(name, when.unit, header=when.header is not None)
    rows = [""] if name == CHANGE_TIME else ["after.", "before."]
    first, *others = (f"{top}{row}{name}" for row in rows for top in ("", "payload."))
    return EventTimeField(name, when.unit, path=first, others=tuple(others))


def _source(job: JobSpec, name: str, read: Source | Labels, bounded: bool) -> sql.Table:
    when = read.event_time
    columns = sql.source_columns(_time_field(read), when.max_ahead, when.out_of_order)
    return sql.Table(name, columns, _reading(job, name, read, bounded))


def until_offsets(ends: Mapping[int, int]) -> dict[str, str]:
    """The options of a table that ends at these offsets of its partitions."""
    listed = ";".join(f"partition:{number},offset:{end}" for number, end in sorted(ends.items()))
    return {"scan.bounded.mode": "specific-offsets", "scan.bounded.specific-offsets": listed}


def source_read_again(job: JobSpec, name: str, start: int, ends: Mapping[int, int]) -> sql.Table:
    """The source from a Kafka timestamp on, to these offsets, beside the one that goes on and commits.

    No partition is idle in it: it ends, and until then everything waits for it.
    """
    read = job.source
    when = read.event_time
    columns = sql.source_columns(_time_field(read), when.max_ahead, when.out_of_order)
    left = ("scan.watermark.idle-timeout", "scan.watermark.alignment")
    options = {k: v for k, v in _reading(job, name, read, False).items() if not k.startswith(left)}
    options |= until_offsets(ends) | {
        "scan.startup.mode": "timestamp",
        "scan.startup.timestamp-millis": str(start),
        "properties.commit.offsets.on.checkpoint": "false",
    }
    return sql.Table(name, columns, options)


def _reading(job: JobSpec, name: str, read: Source | Labels | Lookup, bounded: bool) -> dict[str, str]:
    """The connector's options."""
    when = read.event_time
    own = {
        "group.id": job.job,
        "auto.offset.reset": "earliest",
        "isolation.level": read.isolation,
        "max.partition.fetch.bytes": str(largest_message(job.source.max_bytes)),
    }
    if name != "source":
        own["client.id.prefix"] = f"{job.job}-{name}"  # metrics of consumers are told apart by it
    options = {
        "connector": "kafka",
        "topic": read.topic or "",
        "scan.startup.mode": STARTUP[job.source.start],
        "scan.topic-partition-discovery.interval": f"{DISCOVERY_MS} ms",
        "scan.watermark.idle-timeout": f"{when.idle} ms",
        # A periodic watermark lags by whatever was read since: what is late would depend on the speed.
        "scan.watermark.emit.strategy": "on-event",
        **sql.RAW_FORMAT,
        **_properties(job, own),
    }
    if isinstance(read, Source) and read.read_ahead is not None:
        options |= {
            "scan.watermark.alignment.group": f"{job.job}-{name}",
            "scan.watermark.alignment.max-drift": f"{read.read_ahead} ms",
            "scan.watermark.alignment.update-interval": f"{READ_AHEAD_CHECKED_MS} ms",
        }
    if bounded:
        options["scan.bounded.mode"] = "latest-offset"
    return options


def _sink(job: JobSpec, output: Output) -> sql.Table:
    own = producer_properties(job)
    options = {"connector": "kafka", "topic": output.topic(job), **sql.RAW_FORMAT}
    if job.runtime.delivery == "exactly_once":
        own["transaction.timeout.ms"] = str(TRANSACTION_TIMEOUT_MS)
        options |= {
            "sink.delivery-guarantee": "exactly-once",
            "sink.transactional-id-prefix": f"{job.job}-{output.name}",
            "sink.transaction-naming-strategy": "POOLING",
        }
    else:
        options["sink.delivery-guarantee"] = "at-least-once"
    return sql.Table(output.name, output.columns(job), options | _properties(job, own))
