"""A bounded run ends where its topic ended when it was started, and tells the brokers so.

Flink commits offsets with checkpoints alone, and a source that has read all is gone before the last one: who
goes on from there (`start: committed`), or counts by it (`tailrace accounts`), would begin too early.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from flink_jobs.kafka import ClientSettings, commit_offsets, end_offsets
from flink_jobs.plan import Runnable, sql
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.tables import until_offsets


@dataclass(frozen=True)
class Ends:
    """The ends of the partitions of a job's source."""

    settings: ClientSettings
    group: str
    topic: str
    offsets: Mapping[int, int]

    @classmethod
    def of(cls, plan: Runnable) -> Self:
        """As they are now. Raises InputError or WorkError as reading a topic does."""
        source, settings = plan.job.source, client_settings(plan.job)
        offsets = end_offsets(settings, source.topic, isolation=source.isolation)
        return cls(settings, plan.job.job, source.topic, offsets)

    def bound(self, plan: Runnable) -> Runnable:
        """The plan that ends there."""
        bounds = until_offsets(self.offsets)
        return replace(plan, tables=tuple(_bound(table, bounds) for table in plan.tables))

    def commit(self) -> None:
        """Tells the brokers that all of it has been read. Raises WorkError when they refuse it."""
        commit_offsets(self.settings, self.group, self.topic, self.offsets)


def _bound(table: sql.Table, bounds: Mapping[str, str]) -> sql.Table:
    return replace(table, options={**table.options, **bounds}) if table.name == "source" else table
