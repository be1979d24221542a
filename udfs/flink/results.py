"""Types of the rows that the drift monitor and the comparison of versions give to the sinks."""

from __future__ import annotations

from pyflink.common import Types

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
RESULT = Types.ROW_NAMED(["_kind", "_key", "_value"], [Types.INT(), BYTES, BYTES])
# The kinds of results. Each function has one topic of records of its own, and both have alerts.
RECORD, ALERT = 0, 1
