"""What Tailrace asks of Kafka outside a job: topics, limits, writing and reading.

    settings = ClientSettings("localhost:9092")
    create_topics(settings, {"flights.departed": 4})
    for record in read_topic(settings, "flights.departed"): ...

All functions raise WorkError when no broker answers (within about 10 s) or a right is missing.
"""

from flink_jobs.kafka.admin import (
    BrokerLimits,
    TopicInfo,
    answers,
    cluster_limits,
    create_topics,
    describe_topics,
    end_offsets,
    list_topics,
    no_such_topic,
)
from flink_jobs.kafka.records import Message, Record, count_committed, produce, produce_lines, read_topic
from flink_jobs.kafka.settings import ClientSettings

__all__ = [
    "BrokerLimits",
    "ClientSettings",
    "Message",
    "Record",
    "TopicInfo",
    "answers",
    "cluster_limits",
    "count_committed",
    "create_topics",
    "describe_topics",
    "end_offsets",
    "list_topics",
    "no_such_topic",
    "produce",
    "produce_lines",
    "read_topic",
]
