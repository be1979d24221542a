"""Gives `memory://` to a store that can be read by many at once."""

import tests.helpers.memory_store  # noqa: F401  # registers itself with fsspec
