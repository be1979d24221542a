"""The resources of a deployment, in the order in which they are applied."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from flink_jobs.kubernetes.around import disruption_budget, network_policy, pod_monitor, rights
from flink_jobs.kubernetes.deployment import Deployment
from flink_jobs.kubernetes.labels import METRICS_PORT, labels_of, metadata
from flink_jobs.kubernetes.names import resource_name
from flink_jobs.local.flink import open_telemetry

Resource = dict[str, Any]

# Where the image has them: conf/docker/Dockerfile.
JOB_FOLDER = "/opt/tailrace/job"
MAIN = "/opt/tailrace/main.py"
PYTHON = "/opt/venv/bin/python"
HAND_OVER = "--hand-over"  # of flink_jobs.run.application
_DRIVER = "org.apache.flink.client.python.PythonDriver"
_REPORTER = "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"
_UID = 9999
_LOG_FOLDER = "/opt/flink/log"


def render(deployment: Deployment) -> list[Resource]:
    """All that is applied, but for the Secret, which is somebody else's to make."""
    if deployment.mode == "session":
        return [_session_job(deployment)]
    files = _files(deployment)
    spec = _spec(deployment, files["metadata"]["name"])
    head = {"apiVersion": "flink.apache.org/v1beta1", "metadata": metadata(deployment)}
    if deployment.mode == "blue_green":
        flink = {**head, "kind": "FlinkBlueGreenDeployment", "spec": {"template": {"spec": spec}}}
    else:
        flink = {**head, "kind": "FlinkDeployment", "spec": spec}
    return [
        *rights(deployment),
        network_policy(deployment),
        disruption_budget(deployment),
        files,
        flink,
        pod_monitor(deployment),
    ]


def _files(deployment: Deployment) -> Resource:
    """Named by what it holds and never changed: pods that start later read what the first ones read."""
    sums = "".join(f"{_sha256(text)} {name}\n" for name, text in sorted(deployment.files.items()))
    name = f"{resource_name(deployment.job)}-{_sha256(sums)[:10]}"  # which a Helm template can compute, too
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(deployment, name),
        "immutable": True,
        "data": dict(deployment.files),
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _spec(deployment: Deployment, files: str) -> Resource:
    beside = [HAND_OVER] if deployment.mode == "blue_green" else []  # else the second one refuses to start
    return {
        "image": deployment.image,
        "imagePullPolicy": "IfNotPresent",
        "flinkVersion": deployment.flink_version,
        "mode": "native",
        "serviceAccount": resource_name(deployment.job),
        "flinkConfiguration": flink_configuration(deployment),
        "podTemplate": _pod(deployment, files),
        "jobManager": {"replicas": 1, "resource": {"cpu": 1.0, "memory": "1600m"}},
        "taskManager": {"resource": {"cpu": deployment.cpu, "memory": f"{deployment.memory.total}m"}},
        "job": {
            "jarURI": "local:///opt/tailrace/flink-python.jar",
            "entryClass": _DRIVER,
            "args": ["-pyclientexec", PYTHON, "-py", MAIN, f"{JOB_FOLDER}/job.yaml", *beside],
            "parallelism": deployment.parallelism,
            "upgradeMode": "savepoint",
            "allowNonRestoredState": False,
            "state": "running",
        },
    }


def flink_configuration(deployment: Deployment) -> Mapping[str, str]:
    """Options of the cluster; those of the job are its plan's."""
    place = f"{deployment.bucket}/{resource_name(deployment.job)}"
    options = {
        "taskmanager.numberOfTaskSlots": "1",
        "high-availability.type": "kubernetes",
        "high-availability.storageDir": f"{place}/ha",
        "execution.checkpointing.dir": f"{place}/checkpoints",
        "execution.checkpointing.savepoint-dir": f"{place}/savepoints",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.max-backoff": "2 min",
        "classloader.resolve-order": "parent-first",
        "python.client.executable": PYTHON,
        "python.executable": PYTHON,
        "metrics.reporter.prom.factory.class": _REPORTER,
        "metrics.reporter.prom.port": str(METRICS_PORT),
        "metrics.reporter.prom.filterLabelValueCharacters": "false",
        **deployment.memory.options(),
    }
    if deployment.otlp:
        options |= open_telemetry(deployment.otlp)
    if deployment.autoscale:
        options |= {
            "job.autoscaler.enabled": "true",
            "job.autoscaler.memory.tuning.enabled": "false",  # it would take Python's memory for unused
            "pipeline.max-parallelism": "720",
        }
    return options


def _pod(deployment: Deployment, files: str) -> Resource:
    volumes = [
        {"name": "job", "configMap": {"name": files}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "log", "emptyDir": {}},
    ]
    container = {
        "name": "flink-main-container",
        "env": _environment(deployment),
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "job", "mountPath": JOB_FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  (the pod's own)
            {"name": "log", "mountPath": _LOG_FOLDER},
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod-template", "labels": labels_of(deployment)},
        "spec": {
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _UID,
                "runAsGroup": _UID,
                "fsGroup": _UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": volumes,
        },
    }


def _environment(deployment: Deployment) -> list[Resource]:
    """Values that were plain here are plain there; what the files name comes from the Secret alone."""
    plain = {"HOME": "/tmp", "MALLOC_ARENA_MAX": "2", **deployment.plain}  # noqa: S108  (the pod's own)
    secret = deployment.secret or f"{resource_name(deployment.job)}-env"
    return [
        *({"name": name, "value": value} for name, value in plain.items()),
        *(
            {
                "name": name,
                "valueFrom": {"secretKeyRef": {"name": secret, "key": name, "optional": optional}},
            }
            for name, optional in deployment.from_secret.items()
        ),
    ]


def _session_job(deployment: Deployment) -> Resource:
    """The job file goes as an argument: the pods of the session cluster were made before it."""
    text = base64.b64encode(deployment.files["job.yaml"].encode()).decode()
    return {
        "apiVersion": "flink.apache.org/v1beta1",
        "kind": "FlinkSessionJob",
        "metadata": metadata(deployment),
        "spec": {
            "deploymentName": deployment.session,
            "job": {
                "jarURI": "file:///opt/tailrace/flink-python.jar",
                "entryClass": _DRIVER,
                "args": ["-pyclientexec", PYTHON, "-py", MAIN, f"base64:{text}"],
                "parallelism": deployment.parallelism,
                "upgradeMode": "savepoint",
                "allowNonRestoredState": False,
                "state": "running",
            },
        },
    }
