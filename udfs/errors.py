"""The errors of models: a version that must not be used, or a batch that it cannot score."""

from __future__ import annotations


class ModelError(Exception):
    """A model version cannot be trusted or loaded, or its output for a batch is not usable."""
