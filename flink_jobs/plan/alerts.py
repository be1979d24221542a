"""Plans the alerts of a job: its rules, checked against the watched columns, and its webhook."""

from __future__ import annotations

from collections.abc import Mapping

from flink_jobs.plan.diagnose import Collector
from flink_jobs.plan.watched import Watched
from flink_jobs.spec import AlertRule, Alerts
from udfs.alerts.shapes import ShapeParams
from udfs.alerts.webhook import WebhookParams
from udfs.drift.alert_rules import DEFAULT_RULES, AlertRuleParams

SEQUENTIAL_RULE = "sequential"


def webhook_params(alerts: Alerts | None, windows: Mapping[str, int]) -> WebhookParams | None:
    """Where incidents are sent; None where nothing is asked for.

    `windows` are those of all that watches the job, by the schema of their records.
    """
    asked = alerts.webhook if alerts else None
    if asked is None:
        return None
    headers = tuple((name, value.get_secret_value()) for name, value in asked.headers.items())
    key = asked.routing_key.get_secret_value() if asked.routing_key else None
    shape = ShapeParams(asked.format, asked.runbook_url, key)
    url = asked.url.get_secret_value()
    return WebhookParams(url, headers, asked.timeout / 1000, asked.retries, shape, dict(windows))


def alert_rules(
    alerts: Alerts, watched: Watched, sequential: bool, found: Collector
) -> tuple[AlertRuleParams, ...]:
    """The rules of the job, or Tailrace's own; columns that are not watched are added to `found`."""
    if sequential and SEQUENTIAL_RULE in alerts.rules:
        location = ("alerts", "rules", SEQUENTIAL_RULE)
        found.add(location, "a rule of another name beside drift.sequential", repr(SEQUENTIAL_RULE))
    for name, rule in alerts.rules.items():
        watched.check(rule.columns, ("alerts", "rules", name, "columns"), found)
    return tuple(_rule(name, rule) for name, rule in alerts.rules.items()) or DEFAULT_RULES


def _rule(name: str, rule: AlertRule) -> AlertRuleParams:
    return AlertRuleParams(
        name=name,
        on=rule.on,
        columns=tuple(rule.columns),
        statistic=rule.statistic,
        above=rule.above,
        severity=rule.severity,
        windows=(rule.bad, rule.of),
        resolve_after=rule.resolve_after,
        segments=rule.segments,
        cooldown_ms=rule.cooldown or 0,
    )
