"""Derived features: SQL expressions over columns, checked in the client, evaluated in the worker.

    expression = compile_expression("amount / mean_1h", {"amount": "double", "mean_1h": "double"})
    udfs.features.expressions.evaluate(expression.tree, table, table.num_rows)

Flink does not run them: a long division by zero would end the job there. sqlglot parses the text; what it
understands beyond the language of docs/expressions.md is refused here. The result is plain data.
"""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from sqlglot import Dialect, exp
from sqlglot.errors import ParseError, TokenError
from sqlglot.parser import Parser as BaseParser
from sqlglot.tokenizer_core import Token, TokenType
from sqlglot.tokens import Tokenizer as BaseTokenizer

from flink_jobs.plan.expressions.operators import type_check
from flink_jobs.plan.expressions.types import ExpressionError, Lists
from udfs.features.expressions import Tree
from udfs.types import ColumnType

__all__ = ["Expression", "ExpressionError", "check_all", "compile_all", "compile_expression"]

MAX_LENGTH = 10_000
MAX_BRACKETS = 20
NO_LISTS: Lists = {}


@dataclass(frozen=True)
class Expression:
    """A checked expression; `tree` is picklable plain data for udfs.features.expressions.evaluate.

    `columns` are those that it uses, lists too; of these it wants the columns `taken`, by name.
    """

    text: str
    tree: Tree
    type: ColumnType
    columns: frozenset[str]
    taken: Mapping[str, Tree] = field(default_factory=dict)


def compile_expression(text: str, columns: Mapping[str, ColumnType], lists: Lists = NO_LISTS) -> Expression:
    """Parse and type-check one expression over `columns` and `lists`. Raises ExpressionError."""
    return _compile(text, _parse(text), columns, lists)


def compile_all(
    expressions: Mapping[str, str], columns: Mapping[str, ColumnType]
) -> list[tuple[str, Expression]]:
    """Compile expressions that may use each other, in an order in which each comes after those it uses.

    Raises ExpressionError, whose `feature` names the expression, also for a cycle and a name that is taken.
    """
    compiled, errors = check_all(expressions, columns)
    if errors:
        raise errors[0]
    return compiled


def check_all(
    expressions: Mapping[str, str],
    columns: Mapping[str, ColumnType],
    is_unknown: Callable[[str], bool] = lambda _name: False,
    lists: Lists = NO_LISTS,
) -> tuple[list[tuple[str, Expression]], list[ExpressionError]]:
    """As `compile_all`, but with one error for each wrong expression.

    What uses a wrong expression, or a column that `is_unknown` but may exist, is in neither list.
    """
    errors: list[ExpressionError] = []
    parsed = _parsed(expressions, columns, errors)
    order = _order(parsed, errors)
    lost = expressions.keys() - set(order) - columns.keys()
    known = dict(columns)
    compiled = []
    for name in order:
        used = _references(parsed[name])
        if used & lost or any(is_unknown(column) for column in used - known.keys() - lists.keys()):
            lost.add(name)
            continue
        try:
            expression = _compile(expressions[name], parsed[name], known, lists)
        except ExpressionError as error:
            errors.append(error.of(name))
            lost.add(name)
        else:
            known[name] = expression.type
            compiled.append((name, expression))
    return compiled, errors


def _parsed(
    expressions: Mapping[str, str], columns: Mapping[str, ColumnType], errors: list[ExpressionError]
) -> dict[str, exp.Expr]:
    """The expressions that can be read and have a name of their own."""
    parsed = {}
    for name, text in expressions.items():
        try:
            parsed[name] = _parse(text)
        except ExpressionError as error:
            errors.append(error.of(name))
    for name in [name for name in parsed if name in columns]:
        errors.append(ExpressionError("a new name", f"{name!r}, which is a column already", feature=name))
        del parsed[name]
    return parsed


def _order(parsed: Mapping[str, exp.Expr], errors: list[ExpressionError]) -> list[str]:
    """The names in an order in which each comes after those it uses, without those of cycles."""
    uses = {name: sorted(_references(tree) & parsed.keys()) for name, tree in parsed.items()}
    while True:
        try:
            return [name for name in graphlib.TopologicalSorter(uses).static_order() if name in uses]
        except graphlib.CycleError as error:
            cycle = list(reversed(error.args[1]))
            found = "a cycle: " + " uses ".join(cycle)
            expected = "computable from columns and other derived features"
            errors.append(ExpressionError(expected, found, feature=cycle[0]))
            uses = {name: used for name, used in uses.items() if name not in cycle}


def _references(tree: exp.Expr) -> set[str]:
    units = {id(call.expressions[0]) for call in tree.find_all(exp.Anonymous) if _is_timestampdiff(call)}
    return {column.parts[0].name for column in tree.find_all(exp.Column) if id(column) not in units}


def _is_timestampdiff(call: exp.Anonymous) -> bool:
    return call.name.upper() == "TIMESTAMPDIFF" and bool(call.expressions)


class _Language(Dialect):
    """sqlglot's grammar without its functions: a call stays a name with arguments, to be looked up here."""

    class Tokenizer(BaseTokenizer):
        IDENTIFIERS: ClassVar = ['"', "`"]
        # An operator of sqlglot's that this language does not have stands for its own.
        KEYWORDS: ClassVar = {
            **{word: kind for word, kind in BaseTokenizer.KEYWORDS.items() if kind != TokenType.OVERLAPS},
            "CONTAINS": TokenType.OVERLAPS,
        }

    class Parser(BaseParser):
        FUNCTIONS: ClassVar = {}
        NO_PAREN_FUNCTIONS: ClassVar = {}
        FUNCTION_PARSERS: ClassVar = {
            name: BaseParser.FUNCTION_PARSERS[name] for name in ("CAST", "EXTRACT", "SUBSTRING")
        }
        NO_PAREN_FUNCTION_PARSERS: ClassVar = {"CASE": BaseParser.NO_PAREN_FUNCTION_PARSERS["CASE"]}


_LANGUAGE = _Language()


def _parse(text: str) -> exp.Expr:
    tokens = _tokens(text)
    try:
        statements = _LANGUAGE.parser(error_message_context=MAX_LENGTH).parse(tokens, text)
    except ParseError as error:
        where = error.errors[0]
        found = f"{where['highlight']!r} at character {len(where['start_context'] or '') + 1}"
        raise ExpressionError(
            "one SQL expression", found + f" ({_complaint(where['description'] or '')})"
        ) from None
    except RecursionError:
        raise _too_deep() from None
    if len(statements) != 1 or statements[0] is None:
        raise ExpressionError("one SQL expression", f"{len(statements)} statements")
    return statements[0]


def _complaint(description: str) -> str:
    return "an operand is missing" if description.startswith("Required keyword") else description.lower()


def _tokens(text: str) -> list[Token]:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"at most {MAX_LENGTH} characters long", f"{len(text)}")
    try:
        tokens = _LANGUAGE.tokenize(text)
    except TokenError:
        raise ExpressionError("one SQL expression", "text with an unfinished quote") from None
    if any(token.comments for token in tokens) or (text.strip() and not tokens):
        raise ExpressionError("one SQL expression without comments", "a comment")
    if not tokens:
        raise ExpressionError("one SQL expression", "nothing")
    _check_brackets(tokens)
    return tokens


def _check_brackets(tokens: Sequence[Token]) -> None:
    depth = 0
    for token in tokens:
        depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
        if depth > MAX_BRACKETS:
            raise _too_deep()


_OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE}
_CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END}


def _too_deep() -> ExpressionError:
    return ExpressionError(f"nested at most {MAX_BRACKETS} levels deep", "deeper nesting")


def _compile(text: str, parsed: exp.Expr, columns: Mapping[str, ColumnType], lists: Lists) -> Expression:
    try:
        tree, used, taken = type_check(parsed, columns, lists)
    except RecursionError:
        raise _too_deep() from None
    return Expression(text, tree, tree[1], used, taken)
