"""Renders a job as resources of the Flink Kubernetes operator: text from what is known, no cluster asked.

print(as_yaml(render(deployment)))
"""

from flink_jobs.kubernetes.deployment import Deployment, Mode
from flink_jobs.kubernetes.render import render
from flink_jobs.kubernetes.sizes import Measured, Memory, memory_of
from flink_jobs.kubernetes.yaml_text import as_yaml

__all__ = ["Deployment", "Measured", "Memory", "Mode", "as_yaml", "memory_of", "render"]
