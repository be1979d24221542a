"""A job file on historical records: bounded, in event time, on Flink, by the very way that live records take.

    read = read_records(job, Path("flights.parquet"))
    with Replay(job, read.records) as replay:
        replay.features(["dep_delay", "mean_delay"]).table      # no model needed
        replay.predictions(1).table, replay.predictions(2).table

The records go through a Kafka broker that lives as long as the replay, in one partition, so that which ones
are late depends on their order alone. `features` and `predictions` do it in one call.
"""

from flink_jobs.history.records import HistoryFile, read_records
from flink_jobs.history.replay import Replay, features, predictions
from flink_jobs.history.results import History
from flink_jobs.history.tables import Tables, read_changes, read_tables

__all__ = [
    "History",
    "HistoryFile",
    "Replay",
    "Tables",
    "features",
    "predictions",
    "read_changes",
    "read_records",
    "read_tables",
]
