"""The errors of models, stores, state from before a restart, too many dead letters, and encrypted bytes."""

from __future__ import annotations


class ModelError(Exception):
    """A model version cannot be trusted or loaded, or its output for a batch is not usable."""


class StoreError(Exception):
    """A store of models cannot be opened, read or written."""


class StateError(Exception):
    """The state of a savepoint is that of another job, and must not be read as this one's."""


class DeadRateError(Exception):
    """Too many records became dead letters; the job is to stop."""


class EnvelopeError(Exception):
    """Encrypted bytes cannot be opened, or there is no key to encrypt with."""
