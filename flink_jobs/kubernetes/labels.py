"""What all resources of a deployment are called and labelled."""

from __future__ import annotations

from typing import Any

from flink_jobs.kubernetes.deployment import Deployment
from flink_jobs.kubernetes.names import resource_name

METRICS_PORT = 9249


def labels_of(deployment: Deployment) -> dict[str, str]:
    """Of each resource, and of each pod."""
    return {
        "app.kubernetes.io/name": "tailrace",
        "app.kubernetes.io/instance": resource_name(deployment.job),
        "app.kubernetes.io/managed-by": "tailrace",
    }


def metadata(deployment: Deployment, name: str | None = None) -> dict[str, Any]:
    """The job's own name, which Kubernetes may not take, is an annotation."""
    return {
        "name": name or resource_name(deployment.job),
        "namespace": deployment.namespace,
        "labels": labels_of(deployment),
        "annotations": {"tailrace/job": deployment.job},
    }


def pods_of(deployment: Deployment, component: str | None = None) -> dict[str, Any]:
    """Selects the pods; `component`, which Flink sets, is jobmanager or taskmanager."""
    own = {"app.kubernetes.io/instance": resource_name(deployment.job), "app.kubernetes.io/name": "tailrace"}
    return {"matchLabels": own | ({"component": component} if component else {})}
