"""Lists in records: what their elements may hold, and a whole column of them in Arrow.

Expressions make columns of them (`udfs.features.list_kernels`), so lists themselves go no further than that.

>>> items = ListField("items", (Field("sku", "string"), Field("qty", "long", low=1)))
>>> items.check([{"sku": "a", "qty": 2}, {"sku": "b", "qty": 0}]).message
'$.items[1].qty: expected at least 1, got a smaller number'
>>> items.column([[{"qty": 2}], None]).to_pylist()
[[{'sku': None, 'qty': 2}], None]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.records.fields import Field, Length, check_field, check_value, violation, wrong_length, wrong_type
from udfs.records.problems import Problem
from udfs.types import ARROW

# Of a list for which the job says nothing else, and of any.
USUAL_LENGTH, LARGEST_LENGTH = 1000, 100_000


class ListField(msgspec.Struct, frozen=True):
    """A list of objects with these members; or of values, then the one member has no name.

    `length` is in elements, `path` as that of a field.
    """

    name: str
    members: tuple[Field, ...]
    required: bool = False
    length: Length = (None, USUAL_LENGTH)
    path: tuple[str, ...] = ()

    @property
    def quick(self) -> bool:
        """Whether Arrow's JSON reader can read it."""
        return not any(member.digits for member in self.members)

    @property
    def written(self) -> pa.DataType:
        """What Arrow reads it as from JSON."""
        return self.arrow

    @property
    def bare(self) -> bool:
        """Whether elements are values, not objects."""
        return not self.members[0].name

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the members."""
        return tuple(member.name for member in self.members)

    @property
    def steps(self) -> tuple[str, ...]:
        """The names that lead to it, from the top of the record."""
        return self.path or (self.name,)

    @property
    def path_text(self) -> str:
        """The path as messages show it."""
        return f"$.{'.'.join(self.steps)}"

    @property
    def arrow(self) -> pa.DataType:
        if self.bare:
            return pa.list_(ARROW[self.members[0].type])
        return pa.list_(pa.struct([(member.name, ARROW[member.type]) for member in self.members]))

    @property
    def nested(self) -> bool:
        """Whether members are within objects of the elements."""
        return any(member.path for member in self.members)

    def flat(self, column: pa.Array) -> pa.Array:
        """A column whose elements hold the members at their paths, with them at the top."""
        elements = column.flatten()
        missing = elements.is_null() if len(elements) else None
        members = [pc.struct_field(elements, list(member.steps)) for member in self.members]
        kept = pa.StructArray.from_arrays(members, fields=list(self.arrow.value_type), mask=missing)
        ends = pa.array([0, *np.cumsum(self.lengths(column)).tolist()], pa.int32())
        return pa.ListArray.from_arrays(ends, kept, type=self.arrow, mask=column.is_null())

    def member(self, elements: pa.Array, member: Field) -> pa.Array:
        """A member of all elements, null where the element is."""
        return elements if self.bare else pc.struct_field(elements, [member.name])

    def column(self, values: Sequence[object]) -> pa.Array:
        """Lists that the contract has checked as an Arrow array."""
        lists: list[list[object]] = [value if isinstance(value, list) else [] for value in values]
        elements = [element for each in lists for element in each]
        ends = pa.array([0, *accumulate(map(len, lists))], pa.int32())
        missing = pa.array([value is None for value in values], pa.bool_())
        return pa.ListArray.from_arrays(ends, self._elements(elements), type=self.arrow, mask=missing)

    def _elements(self, elements: Sequence[object]) -> pa.Array:
        if self.bare:
            return self.members[0].column(elements)
        objects: list[Mapping[str, object]] = [each if isinstance(each, dict) else {} for each in elements]
        columns = [m.column([each.get(m.name) for each in objects]) for m in self.members]
        missing = pa.array([each is None for each in elements], pa.bool_())
        return pa.StructArray.from_arrays(
            columns, fields=list(self.arrow.value_type), mask=missing if len(elements) else None
        )

    def lengths(self, column: pa.Array) -> npt.NDArray[np.int64]:
        """Elements of each list, none where there is no list."""
        found: npt.NDArray[np.int64] = pc.list_value_length(column).fill_null(0).cast(pa.int64()).to_numpy()
        return found

    def parents(self, column: pa.Array) -> npt.NDArray[np.int64]:
        """The row of each element, in the order of `column.flatten()`."""
        return np.repeat(np.arange(len(column)), self.lengths(column))

    def wrong_lengths(self, column: pa.Array) -> npt.NDArray[np.bool_]:
        """The rows whose list is too short or too long."""
        low, high = self.length
        lengths, given = self.lengths(column), column.is_valid().to_numpy(zero_copy_only=False)
        bad = (lengths < (low or 0)) | (lengths > (LARGEST_LENGTH if high is None else high))
        found: npt.NDArray[np.bool_] = bad & given
        return found

    def wrong_length(self, found: int) -> str | None:
        """What is expected instead of so many elements, if that is not allowed."""
        low, high = self.length
        return wrong_length((low, LARGEST_LENGTH if high is None else high), found, "elements")

    def check(self, value: object) -> Problem | None:
        """What is wrong with the list of one record."""
        path = self.path_text
        if value is None:
            return violation("null", f"{path}: required list is null") if self.required else None
        if not isinstance(value, list):
            return violation("wrong_type", f"{path}: expected a list, got {wrong_type('list', value)}")
        if found := self.wrong_length(len(value)):
            return violation("wrong_length", f"{path}: expected {found}")
        checks = (self._check_element(each, f"{path}[{place}]") for place, each in enumerate(value))
        return next((problem for problem in checks if problem), None)

    def _check_element(self, element: object, path: str) -> Problem | None:
        if self.bare:
            return check_value(self.members[0], element, path)
        if element is not None and not isinstance(element, dict):
            return violation("wrong_type", f"{path}: expected an object, got {wrong_type('object', element)}")
        found = dict.fromkeys(member.name for member in self.members) if element is None else element
        checks = (check_field(member, found, f"{path}.{'.'.join(member.steps)}") for member in self.members)
        return next((problem for problem in checks if problem), None)
