"""The errors of models, of the stores that hold them, and of state from before a restart."""

from __future__ import annotations


class ModelError(Exception):
    """A model version cannot be trusted or loaded, or its output for a batch is not usable."""


class StoreError(Exception):
    """A store of models cannot be opened, read or written."""


class StateError(Exception):
    """The state of a savepoint is that of another job, and must not be read as this one's."""
