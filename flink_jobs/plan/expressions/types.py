"""The types of derived features: how a parsed expression becomes a typed tree of plain data.

    checker = TypeChecker({"amount": "double"}, RULES)
    tree = checker.tree(parsed)

Types: string, double, long, boolean, timestamp; a long meets a double as a double; nothing else is converted
without CAST. A syntax that has no rule is not in the language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlglot import exp

from flink_jobs.errors import InputError
from udfs.features.expressions import Tree, can_fail
from udfs.suggest import nearest
from udfs.types import ColumnType

# Members by the name of a list, with their types; a list of values has one without a name.
Lists = Mapping[str, Mapping[str, ColumnType]]
MAX_DEPTH = 64
MAX_FOUND = 200
NULL: Tree = ("null", "string", (), (), False)  # takes the type that its place needs
KINDS: dict[str, tuple[str, ...]] = {
    "number": ("long", "double"),
    "double": ("long", "double"),
    "string": ("string",),
    "timestamp": ("timestamp",),
    "boolean": ("boolean",),
    "ordered": ("long", "double", "string", "timestamp"),
    "any": ("string", "double", "long", "boolean", "timestamp"),
}
ALLOWED = (
    "made of columns, literals, + - * / % ||, = <> < <= > >=, AND OR NOT, IS [NOT] NULL|TRUE|FALSE, "
    "[NOT] IN (literals), [NOT] BETWEEN, [NOT] LIKE, CASE, CAST and functions"
)


class ExpressionError(InputError):
    """An expression is not in the language, names something unknown, or its types do not fit.

    `feature` is the derived feature's name, None when the expression was compiled on its own.
    """

    def __init__(
        self, expected: str, found: str, suggestion: str | None = None, feature: str | None = None
    ) -> None:
        found = found if len(found) <= MAX_FOUND else found[:MAX_FOUND] + "…"
        self.expected, self.found, self.suggestion, self.feature = expected, found, suggestion, feature
        name = f"{feature}: " if feature else ""
        hint = f"; did you mean {suggestion!r}?" if suggestion else ""
        super().__init__(f"{name}must be {expected}; got {found}{hint}")

    def of(self, feature: str) -> ExpressionError:
        """The same error of a derived feature."""
        return ExpressionError(self.expected, self.found, self.suggestion, feature)


@dataclass(frozen=True)
class OperatorRule:
    """How a syntax is typed, and what sqlglot may have set on its node; anything more is refused."""

    apply: Callable[[TypeChecker, exp.Expr], Tree]
    arguments: frozenset[str]


def rule(apply: Callable[[TypeChecker, exp.Expr], Tree], arguments: str = "this expression") -> OperatorRule:
    """A Rule; `arguments` are names separated by spaces."""
    return OperatorRule(apply, frozenset(arguments.split()))


def closest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that was probably meant."""
    return nearest(name, names, cutoff=0.7)


def at(node: exp.Expr) -> str:
    """Where `node` begins, for the end of a message."""
    starts = [part.meta["start"] for part in node.walk() if "start" in part.meta]
    return f" at character {min(starts) + 1}" if starts else ""


def describe(tree: Tree) -> str:
    """The type of `tree`, with its name or value if it has one."""
    if tree is NULL or tree[2] == (None,):
        return "NULL"
    if tree[0] == "column":
        return f"{tree[1]} column {tree[2][0]!r}"
    return f"{tree[1]} {tree[2][0]!r}" if tree[0] == "literal" else f"a {tree[1]}"


def node_of(op: str, type_: str, params: Sequence[Any], *children: Tree) -> Tree:
    """A tree's node: its operation, type, parameters and children, and whether it can fail."""
    result = cast(ColumnType, type_)
    return op, result, tuple(params), children, can_fail(op, result, children)


def literal(value: Any, type_: str) -> Tree:
    """A constant as a tree."""
    return node_of("literal", type_, (value,))


def as_type(tree: Tree, type_: str, widen: str = "widen") -> Tree:
    """`tree`, of type `type_`, long or NULL, as `type_`."""
    if tree is NULL:
        return literal(None, type_)
    if tree[1] == type_:
        return tree
    if tree[0] == "literal" and tree[2][0] is not None and abs(tree[2][0]) <= 2**53:
        return literal(float(tree[2][0]), type_)
    return node_of(widen, type_, (), tree)


class TypeChecker:
    """Types one expression; `used` collects the columns and lists that it reads.

    `taken` collects the columns that are made of lists for it, by name.
    """

    def __init__(
        self,
        columns: Mapping[str, ColumnType],
        rules: Mapping[type[exp.Expr], OperatorRule],
        lists: Lists,
    ) -> None:
        self.columns = columns
        self.rules = rules
        self.lists = lists
        self.used: set[str] = set()
        self.taken: dict[str, Tree] = {}
        self.depth = 0

    def tree(self, node: exp.Expr) -> Tree:
        """The typed tree of `node`, NULL (this module's) for a bare NULL. Raises ExpressionError."""
        rule = self.rules.get(type(node))
        extra = {name for name, value in node.args.items() if value} - rule.arguments if rule else set()
        if rule is None or extra:
            raise unsupported(node, extra)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionError(f"at most {MAX_DEPTH} operations deep", "a deeper one" + at(node))
        result = rule.apply(self, node)
        self.depth -= 1
        return result

    def of_kind(self, node: exp.Expr, kind: str, where: str) -> Tree:
        """The tree of `node`, which must be of a type in KINDS[kind]; `where` names the place in errors."""
        tree = self.tree(node)
        if tree is not NULL and tree[1] not in KINDS[kind]:
            raise ExpressionError(_expected(kind, where), describe(tree) + at(node), _cast(tree, kind))
        if kind == "double" or (tree is NULL and kind in ("boolean", "string", "timestamp")):
            return as_type(tree, kind)
        return tree

    def alike(self, nodes: Sequence[exp.Expr], kind: str, where: str, widen: str = "widen") -> list[Tree]:
        """The trees of `nodes`, brought to one type of `kind`."""
        trees = [self.of_kind(node, kind, where) for node in nodes]
        type_ = _common(trees, where, nodes)
        return [as_type(tree, type_, widen) for tree in trees]


def _cast(tree: Tree, kind: str) -> str | None:
    """What to write for a column that is compared and calculated with only as another type."""
    as_text = tree[1] == "bytes" or "double" not in KINDS[kind]
    needs_cast = tree[0] == "column" and tree[1] in ("decimal", "bytes")
    return f"CAST({tree[2][0]} AS {'STRING' if as_text else 'DOUBLE'})" if needs_cast else None


def _expected(kind: str, where: str) -> str:
    *others, last = KINDS[kind]
    return f"{', '.join(others) + ' or ' if others else ''}{last} in {where}"


def _common(trees: Sequence[Tree], where: str, nodes: Sequence[exp.Expr]) -> str:
    typed = [(tree, node) for tree, node in zip(trees, nodes, strict=True) if tree is not NULL]
    if not typed:
        raise ExpressionError(f"of a known type in {where}", "only NULL", "CAST(NULL AS DOUBLE)")
    first = typed[0][0]
    for tree, node in typed[1:]:
        if tree[1] != first[1] and {tree[1], first[1]} != {"long", "double"}:
            raise ExpressionError(
                f"of one type in {where}", f"{describe(first)} and {describe(tree)}" + at(node)
            )
    types = {tree[1] for tree, _ in typed}
    return "double" if types == {"long", "double"} else first[1]


def unsupported(node: exp.Expr, extra: set[str]) -> ExpressionError:
    """The error for a syntax that is not in the language, or has `extra` parts that are not."""
    found = UNSUPPORTED.get(type(node), node.key.upper())
    if isinstance(node, exp.Column):
        return ExpressionError("a column without a prefix", repr(node.sql()) + at(node), node.name)
    if isinstance(node, exp.Cast) and "format" not in extra:
        found = "CAST with more than a type"
    elif "query" in extra:
        found = "a subquery"
    elif extra:
        found += " with " + ", ".join(sorted(extra))
    return ExpressionError(ALLOWED, found + at(node))


UNSUPPORTED: dict[type[exp.Expr], str] = {
    exp.Select: "a query",
    exp.Subquery: "a subquery",
    exp.Exists: "a subquery",
    exp.Window: "a window (windows are declared under features.windows)",
    exp.Filter: "an aggregate",
    exp.Alias: "a name after the expression",
    exp.Tuple: "a list",
    exp.Star: "*",
    exp.Placeholder: "a placeholder",
    exp.Parameter: "a parameter",
    exp.Interval: "INTERVAL (TIMESTAMPDIFF compares timestamps)",
    exp.IntDiv: "DIV",
    exp.Command: "a statement",
}
