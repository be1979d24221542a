"""The errors of models and of the stores that hold them."""

from __future__ import annotations


class ModelError(Exception):
    """A model version cannot be trusted or loaded, or its output for a batch is not usable."""


class StoreError(Exception):
    """A store of models cannot be opened, read or written."""
