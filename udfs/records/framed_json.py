r"""JSON in Confluent's wire format, as its serializers write it: after the id of a schema.

>>> from udfs.records.contract import Field
>>> from udfs.records.json import JsonDecoder
>>> decoder = FramedJsonDecoder(JsonDecoder(Contract((Field("n", "long"),))), 100)
>>> decoder.decode_record(b'\x00\x00\x00\x00\x07{"n": 1}')
{'n': 1}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from udfs.records.contract import Contract
from udfs.records.framing import HEAD, check_value, schema_id
from udfs.records.json import JsonDecoder
from udfs.records.problems import Problem, RejectedError

if TYPE_CHECKING:
    from udfs.records.json_schema import JsonSchema
    from udfs.records.schema_cache import SchemaCache


class FramedJsonDecoder:
    """Decodes what follows the id by another decoder; with `schemas` that of the id must hold, too."""

    def __init__(
        self, inner: JsonDecoder, max_bytes: int, schemas: SchemaCache[JsonSchema] | None = None
    ) -> None:
        self.contract: Contract = inner.contract
        self.max_bytes = max_bytes
        self._inner = inner
        self._schemas = schemas

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """Columns of the whole batch, or None if any record is not plainly valid."""
        bodies: list[bytes] = []
        for raw in raws:
            if raw is None or len(raw) <= HEAD or raw[0] or len(raw) > self.max_bytes:
                return None
            bodies.append(raw[HEAD:])
        table = self._inner.decode_columns(bodies)
        if table is None or not self._schemas:
            return table
        try:
            held = [self._schemas.get(schema_id(raw or b"")) for raw in raws]
        except RejectedError:
            return None
        broken = any(schema.broken(body) for schema, body in zip(held, bodies, strict=True))
        return None if broken else table

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """The declared fields of one record; raises RejectedError with the reason."""
        value = check_value(raw, self.max_bytes)
        number = schema_id(value)
        schema = self._schemas.get(number) if self._schemas else None
        record = self._inner.decode_record(value[HEAD:])
        if schema and (problem := schema.broken(value[HEAD:])):
            problem = Problem(problem.stage, problem.reason, f"schema {number}: {problem.message}")
            raise RejectedError(problem)
        return record
