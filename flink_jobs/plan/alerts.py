"""Plans the alerts of a job: its rules, checked against the watched columns, and its webhook."""

from __future__ import annotations

from collections.abc import Mapping

from flink_jobs.plan.diagnose import Collector
from flink_jobs.plan.watched import Watched
from flink_jobs.spec import AlertRule, Alerts
from udfs.alerts.shapes import ShapeParams
from udfs.alerts.webhook import WebhookParams
from udfs.drift.alert_rules import DEFAULT_RULES, AlertRuleParams

SEQUENTIAL_RULE, DEAD_LETTERS_RULE = "sequential", "dead-letters"


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
    alerts: Alerts, watched: Watched, sequential: bool, found: Collector, max_dead: float | None = None
) -> tuple[AlertRuleParams, ...]:
    """The rules of the job, or Tailrace's own; columns that are not watched are added to `found`.

    `max_dead` is the share of dead letters from which a single window is bad.
    """
    if sequential and SEQUENTIAL_RULE in alerts.rules:
        location = ("alerts", "rules", SEQUENTIAL_RULE)
        found.add(location, "a rule of another name beside drift.sequential", repr(SEQUENTIAL_RULE))
    for name, rule in alerts.rules.items():
        watched.check(rule.columns, ("alerts", "rules", name, "columns"), found)
    rules = tuple(_rule(name, rule) for name, rule in alerts.rules.items()) or DEFAULT_RULES
    if max_dead is None or DEAD_LETTERS_RULE in alerts.rules:
        return rules
    limit = AlertRuleParams(
        DEAD_LETTERS_RULE, "dead_rate", above=max_dead, severity="critical", windows=(1, 1)
    )
    return (*(rule for rule in rules if rule.name != DEAD_LETTERS_RULE), limit)


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
