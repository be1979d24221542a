"""A deployment to render, with what a test changes."""

from __future__ import annotations

from typing import Any

from flink_jobs.kubernetes import Deployment, Memory


def deployment(**changes: Any) -> Deployment:
    known: dict[str, Any] = {
        "job": "flight-delay",
        "files": {"job.yaml": "job: flight-delay\n# yes: on\n"},
        "image": "registry.example.org/tailrace@sha256:" + "0" * 64,
        "bucket": "s3://bucket/tailrace",
        "memory": Memory(640, 2048),
        "flink_version": "v2_3",
        "parallelism": 2,
        "variables": {"KAFKA_PASSWORD": False},
        "ports": (9093,),
        "session": "shared",
    }
    return Deployment(**(known | changes))
