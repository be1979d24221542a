"""What stands around the Flink cluster of a job: rights, network, disruptions, metrics."""

from __future__ import annotations

from typing import Any

from flink_jobs.kubernetes.deployment import Deployment
from flink_jobs.kubernetes.labels import METRICS_PORT, labels_of, metadata, pods_of
from flink_jobs.kubernetes.names import resource_name

_REST_PORT, _DNS_PORT = 8081, 53
# The API server, by which TaskManagers are started and leaders found, and the bucket.
_SERVERS = (443, 6443)


def rights(deployment: Deployment) -> list[dict[str, Any]]:
    """What Flink's own client does in its namespace: its pods, and the ConfigMaps of its leaders."""
    name = resource_name(deployment.job)
    core = {"apiGroups": [""], "resources": ["pods", "configmaps", "services"], "verbs": _ALL}
    apps = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": _ALL}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    account = {"kind": "ServiceAccount", "name": name, "namespace": deployment.namespace}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(deployment)},
        {**_rbac(deployment, "Role"), "rules": [core, apps]},
        {**_rbac(deployment, "RoleBinding"), "roleRef": role, "subjects": [account]},
    ]


_ALL = ["get", "list", "watch", "create", "update", "patch", "delete"]


def _rbac(deployment: Deployment, kind: str) -> dict[str, Any]:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata(deployment)}


def reached_ports(deployment: Deployment) -> list[int]:
    """Ports of servers that pods may reach."""
    return sorted({*_SERVERS, *deployment.ports})


def network_policy(deployment: Deployment) -> dict[str, Any]:
    """Pods talk to each other; the operator and Prometheus come in, servers of known ports are reached."""
    out = reached_ports(deployment)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(deployment),
        "spec": {
            "podSelector": pods_of(deployment),
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [{"podSelector": pods_of(deployment)}]},
                {"from": [{"namespaceSelector": {}}], "ports": _tcp(_REST_PORT, METRICS_PORT)},
            ],
            "egress": [
                {"to": [{"podSelector": pods_of(deployment)}]},
                {"ports": [{"protocol": "UDP", "port": _DNS_PORT}, *_tcp(_DNS_PORT)]},
                {"ports": _tcp(*out)},
            ],
        },
    }


def _tcp(*ports: int) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def disruption_budget(deployment: Deployment) -> dict[str, Any]:
    """One TaskManager at a time: each that goes restarts the job."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(deployment),
        "spec": {"maxUnavailable": 1, "selector": pods_of(deployment, "taskmanager")},
    }


def pod_monitor(deployment: Deployment) -> dict[str, Any]:
    """For the Prometheus operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": metadata(deployment),
        "spec": {
            "selector": {"matchLabels": labels_of(deployment)},
            "podMetricsEndpoints": [{"port": "metrics"}],
        },
    }
