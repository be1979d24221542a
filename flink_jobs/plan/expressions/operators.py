"""The typing rules of derived features: literals, operators, CASE, CAST; `type_check` applies them.

tree, columns, taken = type_check(parsed, {"amount": "double"}, {})
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from sqlglot import exp

from flink_jobs.plan.expressions.functions import call, concat, extract, substring
from flink_jobs.plan.expressions.lists import (
    OF_MAP,
    contains,
    element,
    member_of_element,
    reference,
    whole_list,
)
from flink_jobs.plan.expressions.types import (
    NULL,
    ExpressionError,
    Lists,
    OperatorRule,
    TypeChecker,
    as_type,
    at,
    closest,
    describe,
    literal,
    node_of,
    rule,
    unsupported,
)
from udfs.features.expressions import Tree
from udfs.types import ColumnType

CASTS: dict[str, ColumnType] = {
    "DOUBLE": "double",
    "BIGINT": "long",
    "VARCHAR": "string",
    "TEXT": "string",
    "BOOLEAN": "boolean",
}
# (from, to) -> operation
CAST_OPS: dict[tuple[str, str], str] = {
    ("long", "double"): "widen",
    ("double", "long"): "to_long",
    ("string", "double"): "parse",
    ("string", "long"): "parse",
    ("string", "boolean"): "parse",
    ("boolean", "double"): "from_boolean",
    ("boolean", "long"): "from_boolean",
    ("long", "boolean"): "to_boolean",
    ("double", "boolean"): "to_boolean",
    ("long", "string"): "to_string",
    ("double", "string"): "to_string",
    ("boolean", "string"): "to_string",
    ("timestamp", "string"): "time_text",
    ("decimal", "double"): "parse",
    ("decimal", "string"): "as_text",
    ("bytes", "string"): "as_text",
}


def type_check(
    tree: exp.Expr, columns: Mapping[str, ColumnType], lists: Lists
) -> tuple[Tree, frozenset[str], dict[str, Tree]]:
    """The typed tree, what it uses, and the columns that it wants of lists. Raises ExpressionError."""
    checker = TypeChecker(columns, RULES, lists)
    result = checker.tree(tree)
    if result is NULL:
        raise ExpressionError("an expression with a type", "NULL alone", "CAST(NULL AS DOUBLE)")
    return result, frozenset(checker.used), checker.taken


def _column(check: TypeChecker, node: exp.Expr) -> Tree:
    if found := reference(check, node):
        raise whole_list(found, node, OF_MAP in check.lists[found.list])
    if node.args.get("table"):
        raise unsupported(node, {"table"})
    name = node.name
    type_ = check.columns.get(name)
    if type_ is None:
        known = sorted(check.columns)
        listed = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
        raise ExpressionError(f"one of the columns {listed}", repr(name) + at(node), closest(name, known))
    check.used.add(name)
    return node_of("column", type_, (name,))


def _constant(check: TypeChecker, node: exp.Expr) -> Tree:
    return literal(node.name, "string") if node.is_string else _number(node.name, node)


def _number(text: str, node: exp.Expr) -> Tree:
    if re.fullmatch("-?[0-9]+", text):
        if len(text) > 20:
            raise ExpressionError("a whole number of 64 bits", f"one of {len(text)} digits" + at(node))
        if not -(2**63) <= int(text) < 2**63:
            raise ExpressionError("a whole number of 64 bits", text + at(node), f"{text}.0")
        return literal(int(text), "long")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ExpressionError("a finite number", text + at(node))
    return literal(value, "double")


def _timestamp_literal(node: exp.Expr) -> Tree:
    try:
        value = datetime.fromisoformat(node.name)
    except ValueError:
        raise ExpressionError("TIMESTAMP 'YYYY-MM-DD HH:MM:SS'", repr(node.name) + at(node)) from None
    zoned = value if value.tzinfo else value.replace(tzinfo=UTC)
    since = zoned - datetime(1970, 1, 1, tzinfo=UTC)
    return literal((since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000, "timestamp")


def _arithmetic(op: str, symbol: str) -> Callable[[TypeChecker, exp.Expr], Tree]:
    widen = "widen_exact" if op == "mod" else "widen"

    def rule(check: TypeChecker, node: exp.Expr) -> Tree:
        operands = check.alike([node.this, node.expression], "number", symbol, widen)
        return node_of(op, operands[0][1], (), *operands)

    return rule


def _divide(check: TypeChecker, node: exp.Expr) -> Tree:
    return node_of(
        "divide", "double", (), *(check.of_kind(side, "double", "/") for side in (node.this, node.expression))
    )


def _negate(check: TypeChecker, node: exp.Expr) -> Tree:
    if isinstance(node.this, exp.Literal) and not node.this.is_string:
        return _number("-" + node.this.name, node)
    (operand,) = check.alike([node.this], "number", "-")
    return node_of("negate", operand[1], (), operand)


def _comparison(op: str, symbol: str) -> Callable[[TypeChecker, exp.Expr], Tree]:
    kind = "any" if op in ("equal", "not_equal") else "ordered"

    def rule(check: TypeChecker, node: exp.Expr) -> Tree:
        return node_of(
            op, "boolean", (), *check.alike([node.this, node.expression], kind, symbol, "widen_exact")
        )

    return rule


def _logic(op: str) -> Callable[[TypeChecker, exp.Expr], Tree]:
    def rule(check: TypeChecker, node: exp.Expr) -> Tree:
        sides = [node.this, node.expression] if op != "not" else [node.this]
        return node_of(op, "boolean", (), *(check.of_kind(side, "boolean", op.upper()) for side in sides))

    return rule


def _is(check: TypeChecker, node: exp.Expr) -> Tree:
    if isinstance(node.expression, exp.Null):
        operand = check.tree(node.this)
        return node_of("is_null", "boolean", (), as_type(operand, operand[1]))
    if not isinstance(node.expression, exp.Boolean):
        raise ExpressionError("IS [NOT] NULL, TRUE or FALSE", "another IS" + at(node))
    operand = check.of_kind(node.this, "boolean", "IS TRUE")
    wanted = operand if node.expression.this else node_of("not", "boolean", (), operand)
    return node_of("is_true", "boolean", (), wanted)


def _between(check: TypeChecker, node: exp.Expr) -> Tree:
    operands = [node.this, node.args["low"], node.args["high"]]
    return node_of("between", "boolean", (), *check.alike(operands, "ordered", "BETWEEN", "widen_exact"))


def _in(check: TypeChecker, node: exp.Expr) -> Tree:
    if not node.expressions:
        raise ExpressionError("IN (literal, …)", "IN without a list of literals" + at(node))
    value, *items = check.alike([node.this, *node.expressions], "any", "IN", "widen_exact")
    for item, source in zip(items, node.expressions, strict=True):
        if item[0] != "literal" or item[2][0] is None:
            raise ExpressionError("literals, without NULL, in IN", describe(item) + at(source))
    return node_of("in", "boolean", (value[1], tuple(item[2][0] for item in items)), value)


def _like(check: TypeChecker, node: exp.Expr, escape: str = "") -> Tree:
    value = check.of_kind(node.this, "string", "LIKE")
    pattern = node.expression
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        raise ExpressionError("a literal pattern in LIKE", "an expression" + at(pattern))
    matched = node_of("like", "boolean", (_like_regex(pattern, escape),), value)
    return node_of("not", "boolean", (), matched) if node.args.get("negate") else matched


def _escape(check: TypeChecker, node: exp.Expr) -> Tree:
    escape = node.expression
    if not (isinstance(node.this, exp.Like) and isinstance(escape, exp.Literal) and len(escape.name) == 1):
        raise ExpressionError("LIKE 'pattern' ESCAPE 'one character'", "another ESCAPE" + at(node))
    return _like(check, node.this, escape.name)


def _like_regex(pattern: exp.Expr, escape: str) -> str:
    parts, characters = [], iter(pattern.name)
    for character in characters:
        if escape and character == escape:
            character = next(characters, "")
            if character not in ("%", "_", escape):
                raise ExpressionError(
                    f"%, _ or {escape} after the ESCAPE character",
                    repr(character or "the end") + at(pattern),
                )
            parts.append(re.escape(character))
        else:
            parts.append({"%": ".*", "_": "."}.get(character) or _plain(character))
    return rf"(?s)\A{''.join(parts)}\z"


def _plain(character: str) -> str:
    return f"\\{character}" if character in r"\.+*?()|[]{}^$" else character


def _case(check: TypeChecker, node: exp.Expr) -> Tree:
    branches = node.args["ifs"]
    whens = [branch.this for branch in branches]
    if node.this:
        operand, *tests = check.alike([node.this, *whens], "any", "CASE", "widen_exact")
    else:
        operand, tests = None, [check.of_kind(when, "boolean", "WHEN") for when in whens]
    default = node.args.get("default") or exp.Null()
    values = check.alike(
        [*(branch.args["true"] for branch in branches), default], "any", "the values of CASE"
    )
    pairs = [tree for pair in zip(tests, values[:-1], strict=True) for tree in pair]
    if operand:
        return node_of("case_of", values[0][1], (), operand, *pairs, values[-1])
    return node_of("case", values[0][1], (), *pairs, values[-1])


def _cast(check: TypeChecker, node: exp.Expr) -> Tree:
    target = node.args["to"].this.name
    if target == "TIMESTAMP" and isinstance(node.this, exp.Literal) and node.this.is_string:
        return _timestamp_literal(node.this)
    type_ = CASTS.get(target)
    if type_ is None or node.args["to"].expressions:
        shown = node.args["to"].sql()
        raise ExpressionError(
            "CAST AS DOUBLE, BIGINT, STRING, VARCHAR or BOOLEAN", shown + at(node), _close_cast(target)
        )
    value = check.tree(node.this)
    if value is NULL or value[1] == type_:
        return as_type(value, type_)
    op = CAST_OPS.get((value[1], type_))
    if op is None:
        raise ExpressionError(
            "long, double, boolean or string in CAST AS " + target, describe(value) + at(node)
        )
    return node_of(op, type_, (), value)


def _close_cast(target: str) -> str | None:
    if target in ("INT", "SMALLINT", "TINYINT"):
        return "BIGINT"
    return "DOUBLE" if target in ("FLOAT", "DECIMAL") else None


RULES: dict[type[exp.Expr], OperatorRule] = {
    exp.Paren: rule(lambda check, node: check.tree(node.this), "this"),
    exp.Column: rule(_column, "this table"),
    exp.Bracket: rule(element, "this expressions"),
    exp.Dot: rule(member_of_element),
    exp.Overlaps: rule(contains),
    exp.Literal: rule(_constant, "this is_string"),
    exp.Null: rule(lambda check, node: NULL, ""),
    exp.Boolean: rule(lambda check, node: literal(bool(node.this), "boolean"), "this"),
    exp.Add: rule(_arithmetic("add", "+")),
    exp.Sub: rule(_arithmetic("subtract", "-")),
    exp.Mul: rule(_arithmetic("multiply", "*")),
    exp.Mod: rule(_arithmetic("mod", "%")),
    exp.Div: rule(_divide, "this expression typed safe"),
    exp.Neg: rule(_negate, "this"),
    exp.EQ: rule(_comparison("equal", "=")),
    exp.NEQ: rule(_comparison("not_equal", "<>")),
    exp.LT: rule(_comparison("less", "<")),
    exp.LTE: rule(_comparison("less_equal", "<=")),
    exp.GT: rule(_comparison("greater", ">")),
    exp.GTE: rule(_comparison("greater_equal", ">=")),
    exp.And: rule(_logic("and")),
    exp.Or: rule(_logic("or")),
    exp.Not: rule(_logic("not"), "this"),
    exp.Is: rule(_is),
    exp.Between: rule(_between, "this low high"),
    exp.In: rule(_in, "this expressions"),
    exp.Like: rule(_like, "this expression negate"),
    exp.Escape: rule(_escape),
    exp.Case: rule(_case, "this ifs default"),
    exp.Cast: rule(_cast, "this to _type"),
    exp.Extract: rule(extract),
    exp.Substring: rule(substring, "this start length"),
    exp.DPipe: rule(concat, "this expression safe"),
    exp.Anonymous: rule(call, "this expressions"),
}
