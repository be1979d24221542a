"""What expressions take out of lists and maps: `items[1].qty`, `CARDINALITY(tags)`, `attributes['colour']`.

Each is a column that is made where records are decoded, named by its text, so that lists go no further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from flink_jobs.plan.expressions.types import (
    KINDS,
    NULL,
    ExpressionError,
    TypeChecker,
    as_type,
    at,
    closest,
    describe,
    node_of,
)
from udfs.features.expressions import Tree
from udfs.records.lists import LARGEST_LENGTH
from udfs.types import ColumnType

AGGREGATES = {"SUM": "list_sum", "AVG": "list_avg", "MIN": "list_min", "MAX": "list_max"}
OF_LISTS = ("ARRAY_CONTAINS", "CARDINALITY", "COUNT", "ELEMENT", *AGGREGATES)
# What a map has in the place of members: the type of its values.
OF_MAP = "*"
_LONGEST_KEY = 200
# Those that elsewhere are aggregates of rows.
ALSO_OF_ROWS = frozenset({"COUNT", *AGGREGATES})


@dataclass(frozen=True)
class Reference:
    """A list, or a member of its elements; `type` is that of one value, None for whole objects."""

    list: str
    member: str
    type: ColumnType | None

    def __str__(self) -> str:
        return f"{self.list}.{self.member}" if self.member else self.list


def reference(check: TypeChecker, node: exp.Expr | None) -> Reference | None:
    """The list that the node names, if it does. Raises ExpressionError for a member that it does not have."""
    if not isinstance(node, exp.Column) or node.args.get("db"):
        return None
    name = node.table or node.name
    members = check.lists.get(name)
    if members is None:
        return None
    if OF_MAP in members:
        if node.table:
            expected = f"a key in brackets, {name}['{node.name}']"
            raise ExpressionError(expected, repr(f"{name}.{node.name}") + at(node))
        return Reference(name, "", None)
    return _member(name, node.name, members, node) if node.table else Reference(name, "", members.get(""))


def whole_list(found: Reference, node: exp.Expr, of_map: bool = False) -> ExpressionError:
    """The error for a list or a map where one value is needed."""
    expected = f"an element of the list, such as {found.list}[1], or a function of it ({', '.join(OF_LISTS)})"
    if of_map:
        expected = f"a value of the map, such as {found.list}['key'], or CARDINALITY({found.list})"
    return ExpressionError(expected, repr(str(found)) + at(node))


def _member(name: str, member: str, members: Mapping[str, ColumnType], node: exp.Expr) -> Reference:
    if "" in members:
        raise ExpressionError(f"{name} without a member, as it is a list of values", repr(member) + at(node))
    if member not in members:
        expected = f"one of the members {', '.join(members)} of {name}"
        raise ExpressionError(expected, repr(member) + at(node), closest(member, members))
    return Reference(name, member, members[member])


def element(check: TypeChecker, node: exp.Expr) -> Tree:
    """List[n] or map['key'] as a tree."""
    found = reference(check, node.this)
    if found is None or found.member:
        raise ExpressionError("a list before [ ]", repr(node.this.sql()) + at(node))
    if OF_MAP in check.lists[found.list]:
        return _value(check, found, node)
    return _item(check, found, node)


def member_of_element(check: TypeChecker, node: exp.Expr) -> Tree:
    """List[n].member as a tree."""
    inner, name = node.this, node.expression
    found = reference(check, inner.this) if isinstance(inner, exp.Bracket) else None
    if found is None or found.member or not isinstance(name, exp.Identifier):
        expected = "a column without a prefix, or a member of an element, such as items[1].qty"
        raise ExpressionError(expected, repr(node.sql()) + at(node))
    return _item(check, _member(found.list, name.name, check.lists[found.list], node), inner)


def _item(check: TypeChecker, of: Reference, node: exp.Expr) -> Tree:
    places = node.expressions
    number = places[0].name if len(places) == 1 and isinstance(places[0], exp.Literal) else ""
    place = int(number) if number.isdecimal() and len(number) < 10 and not places[0].is_string else 0
    if not 1 <= place <= LARGEST_LENGTH:
        expected = f"a literal whole number from 1 to {LARGEST_LENGTH} in [ ]"
        raise ExpressionError(expected, ", ".join(repr(each.sql()) for each in places) + at(node))
    text = f"{of.list}[{place}]{'.' * bool(of.member)}{of.member}"
    return _taken(check, text, "list_item", _value_type(check, of, node), of, place)


def _value(check: TypeChecker, of: Reference, node: exp.Expr) -> Tree:
    keys = node.expressions
    one = len(keys) == 1 and isinstance(keys[0], exp.Literal) and keys[0].is_string
    if not one or not 0 < len(keys[0].name) <= _LONGEST_KEY or not keys[0].name.isprintable():
        expected = f"a literal text as the key in [ ], such as {of.list}['key']"
        raise ExpressionError(expected, ", ".join(repr(each.sql()) for each in keys) + at(node))
    text = f"{of.list}[{keys[0].sql()}]"
    return _taken(check, text, "map_value", check.lists[of.list][OF_MAP], of, keys[0].name)


def _value_type(check: TypeChecker, of: Reference, node: exp.Expr) -> ColumnType:
    if OF_MAP in check.lists[of.list]:
        raise whole_list(of, node, of_map=True)
    if of.type is None:
        expected = f"a member of its elements, one of {', '.join(check.lists[of.list])}"
        raise ExpressionError(expected, f"{of.list}, whose elements are objects" + at(node))
    return of.type


def call_of_list(check: TypeChecker, node: exp.Expr) -> Tree | None:
    """The tree of a function of a list; None if it is another one, or an aggregate of something else."""
    name, nodes = node.name.upper(), node.expressions
    if name not in OF_LISTS:
        return None
    of = reference(check, nodes[0] if nodes else None)
    if of is None:
        if name in ALSO_OF_ROWS:
            return None
        raise ExpressionError(f"a list of source.schema in {name}", _shown(nodes) + at(node))
    if len(nodes) != (2 if name == "ARRAY_CONTAINS" else 1):
        expected = f"{name} with {'2 arguments' if name == 'ARRAY_CONTAINS' else '1 argument'}"
        raise ExpressionError(expected, f"{len(nodes)}" + at(node))
    match name:
        case "ARRAY_CONTAINS":
            return _contains(check, of, nodes[1], node)
        case "CARDINALITY":
            whole = Reference(of.list, "", None)
            return _taken(check, f"CARDINALITY({whole})", "list_length", "long", whole)
        case "COUNT":
            _value_type(check, of, node)
            return _taken(check, f"COUNT({of})", "list_count", "long", of)
        case "ELEMENT":
            return _taken(check, f"ELEMENT({of})", "list_only", _value_type(check, of, node), of)
    return _aggregate(check, name, of, node)


def contains(check: TypeChecker, node: exp.Expr) -> Tree:
    """List CONTAINS literal as a tree."""
    of = reference(check, node.this)
    if of is None:
        raise ExpressionError("a list of source.schema before CONTAINS", repr(node.this.sql()) + at(node))
    return _contains(check, of, node.expression, node)


def _contains(check: TypeChecker, of: Reference, wanted: exp.Expr, node: exp.Expr) -> Tree:
    kind = _value_type(check, of, node)
    value = check.tree(wanted)
    if value is NULL or value[0] != "literal" or not _fits(value[1], kind):
        raise ExpressionError(f"a literal {kind} in CONTAINS", describe(value) + at(wanted))
    literal = as_type(value, kind)
    if literal[0] != "literal":
        raise ExpressionError("a number within ±2^53 in CONTAINS", describe(value) + at(wanted))
    text = f"ARRAY_CONTAINS({of}, {wanted.sql()})"
    return _taken(check, text, "list_contains", "boolean", of, kind, literal[2][0])


def _fits(found: ColumnType, wanted: ColumnType) -> bool:
    return found == wanted or (found, wanted) == ("long", "double")


def _aggregate(check: TypeChecker, name: str, of: Reference, node: exp.Expr) -> Tree:
    kind = _value_type(check, of, node)
    if kind not in KINDS["number"]:
        raise ExpressionError(f"a list of long or double in {name}", f"{of}, of {kind}" + at(node))
    result: ColumnType = "double" if name == "AVG" else kind
    return _taken(check, f"{name}({of})", AGGREGATES[name], result, of)


def _taken(check: TypeChecker, text: str, op: str, type_: ColumnType, of: Reference, *params: Any) -> Tree:
    """A column of that text, which is made of the list."""
    check.used.add(of.list)
    check.taken[text] = node_of(op, type_, (of.list, of.member, *params))
    return node_of("column", type_, (text,))


def _shown(nodes: Sequence[exp.Expr]) -> str:
    return repr(nodes[0].sql()) if nodes else "nothing"
