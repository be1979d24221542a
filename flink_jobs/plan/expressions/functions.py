"""The functions of derived features, each with its typing rule; docs/expressions.md says what they do."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from flink_jobs.plan.expressions.lists import OF_LISTS, call_of_list
from flink_jobs.plan.expressions.types import ExpressionError, TypeChecker, at, closest, node_of
from udfs.features.expressions import Tree
from udfs.features.kernels import EXTRACT, MILLISECONDS


@dataclass(frozen=True)
class FunctionSignature:
    """Kinds of arguments (the last repeats if `variadic`), the operation, and its result ("same" as them)."""

    arguments: tuple[str, ...]
    result: str
    op: str
    params: tuple[Any, ...] = ()
    variadic: bool = False


def _part(name: str) -> FunctionSignature:
    return FunctionSignature(("timestamp",), "long", "extract", (name,))


_DOUBLE = ("double",)
FUNCTIONS: dict[str, FunctionSignature] = {
    "ABS": FunctionSignature(("number",), "same", "abs"),
    "FLOOR": FunctionSignature(("number",), "same", "floor"),
    "CEIL": FunctionSignature(("number",), "same", "ceil"),
    "CEILING": FunctionSignature(("number",), "same", "ceil"),
    "SIGN": FunctionSignature(("number",), "same", "sign"),
    "MOD": FunctionSignature(("number", "number"), "same", "mod"),
    "SQRT": FunctionSignature(_DOUBLE, "double", "sqrt"),
    "LN": FunctionSignature(_DOUBLE, "double", "ln"),
    "LOG10": FunctionSignature(_DOUBLE, "double", "log10"),
    "LOG2": FunctionSignature(_DOUBLE, "double", "log2"),
    "EXP": FunctionSignature(_DOUBLE, "double", "exp"),
    "SIN": FunctionSignature(_DOUBLE, "double", "sin"),
    "COS": FunctionSignature(_DOUBLE, "double", "cos"),
    "POWER": FunctionSignature(("double", "double"), "double", "power"),
    "LEAST": FunctionSignature(("ordered",), "same", "least", variadic=True),
    "GREATEST": FunctionSignature(("ordered",), "same", "greatest", variadic=True),
    "COALESCE": FunctionSignature(("any",), "same", "coalesce", variadic=True),
    "LOWER": FunctionSignature(("string",), "string", "lower"),
    "UPPER": FunctionSignature(("string",), "string", "upper"),
    "TRIM": FunctionSignature(("string",), "string", "trim"),
    "CHAR_LENGTH": FunctionSignature(("string",), "long", "length"),
    "CHARACTER_LENGTH": FunctionSignature(("string",), "long", "length"),
    "LENGTH": FunctionSignature(("string",), "long", "length"),
    "CONCAT": FunctionSignature(("string",), "string", "concat", variadic=True),
    "YEAR": _part("YEAR"),
    "QUARTER": _part("QUARTER"),
    "MONTH": _part("MONTH"),
    "WEEK": _part("WEEK"),
    "DAYOFYEAR": _part("DOY"),
    "DAYOFMONTH": _part("DAY"),
    "DAYOFWEEK": _part("SUNDAYDOW"),
    "HOUR": _part("HOUR"),
    "MINUTE": _part("MINUTE"),
    "SECOND": _part("SECOND"),
}
EXTRACT_PARTS = tuple(part for part in EXTRACT if part != "SUNDAYDOW")
SPECIAL = ("CAST", "EXTRACT", "NULLIF", "ROUND", "SUBSTRING", "SUBSTR", "TIMESTAMPDIFF")
AGGREGATES = frozenset({"AVG", "COUNT", "MAX", "MIN", "SUM", "STDDEV", "STDDEV_POP", "LAG", "FIRST_VALUE"})
FUNCTION_NAMES = tuple(sorted({*FUNCTIONS, *SPECIAL}))


def substring(check: TypeChecker, node: exp.Expr) -> Tree:
    """SUBSTRING(text, start, length) as a tree."""
    return _substring_of(check, [node.this, node.args.get("start"), node.args.get("length")], node)


def concat(check: TypeChecker, node: exp.Expr) -> Tree:
    """Text || text as a tree."""
    return _apply(check, FUNCTIONS["CONCAT"], "||", [node.this, node.expression])


def call(check: TypeChecker, node: exp.Expr) -> Tree:
    """A call of a function by its name as a tree."""
    name = node.name.upper()
    of_list = call_of_list(check, node)
    if of_list is not None:
        return of_list
    if name in SPECIAL_CALLS:
        return SPECIAL_CALLS[name](check, node.expressions, node)
    signature = FUNCTIONS.get(name)
    if signature is None:
        raise _unknown(node, name)
    _count(node, len(signature.arguments), 99 if signature.variadic else len(signature.arguments))
    return _apply(check, signature, name, node.expressions)


def _unknown(node: exp.Expr, name: str) -> ExpressionError:
    found = f"{node.name}(…)" + at(node)
    if name in AGGREGATES:
        return ExpressionError(
            "a function of one row, or of a list (aggregates of rows are declared under features.windows)",
            found,
        )
    return ExpressionError(
        f"one of the functions {', '.join(FUNCTION_NAMES)}",
        found,
        closest(name, (*FUNCTION_NAMES, *OF_LISTS)),
    )


def _apply(check: TypeChecker, signature: FunctionSignature, name: str, nodes: Sequence[exp.Expr]) -> Tree:
    kinds = signature.arguments[-1]
    if signature.result == "same":
        widen = "widen_exact" if signature.op in ("mod", "least", "greatest") else "widen"
        arguments = check.alike(nodes, kinds, name, widen)
        return node_of(signature.op, arguments[0][1], signature.params, *arguments)
    arguments = [check.of_kind(node, kinds, name) for node in nodes]
    return node_of(signature.op, signature.result, signature.params, *arguments)


def _count(node: exp.Expr, low: int, high: int) -> None:
    given = len(node.expressions)
    if not low <= given <= high:
        wanted = f"{low} or more" if high == 99 else str(low) if low == high else f"{low} to {high}"
        noun = "argument" if wanted == "1" else "arguments"
        raise ExpressionError(f"{node.name.upper()} with {wanted} {noun}", f"{given}" + at(node))


def _round(check: TypeChecker, nodes: Sequence[exp.Expr], call: exp.Expr) -> Tree:
    _count(call, 1, 2)
    (value,) = check.alike(nodes[:1], "number", "ROUND")
    lowest = 0 if value[1] == "long" else -15
    digits = _whole(nodes[1], lowest, 15, "the digits of ROUND") if len(nodes) == 2 else 0
    return node_of("round", value[1], (digits,), value)


def _whole(node: exp.Expr, low: int, high: int, where: str) -> int:
    sign, literal = (-1, node.this) if isinstance(node, exp.Neg) else (1, node)
    if isinstance(literal, exp.Literal) and not literal.is_string and re.fullmatch(r"\d{1,9}", literal.name):
        value = sign * int(literal.name)
        if low <= value <= high:
            return value
    raise ExpressionError(
        f"a literal whole number from {low} to {high} as {where}", repr(node.sql()) + at(node)
    )


def _substring_of(check: TypeChecker, nodes: Sequence[exp.Expr | None], call: exp.Expr) -> Tree:
    if isinstance(call, exp.Anonymous):
        _count(call, 2, 3)
    text, start, length = [*nodes, None][:3]
    if text is None or start is None:
        raise ExpressionError("SUBSTRING with 2 to 3 arguments", "fewer" + at(call))
    first = _whole(start, 1, 10**9 - 1, "the start of SUBSTRING") - 1
    stop = first + _whole(length, 0, 10**9 - 1, "the length of SUBSTRING") if length is not None else None
    return node_of("substring", "string", (first, stop), check.of_kind(text, "string", "SUBSTRING"))


def _nullif(check: TypeChecker, nodes: Sequence[exp.Expr], call: exp.Expr) -> Tree:
    _count(call, 2, 2)
    operands = check.alike(nodes, "any", "NULLIF", "widen_exact")
    return node_of("nullif", operands[0][1], (), *operands)


def _timestampdiff(check: TypeChecker, nodes: Sequence[exp.Expr], call: exp.Expr) -> Tree:
    _count(call, 3, 3)
    unit = nodes[0].name.upper()
    if unit not in MILLISECONDS:
        raise ExpressionError(
            f"one of {', '.join(MILLISECONDS)} in TIMESTAMPDIFF",
            repr(unit) + at(nodes[0]),
            closest(unit, MILLISECONDS),
        )
    ends = [check.of_kind(node, "timestamp", "TIMESTAMPDIFF") for node in nodes[1:]]
    return node_of("timestamp_diff", "long", (unit,), *ends)


SPECIAL_CALLS: dict[str, Callable[[TypeChecker, Sequence[exp.Expr], exp.Expr], Tree]] = {
    "ROUND": _round,
    "SUBSTR": _substring_of,
    "NULLIF": _nullif,
    "TIMESTAMPDIFF": _timestampdiff,
}


def extract(check: TypeChecker, node: exp.Expr) -> Tree:
    """EXTRACT(part FROM time) as a tree."""
    part = node.this.name.upper()
    if part not in EXTRACT_PARTS:
        raise ExpressionError(
            f"one of {', '.join(EXTRACT_PARTS)} in EXTRACT",
            repr(part) + at(node),
            closest(part, EXTRACT_PARTS),
        )
    return node_of("extract", "long", (part,), check.of_kind(node.expression, "timestamp", "EXTRACT"))
