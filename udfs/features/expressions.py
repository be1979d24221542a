"""Evaluates derived features on whole Arrow batches, with SQL's three-valued logic.

    tree = compile_expression("amount / mean_1h", columns).tree   # flink_jobs.plan.expressions, in the client
    ratio = evaluate(tree, table, rows=table.num_rows)            # here, in the worker

A tree is plain data: `(op, type, params, children, can_fail)`. It was type-checked when it was compiled, so
an operation here only ever meets the types that it has a kernel for.

Null in, null out, but for AND, OR, CASE, COALESCE and IS. What a row cannot answer is never answered wrongly:
long overflow, a remainder by a long zero and a cast of garbage raise FeatureError; an infinite or NaN double
flows on to the result, where `nonfinite` finds it, and raises where an operation would have hidden it
(x / 0 > 5). A branch that a row does not take is not evaluated for that row if it could raise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.features.kernels import (
    FAILS_ON_ANY,
    FAILS_ON_LONG,
    NEEDS_FINITE,
    OPERATIONS,
    FeatureError,
    numpy_mask,
    require_finite,
)
from udfs.features.list_kernels import FAILS, LISTS, member_of
from udfs.types import ARROW, ColumnType

__all__ = ["FeatureError", "Tree", "can_fail", "evaluate", "nonfinite"]

Tree = tuple[str, ColumnType, tuple[Any, ...], tuple[Any, ...], bool]


def evaluate(tree: Tree, table: pa.Table | Mapping[str, pa.Array], rows: int) -> pa.Array:
    """The values of `tree` for `rows` rows, as an array of ARROW[type of the tree].

    `table` holds at least the columns that the expression uses, each `rows` long. Raises FeatureError when a
    row has no answer (see the module's text); which row is found by evaluating parts of the batch.
    """
    try:
        return _value(tree, _Batch(table, rows))
    except pa.ArrowInvalid as error:
        raise FeatureError(_reason(str(error))) from None


def nonfinite(array: pa.Array) -> npt.NDArray[np.bool_]:
    """True for each row that holds NaN or an infinity; null and other types are False. Shape (rows,)."""
    if not pa.types.is_floating(array.type):
        return np.zeros(len(array), dtype=bool)
    return numpy_mask(pc.invert(pc.is_finite(array)))


def can_fail(op: str, type_: ColumnType, children: Sequence[Tree]) -> bool:
    """Whether evaluating this operation can raise for a row; the compiler stores the answer in the tree."""
    if any(child[4] for child in children) or op in FAILS_ON_ANY or op in FAILS:
        return True
    if type_ == "long" and op in FAILS_ON_LONG:
        return True
    return op in NEEDS_FINITE and any(child[1] == "double" for child in children)


@dataclass
class _Batch:
    """Columns by name, read when asked for, restricted to `mask` if this is a part of another batch."""

    source: Any
    rows: int
    mask: pa.Array | None = None
    columns: dict[str, pa.Array] = field(default_factory=dict)

    def column(self, name: str, type_: ColumnType) -> pa.Array:
        if name not in self.columns:
            self.columns[name] = self._read(name, type_)
        return self.columns[name]

    def lists(self, name: str) -> pa.Array:
        """A column of lists; these are only in whole batches."""
        return _single(self.source[name])

    def _read(self, name: str, type_: ColumnType) -> pa.Array:
        if self.mask is not None:
            return self.source.column(name, type_).filter(self.mask)
        values = _single(self.source[name])
        return values if values.type == ARROW[type_] else values.cast(ARROW[type_])


def _single(values: Any) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
    return values


def _value(tree: Tree, batch: _Batch) -> pa.Array:
    op, type_, params, children, _ = tree
    if op in BRANCHES:
        return BRANCHES[op](tree, batch)
    if op == "column":
        return batch.column(params[0], type_)
    if op in LISTS:
        name, member, *rest = params
        return LISTS[op](type_, tuple(rest), member_of(batch.lists(name), member))
    if op == "literal":
        return pa.repeat(pa.scalar(params[0], ARROW[type_]), batch.rows)
    values = [_value(child, batch) for child in children]
    if op in NEEDS_FINITE:
        for value in values:
            require_finite(value)
    return OPERATIONS[op](type_, params, *values)


def _value_where(tree: Tree, batch: _Batch, mask: pa.Array | None) -> pa.Array:
    """The values of `tree`; rows outside `mask` (no nulls) hold anything, and cannot raise."""
    if mask is None or not tree[4]:
        return _value(tree, batch)
    taken = mask.true_count
    if taken == batch.rows:
        return _value(tree, batch)
    if not taken:
        return pa.nulls(batch.rows, ARROW[tree[1]])
    part = _value(tree, _Batch(batch, taken, mask))
    chosen = numpy_mask(mask)
    return part.take(pa.array(np.cumsum(chosen) - 1, mask=~chosen))


def _reason(message: str) -> str:
    if "overflow" in message:
        return "the result must fit a 64-bit integer; got an overflow"
    if "not in range" in message:
        return "a long must be within ±2^53 to be compared with a double; got a larger one"
    if "truncated converting" in message:
        return "CAST AS BIGINT must get a number that fits 64 bits; got a larger one"
    return "CAST must get text that holds a value of its type; got something else"


# Branches: AND, OR, CASE, COALESCE evaluate a child only where its value matters.


def _and(tree: Tree, batch: _Batch) -> pa.Array:
    left = _value(tree[3][0], batch)
    right = _value_where(tree[3][1], batch, left.fill_null(True))
    return pc.and_kleene(left, right)


def _or(tree: Tree, batch: _Batch) -> pa.Array:
    left = _value(tree[3][0], batch)
    right = _value_where(tree[3][1], batch, pc.invert(left.fill_null(False)))
    return pc.or_kleene(left, right)


def _coalesce(tree: Tree, batch: _Batch) -> pa.Array:
    result = _value(tree[3][0], batch)
    for child in tree[3][1:]:
        if not result.null_count:
            break
        result = pc.coalesce(result, _value_where(child, batch, result.is_null()))
    return result


def _case(tree: Tree, batch: _Batch) -> pa.Array:
    """Children: condition, value, condition, value, …, else."""
    *pairs, otherwise = tree[3]

    def condition(index: int, open_rows: pa.Array | None) -> pa.Array:
        return _value_where(pairs[index], batch, open_rows)

    return _choose(condition, pairs[1::2], otherwise, batch)


def _case_of(tree: Tree, batch: _Batch) -> pa.Array:
    """Children: operand, candidate, value, candidate, value, …, else."""
    operand_tree, *pairs, otherwise = tree[3]
    operand = _value(operand_tree, batch)
    require_finite(operand)

    def condition(index: int, open_rows: pa.Array | None) -> pa.Array:
        candidate = _value_where(pairs[index], batch, open_rows)
        if open_rows is not None:
            candidate = pc.if_else(open_rows, candidate, pa.scalar(None, candidate.type))
        require_finite(candidate)
        return pc.equal(operand, candidate)

    return _choose(condition, pairs[1::2], otherwise, batch)


def _choose(
    condition: Callable[[int, pa.Array | None], pa.Array],
    values: Sequence[Tree],
    otherwise: Tree,
    batch: _Batch,
) -> pa.Array:
    open_rows: pa.Array | None = None
    picks: list[tuple[pa.Array, pa.Array]] = []
    for number, value in enumerate(values):
        hit = condition(2 * number, open_rows).fill_null(False)
        hit = hit if open_rows is None else pc.and_(hit, open_rows)
        picks.append((hit, _value_where(value, batch, hit)))
        open_rows = pc.invert(hit) if open_rows is None else pc.and_not(open_rows, hit)
    result = _value_where(otherwise, batch, open_rows)
    for hit, picked in reversed(picks):
        result = pc.if_else(hit, picked, result)
    return result


BRANCHES: dict[str, Callable[[Tree, _Batch], pa.Array]] = {
    "and": _and,
    "or": _or,
    "coalesce": _coalesce,
    "case": _case,
    "case_of": _case_of,
}
