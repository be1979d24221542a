"""Imports models that were made elsewhere: finds one in a file or folder, and makes a version of it."""

from flink_jobs.registry.importing.artifact import Artifact
from flink_jobs.registry.importing.find import find
from flink_jobs.registry.importing.version import Ready, add, complete, other_versions

__all__ = ["Artifact", "Ready", "add", "complete", "find", "other_versions"]
