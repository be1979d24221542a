"""Asks Kafka what a job does not: topics, limits, writing and reading.

All functions raise WorkError when no broker answers (within about 10 s) or a right is missing.
"""

from flink_jobs.kafka.admin import (
    BrokerLimits,
    TopicInfo,
    answers,
    begin_offsets,
    cluster_limits,
    commit_offsets,
    committed_offsets,
    create_topics,
    describe_topics,
    end_offsets,
    gone_offsets,
    list_topics,
    no_such_topic,
    topic_id,
)
from flink_jobs.kafka.credentials import Kerberos, OAuth
from flink_jobs.kafka.records import (
    Message,
    Record,
    as_message,
    count_committed,
    has_records,
    latest_records,
    produce,
    produce_lines,
    read_record,
    read_span,
    read_topic,
)
from flink_jobs.kafka.settings import ClientSettings

__all__ = [
    "BrokerLimits",
    "ClientSettings",
    "Kerberos",
    "Message",
    "OAuth",
    "Record",
    "TopicInfo",
    "answers",
    "as_message",
    "begin_offsets",
    "cluster_limits",
    "commit_offsets",
    "committed_offsets",
    "count_committed",
    "create_topics",
    "describe_topics",
    "end_offsets",
    "gone_offsets",
    "has_records",
    "latest_records",
    "list_topics",
    "no_such_topic",
    "produce",
    "produce_lines",
    "read_record",
    "read_span",
    "read_topic",
    "topic_id",
]
