"""Derived features: what compiles, what it evaluates to, what is refused; nothing hostile gets through."""

from __future__ import annotations

import json
import math
import pickle
import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flink_jobs.plan.expressions import ExpressionError, compile_all, compile_expression
from flink_jobs.plan.expressions.functions import FUNCTION_NAMES
from tests.helpers.examples import examples
from udfs.features.expressions import FeatureError, evaluate, nonfinite
from udfs.types import ARROW, ColumnType

DOC = Path(__file__).parents[3] / "docs" / "expressions.md"
COLUMNS: dict[str, ColumnType] = {
    "x": "double",
    "y": "double",
    "i": "long",
    "j": "long",
    "s": "string",
    "t": "timestamp",
    "u": "timestamp",
    "f": "boolean",
    "g": "boolean",
    "dep_delay": "double",
}
JULY = datetime(2013, 7, 1, 5, 6, 7, 890000, tzinfo=UTC)
SIXTIES = datetime(1969, 12, 31, 23, 59, 58, 500000, tzinfo=UTC)
ROWS: dict[str, list[Any]] = {
    "x": [1.5, None, -2.5],
    "y": [2.0, 3.0, None],
    "i": [7, -7, None],
    "j": [2, 3, 5],
    "s": ["né 1", None, "B%c\n"],
    "t": [JULY, None, SIXTIES],
    "u": [JULY, JULY, JULY],
    "f": [True, False, None],
    "g": [None, True, False],
    "dep_delay": [1.0, 2.0, 3.0],
}
TABLE = pa.table({name: pa.array(values, ARROW[COLUMNS[name]]) for name, values in ROWS.items()})


def values_of(text: str, table: Any = TABLE, rows: int = 3) -> list[Any]:
    expression = compile_expression(text, COLUMNS)
    result = evaluate(expression.tree, table, rows)
    assert isinstance(result, pa.Array)
    assert result.type == ARROW[expression.type]
    assert len(result) == rows
    return list(result.to_pylist())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x + y", [3.5, None, None]),
        ("x - i", [-5.5, None, None]),
        ("i * j", [14, -21, None]),
        ("i / j", [3.5, -7 / 3, None]),
        ("-i % j", [-1, 1, None]),
        ("i % -1", [0, 0, None]),
        ("x % y", [1.5, None, None]),
        ("-x", [-1.5, None, 2.5]),
        ("+i", [7, -7, None]),
        ("1 + 2 * 3 - 4 / 8", [6.5, 6.5, 6.5]),
        ("x + NULL", [None, None, None]),
        ("-9223372036854775808", [-(2**63)] * 3),
        ("x > 1", [True, None, False]),
        ("i = 7.0", [True, False, None]),
        ("s <> 'a'", [True, None, True]),
        ("f = TRUE", [True, False, None]),
        ("t < u", [False, None, True]),
        ("t >= TIMESTAMP '2013-07-01 05:06:07.89'", [True, None, False]),
        ("t < TIMESTAMP '2013-07-01 08:00:00+02:00'", [True, None, True]),
        ("f AND g", [None, False, False]),
        ("f OR g", [True, True, None]),
        ("NOT f", [False, True, None]),
        ("NULL AND FALSE", [False, False, False]),
        ("x IS NULL", [False, True, False]),
        ("f IS NOT NULL", [True, True, False]),
        ("f IS TRUE", [True, False, False]),
        ("f IS NOT TRUE", [False, True, True]),
        ("f IS FALSE", [False, True, False]),
        ("x IN (1.5, 2)", [True, None, False]),
        ("i NOT IN (7, 8)", [False, True, None]),
        ("s IN ('né 1')", [True, None, False]),
        ("t IN (TIMESTAMP '2013-07-01 05:06:07.890')", [True, None, False]),
        ("i IN (-7)", [False, True, None]),
        ("x BETWEEN -2.5 AND 0", [False, None, True]),
        ("j NOT BETWEEN i AND 5", [True, False, None]),
        ("s LIKE 'n_ %'", [True, None, False]),
        ("s LIKE 'B%'", [False, None, True]),
        ("s NOT LIKE 'B!%__' ESCAPE '!'", [True, None, False]),
        ("s LIKE '.*'", [False, None, False]),
        ("CASE WHEN x > 0 THEN 'up' WHEN x < 0 THEN 'down' ELSE '?' END", ["up", "?", "down"]),
        ("CASE WHEN f THEN 1 END", [1, None, None]),
        ("CASE i WHEN 7 THEN 1 WHEN -7 THEN 2.5 END", [1.0, 2.5, None]),
        ("CASE WHEN f THEN t ELSE u END", [JULY, JULY, JULY]),
        ("COALESCE(x, y, 0)", [1.5, 3.0, -2.5]),
        ("COALESCE(x, i)", [1.5, -7.0, -2.5]),
        ("COALESCE(s, '-')", ["né 1", "-", "B%c\n"]),
        ("NULLIF(j, 2)", [None, 3, 5]),
        ("NULLIF(x, NULL)", [1.5, None, -2.5]),
        ("CAST(i AS DOUBLE)", [7.0, -7.0, None]),
        ("CAST(x AS BIGINT)", [1, None, -2]),
        ("CAST(x AS VARCHAR)", ["1.5", None, "-2.5"]),
        ("CAST(y AS STRING)", ["2", "3", None]),
        ("CAST(f AS STRING)", ["true", "false", None]),
        ("CAST(f AS DOUBLE) + 1", [2.0, 1.0, None]),
        ("CAST(f AS BIGINT)", [1, 0, None]),
        ("CAST(i AS BOOLEAN)", [True, True, None]),
        ("CAST(t AS STRING)", ["2013-07-01 05:06:07.890", None, "1969-12-31 23:59:58.500"]),
        ("CAST('-12' AS BIGINT)", [-12] * 3),
        ("CAST(' TRUE' AS STRING)", [" TRUE"] * 3),
        ("CAST('TRUE' AS BOOLEAN)", [True] * 3),
        ("CAST('1e3' AS DOUBLE)", [1000.0] * 3),
        ("CAST(NULL AS BIGINT)", [None] * 3),
        ("CAST(s AS STRING) || '!'", ["né 1!", None, "B%c\n!"]),
        ("ROUND(x)", [2.0, None, -3.0]),
        ("ROUND(x * 10.06, 1)", [15.1, None, -25.2]),
        ("ROUND(123.4, -2)", [100.0] * 3),
        ("ROUND(i, 2)", [7, -7, None]),
        ("CEIL(i)", [7, -7, None]),
        ("SIGN(i)", [1, -1, None]),
        ("SIGN(x)", [1.0, None, -1.0]),
        ("LEAST(x, y)", [1.5, None, None]),
        ("LEAST(t, u)", [JULY, None, SIXTIES]),
        ("GREATEST(i, j, 4)", [7, 4, None]),
        ("SUBSTRING(s FROM 2 FOR 2)", ["é ", None, "%c"]),
        ("SUBSTRING(s, 9)", ["", None, ""]),
        ("EXTRACT(DAY FROM t)", [1, None, 31]),
        ("EXTRACT(SECOND FROM t)", [7, None, 58]),
        ("EXTRACT(DOY FROM t)", [182, None, 365]),
        ("EXTRACT(EPOCH FROM t)", [1372655167, None, -2]),
        ("extract(hour from t) >= 21", [False, None, True]),
        ("DAYOFWEEK(t)", [2, None, 4]),
        ("TIMESTAMPDIFF(DAY, u, t)", [0, None, -15887]),
        ('"x" + `y`', [3.5, None, None]),
        ("TRUE", [True] * 3),
    ],
)
def test_values(text: str, expected: list[Any]) -> None:
    assert values_of(text) == expected


def test_a_tree_survives_pickle_and_json_and_reads_a_mapping() -> None:
    expression = compile_expression("CASE WHEN i IN (7) THEN x ELSE y END", COLUMNS)
    columns = {name: pa.array(values, ARROW[COLUMNS[name]]) for name, values in ROWS.items()}
    for tree in (pickle.loads(pickle.dumps(expression.tree)), json.loads(json.dumps(expression.tree))):
        assert evaluate(tree, columns, 3).to_pylist() == [1.5, 3.0, None]
    assert expression.columns == {"i", "x", "y"}
    assert expression.type == "double"


def test_no_rows_never_fail() -> None:
    empty = TABLE.slice(0, 0)
    for text in ("1 % 0", "CAST('a' AS DOUBLE)", "i * 9223372036854775807", "1", "x", "t < u"):
        assert values_of(text, empty, 0) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("i * 9223372036854775807", "overflow"),
        ("-(i - 9223372036854775807) + 9223372036854775807", "overflow"),
        ("ABS(-9223372036854775808 + i - i)", "overflow"),
        ("i % (j - 2)", "divisor of MOD must not be zero"),
        ("CAST(s AS DOUBLE)", "text that holds a double"),
        ("CAST('0x1F' AS BIGINT)", "text that holds a long"),
        ("CAST('nan' AS DOUBLE)", "text that holds a double"),
        ("CAST('1' AS BOOLEAN)", "text that holds a boolean"),
        ("CAST('9223372036854775808' AS BIGINT)", "CAST"),
        ("CAST(1e19 AS BIGINT)", "CAST AS BIGINT must get a number that fits 64 bits"),
        ("x / 0 > 5", "finite"),
        ("1 / (x / 0)", "finite"),
        ("EXP(x / 0)", "finite"),
        ("LEAST(x / 0, 1)", "finite"),
        ("SIGN(LN(0 * y))", "finite"),
        ("CAST(x / 0 AS STRING)", "finite"),
        ("CASE x / 0 WHEN 1 THEN 2 END", "finite"),
        ("x / 0 IN (1)", "finite"),
        ("9007199254740993 * j > x", "2\\^53"),
    ],
)
def test_a_row_without_an_answer_raises(text: str, reason: str) -> None:
    with pytest.raises(FeatureError, match=reason):
        values_of(text)


def test_infinite_and_nan_results_are_marked_by_row() -> None:
    for text, marked in (
        ("x / (j - 2)", [True, False, False]),
        ("(y - 2) / (j - 2)", [True, False, False]),
        ("SQRT(x)", [False, False, True]),
        ("LN(x - 1.5)", [True, False, True]),
        ("POWER(10, 400)", [True, True, True]),
        ("i", [False, False, False]),
    ):
        found = nonfinite(evaluate(compile_expression(text, COLUMNS).tree, TABLE, 3))
        assert found.dtype == np.bool_
        assert found.tolist() == marked, text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CASE WHEN j = 2 THEN 0 ELSE i % (j - 2) END", [0, 0, None]),
        ("CASE WHEN j = 2 THEN FALSE WHEN 7 % (j - 2) = 0 THEN TRUE END", [False, True, None]),
        ("CASE j - 2 WHEN 0 THEN 0 WHEN 7 % (j - 2) THEN 1 ELSE 7 % (j - 2) END", [0, 0, 1]),
        ("j <> 2 AND 7 % (j - 2) = 0", [False, True, False]),
        ("j = 2 OR 7 % (j - 2) = 0", [True, True, False]),
        ("COALESCE(CASE WHEN j = 2 THEN 9 END, 7 % (j - 2))", [9, 0, 1]),
        ("CASE WHEN j = 2 THEN FALSE ELSE 1 / (j - 2) > 0.5 END", [False, True, False]),
        ("CASE WHEN FALSE THEN 1 % 0 ELSE 5 END", [5, 5, 5]),
        (
            "CASE WHEN j = 2 THEN 0 ELSE CASE WHEN j = 3 THEN 1 ELSE 6 % ((j - 2) * (j - 3)) END END",
            [0, 1, 0],
        ),
    ],
)
def test_a_branch_that_is_not_taken_cannot_fail(text: str, expected: list[Any]) -> None:
    assert values_of(text) == expected


def test_timestamps_outside_the_calendar_fail_instead_of_wrapping() -> None:
    table = {"t": pa.array([2**62], ARROW["timestamp"])}
    for text in ("YEAR(t)", "CAST(t AS STRING)"):
        with pytest.raises(FeatureError, match="years 1 to 9999"):
            evaluate(compile_expression(text, COLUMNS).tree, table, 1)


FUNCTIONS_LISTED = ", ".join(FUNCTION_NAMES)
COLUMNS_LISTED = "dep_delay, f, g, i, j, s, t, u, x, y"
LANGUAGE = (
    "must be made of columns, literals, + - * / % ||, = <> < <= > >=, AND OR NOT, IS [NOT] NULL|TRUE|FALSE, "
    "[NOT] IN (literals), [NOT] BETWEEN, [NOT] LIKE, CASE, CAST and functions; got "
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be one SQL expression; got nothing"),
        ("  ", "must be one SQL expression; got nothing"),
        ("x +", "must be one SQL expression; got '+' at character 3 (an operand is missing)"),
        ("(x", "must be one SQL expression; got 'x' at character 2 (expecting ))"),
        ("x y", LANGUAGE + "a name after the expression at character 1"),
        ("x = 'a", "must be one SQL expression; got text with an unfinished quote"),
        ("x; y", "must be one SQL expression; got 2 statements"),
        ("x -- y", "must be one SQL expression without comments; got a comment"),
        ("x /* y */ + 1", "must be one SQL expression without comments; got a comment"),
        ("/* y */", "must be one SQL expression without comments; got a comment"),
        (
            "1 + dep_dely",
            f"must be one of the columns {COLUMNS_LISTED}; "
            "got 'dep_dely' at character 5; did you mean 'dep_delay'?",
        ),
        (
            "DEP_DELAY",
            f"must be one of the columns {COLUMNS_LISTED}; got 'DEP_DELAY' at character 1; "
            "did you mean 'dep_delay'?",
        ),
        (
            "CURRENT_TIMESTAMP",
            f"must be one of the columns {COLUMNS_LISTED}; got 'CURRENT_TIMESTAMP' at character 1",
        ),
        ("r.x", "must be a column without a prefix; got 'r.x' at character 1; did you mean 'x'?"),
        (
            "HOURS(t)",
            f"must be one of the functions {FUNCTIONS_LISTED}; "
            "got HOURS(…) at character 1; did you mean 'HOUR'?",
        ),
        ("x + frob(y)", f"must be one of the functions {FUNCTIONS_LISTED}; got frob(…) at character 5"),
        (
            "AVG(x)",
            "must be a function of one row, or of a list (aggregates of rows are declared under "
            "features.windows); got AVG(…) at character 1",
        ),
        (
            "ABS(x) OVER ()",
            LANGUAGE + "a window (windows are declared under features.windows) at character 1",
        ),
        ("x IN (SELECT 1)", LANGUAGE + "a subquery at character 1"),
        ("EXISTS (SELECT 1)", LANGUAGE + "a subquery at character 16"),
        ("(SELECT 1)", LANGUAGE + "a subquery at character 9"),
        ("SELECT x", LANGUAGE + "a query at character 8"),
        ("DROP TABLE x", LANGUAGE + "DROP at character 12"),
        ("x DIV y", LANGUAGE + "DIV at character 1"),
        ("ABS(DISTINCT x)", LANGUAGE + "DISTINCT at character 14"),
        ("x BETWEEN SYMMETRIC 1 AND 2", LANGUAGE + "BETWEEN with symmetric at character 1"),
        ("?", LANGUAGE + "a placeholder"),
        ("s + 1", "must be long or double in +; got string column 's' at character 1"),
        ("x AND f", "must be boolean in AND; got double column 'x' at character 1"),
        ("NOT (x + 1)", "must be boolean in NOT; got a double at character 6"),
        (
            "f > FALSE",
            "must be long, double, string or timestamp in >; got boolean column 'f' at character 1",
        ),
        ("x = s", "must be of one type in =; got double column 'x' and string column 's' at character 5"),
        (
            "t > '2013-01-01'",
            "must be of one type in >; got timestamp column 't' and string '2013-01-01' at character 5",
        ),
        ("t - u", "must be long or double in -; got timestamp column 't' at character 1"),
        ("CASE WHEN x THEN 1 END", "must be boolean in WHEN; got double column 'x' at character 11"),
        (
            "CASE WHEN f THEN 1 ELSE 'a' END",
            "must be of one type in the values of CASE; got long 1 and string 'a' at character 25",
        ),
        ("i IN (j)", "must be literals, without NULL, in IN; got long column 'j' at character 7"),
        ("i IN (1, NULL)", "must be literals, without NULL, in IN; got NULL"),
        ("i IN ()", "must be IN (literal, …); got IN without a list of literals at character 1"),
        ("s LIKE s", "must be a literal pattern in LIKE; got an expression at character 8"),
        ("s LIKE 'a!b' ESCAPE '!'", "must be %, _ or ! after the ESCAPE character; got 'b' at character 8"),
        (
            "CAST(x AS INT)",
            "must be CAST AS DOUBLE, BIGINT, STRING, VARCHAR or BOOLEAN; "
            "got INT at character 6; did you mean 'BIGINT'?",
        ),
        (
            "CAST(t AS DOUBLE)",
            "must be long, double, boolean or string in CAST AS DOUBLE; "
            "got timestamp column 't' at character 6",
        ),
        (
            "EXTRACT(DOW FROM t)",
            "must be one of YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE, SECOND, DOY, ISODOW, EPOCH "
            "in EXTRACT; "
            "got 'DOW' at character 18",
        ),
        ("HOUR(x)", "must be timestamp in HOUR; got double column 'x' at character 6"),
        ("ABS(x, y)", "must be ABS with 1 argument; got 2 at character 1"),
        ("COALESCE()", "must be COALESCE with 1 or more arguments; got 0 at character 1"),
        (
            "ROUND(x, j)",
            "must be a literal whole number from -15 to 15 as the digits of ROUND; got 'j' at character 10",
        ),
        (
            "SUBSTRING(s, 0)",
            "must be a literal whole number from 1 to 999999999 as the start of SUBSTRING; "
            "got '0' at character 14",
        ),
        (
            "TIMESTAMPDIFF(MONTH, t, u)",
            "must be one of SECOND, MINUTE, HOUR, DAY in TIMESTAMPDIFF; got 'MONTH' at character 15",
        ),
        ("TIMESTAMP '1.7.2013'", "must be TIMESTAMP 'YYYY-MM-DD HH:MM:SS'; got '1.7.2013' at character 11"),
        (
            "9223372036854775808",
            "must be a whole number of 64 bits; "
            "got 9223372036854775808 at character 1; did you mean '9223372036854775808.0'?",
        ),
        ("1e999", "must be a finite number; got 1e999 at character 1"),
        ("NULL", "must be an expression with a type; got NULL alone; did you mean 'CAST(NULL AS DOUBLE)'?"),
        (
            "COALESCE(NULL)",
            "must be of a known type in COALESCE; got only NULL; did you mean 'CAST(NULL AS DOUBLE)'?",
        ),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, COLUMNS)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "x" + ")" * 5000,
        "ABS(" * 300 + "x" + ")" * 300,
        "NOT " * 2400 + "f",
        "- " * 4000 + "x",
        "x" + " + x" * 2400,
        "f" + " AND f" * 1600,
        "CASE WHEN f THEN " * 60 + "1" + " END" * 60,
        "CAST(" * 200 + "x" + " AS DOUBLE)" * 200,
        "x IN (" * 500,
        "[" * 3000,
        "x" * 10_001,
        "9" * 9000,
        "y" * 9000,
        "'" + "y" * 9000 + "' x",
        "s LIKE '" + "%a" * 6000 + "'",
    ],
    ids=lambda text: text[:12],
)
def test_deep_and_long_texts_are_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="must be") as caught:
        compile_expression(text, COLUMNS)
    assert len(str(caught.value)) < 1000


def test_the_deepest_that_is_allowed_works_far_down_the_stack() -> None:
    nested = "CASE WHEN f IS NULL OR i = 0 THEN i ELSE " * 20 + "i % 5" + " END" * 20
    chain = "i" + " + i" * 62

    def far_down(frames: int) -> tuple[list[Any], list[Any]]:
        return far_down(frames - 1) if frames else (values_of(nested), values_of(chain))

    assert far_down(200) == ([2, -2, None], [7 * 63, -7 * 63, None])


WORDS = (
    "x i s t f ( ) , + - * / % = < > || AND OR NOT IS NULL IN BETWEEN LIKE CASE WHEN THEN ELSE END CAST AS "
    "DOUBLE EXTRACT HOUR FROM ABS COALESCE 'a' 1 2.5 TRUE . ; -- [ ] { } : :: ? @ # \" ` ' SELECT OVER"
)
TOKENS = WORDS.split()
SOUP = st.lists(st.sampled_from(TOKENS), max_size=14).map(" ".join)


@settings(max_examples=examples(200))
@given(st.one_of(st.text(max_size=60), SOUP))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    try:
        expression = compile_expression(text, COLUMNS)
    except ExpressionError:
        return
    try:
        result = evaluate(expression.tree, TABLE, 3)
    except FeatureError:
        return
    assert (len(result), result.type) == (3, ARROW[expression.type])


def test_a_like_pattern_of_hostile_shape_is_linear() -> None:
    table = {"s": pa.array(["a" * 5000])}
    tree = compile_expression("s LIKE '" + "%a" * 40 + "b'", COLUMNS).tree
    assert evaluate(tree, table, 1).to_pylist() == [False]


# An oracle: SQLite, where it means the same. Each strategy draws (our text, SQLite's text).

Pair = tuple[str, str]
NUMBERS = st.sampled_from(["i", "j", "x", "y", "0", "1", "-3", "2.5", "NULL"])


def _pairs(names: st.SearchStrategy[str]) -> st.SearchStrategy[Pair]:
    return names.map(lambda name: (name, name))


def _fill(template: str, *parts: Pair, theirs: str | None = None) -> Pair:
    return (
        template.format(*(part[0] for part in parts)),
        (theirs or template).format(*(part[1] for part in parts)),
    )


def _longs(depth: int) -> st.SearchStrategy[Pair]:
    leaf = _pairs(st.sampled_from(["i", "j", "0", "1", "-3", "7"]))
    if not depth:
        return leaf
    part = _longs(depth - 1)
    return st.one_of(
        leaf,
        st.builds(lambda op, a, b: _fill(f"({{}} {op} {{}})", a, b), st.sampled_from("+-*"), part, part),
        st.builds(lambda a, b: _fill("({} % NULLIF({}, 0))", a, b), part, part),
        st.builds(lambda a: _fill("ABS({})", a), part),
        st.builds(
            lambda c, a, b: _fill("CASE WHEN {} THEN {} ELSE {} END", c, a, b),
            _booleans(depth - 1),
            part,
            part,
        ),
        st.builds(lambda c, a: _fill("CASE WHEN {} THEN {} END", c, a), _booleans(depth - 1), part),
        st.builds(lambda a, b, c: _fill("CASE {} WHEN {} THEN {} END", a, b, c), part, part, part),
        st.builds(lambda a, b: _fill("NULLIF({}, {})", a, b), part, part),
        st.builds(lambda a: _fill("CAST({} AS BIGINT)", a), _doubles(depth - 1)),
    )


def _doubles(depth: int) -> st.SearchStrategy[Pair]:
    leaf = _pairs(st.sampled_from(["x", "y", "0.5", "-2.25"]))
    if not depth:
        return leaf
    part, mixed = _doubles(depth - 1), st.one_of(_doubles(depth - 1), _longs(depth - 1))
    return st.one_of(
        leaf,
        st.builds(lambda op, a, b: _fill(f"({{}} {op} {{}})", a, b), st.sampled_from("+-*"), part, mixed),
        st.builds(
            lambda a, b: _fill("({} / NULLIF({}, 0))", a, b, theirs="(CAST({} AS REAL) / NULLIF({}, 0))"),
            mixed,
            mixed,
        ),
        st.builds(lambda a, b: _fill("LEAST({}, {})", a, b, theirs="min({}, {})"), part, mixed),
        st.builds(lambda a, b: _fill("GREATEST({}, {})", a, b, theirs="max({}, {})"), mixed, part),
        st.builds(lambda a, b: _fill("COALESCE({}, {})", a, b), part, mixed),
    )


def _booleans(depth: int) -> st.SearchStrategy[Pair]:
    leaf = _pairs(st.sampled_from(["f", "g", "TRUE", "FALSE"]))
    if not depth:
        return leaf
    part = _booleans(depth - 1)
    number = st.one_of(_doubles(depth - 1), _longs(depth - 1))
    return st.one_of(
        leaf,
        st.builds(
            lambda op, a, b: _fill(f"({{}} {op} {{}})", a, b), st.sampled_from(["AND", "OR", "="]), part, part
        ),
        st.builds(lambda a: _fill("(NOT {})", a), part),
        st.builds(
            lambda test, a: _fill(f"({{}} IS {test})", a),
            st.sampled_from(["TRUE", "NOT FALSE", "NULL"]),
            part,
        ),
        st.builds(
            lambda op, a, b: _fill(f"({{}} {op} {{}})", a, b),
            st.sampled_from(["=", "<>", "<", "<=", ">", ">="]),
            number,
            number,
        ),
        st.builds(lambda a, b, c: _fill("({} NOT BETWEEN {} AND {})", a, b, c), number, number, number),
        st.builds(lambda a: _fill("({} IN (0, 1, -3, 2.5))", a), number),
        st.builds(
            lambda a, b: _fill("(f OR {} % {} = 1)", a, b, theirs="(f OR {} % NULLIF({}, 0) = 1)"),
            _longs(0),
            st.just(("NULLIF(j, 0)", "j")),
        ),
    )


SMALL = {
    "i": [0, 1, -1, 7, -7, 12, None, None, 3, 40],
    "j": [3, 0, 2, None, -2, 5, None, 1, 3, -40],
    "x": [0.0, 1.5, None, -2.25, 8.0, 0.5, None, -1.0, 3.0, 99.75],
    "y": [2.0, None, 0.0, 0.25, -8.0, 0.5, None, 1.0, -3.0, 0.125],
    "f": [True, True, True, False, False, False, None, None, None, True],
    "g": [True, False, None, True, False, None, True, False, None, True],
}
SMALL_TABLE = pa.table({name: pa.array(values, ARROW[COLUMNS[name]]) for name, values in SMALL.items()})


@pytest.fixture(scope="module")
def oracle() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE r (i INTEGER, j INTEGER, x REAL, y REAL, f INTEGER, g INTEGER)")
    connection.executemany("INSERT INTO r VALUES (?, ?, ?, ?, ?, ?)", list(zip(*SMALL.values(), strict=True)))
    return connection


@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(_longs(3), _doubles(3), _booleans(3)))
def test_agrees_with_sqlite(oracle: sqlite3.Connection, pair: Pair) -> None:
    ours, theirs = pair
    expected = [row[0] for row in oracle.execute(f"SELECT {theirs} FROM r")]
    assert values_of(ours, SMALL_TABLE, 10) == expected


def test_compile_all_orders_by_use() -> None:
    compiled = compile_all(
        {"late": "share > 0.5", "share": "x / total", "total": "x + y", "night": "HOUR(t) > 21"}, COLUMNS
    )
    names = [name for name, _ in compiled]
    assert sorted(names) == ["late", "night", "share", "total"]
    assert names.index("total") < names.index("share") < names.index("late")
    assert dict(compiled)["late"].columns == {"share"}
    assert dict(compiled)["late"].type == "boolean"


def test_a_unit_is_not_a_use_of_a_column() -> None:
    compiled = compile_all({"HOUR": "TIMESTAMPDIFF(HOUR, t, u)"}, COLUMNS)
    assert [name for name, _ in compiled] == ["HOUR"]


@pytest.mark.parametrize(
    ("expressions", "message"),
    [
        (
            {"a": "b + 1", "b": "c * 2", "c": "a"},
            r"([abc]): must be computable from columns and other derived features; got a cycle: "
            r"(a uses b uses c uses a|b uses c uses a uses b|c uses a uses b uses c)",
        ),
        (
            {"a": "a + 1"},
            "a: must be computable from columns and other derived features; got a cycle: a uses a",
        ),
        ({"x": "y"}, "x: must be a new name; got 'x', which is a column already"),
        ({"a": "x +"}, r"a: must be one SQL expression; got '\+' at character 3 \(an operand is missing\)"),
        (
            {"a": "x > 1", "b": "a + 1"},
            r"b: must be long or double in \+; got boolean column 'a' at character 1",
        ),
    ],
)
def test_compile_all_names_the_feature_that_is_wrong(expressions: dict[str, str], message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_all(expressions, COLUMNS)
    assert re.fullmatch(message, str(caught.value)), str(caught.value)
    assert caught.value.feature in expressions


def _documented() -> list[tuple[str, str, str]]:
    section = DOC.read_text(encoding="utf-8").split("## Functions")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)\([^`]*\)` \| `([^`]+)` \| `([^`]+)` \|", section, re.MULTILINE)
    return [(name, example, gives) for name, example, gives in rows]


@pytest.mark.parametrize(("name", "example", "gives"), _documented(), ids=lambda value: str(value)[:16])
def test_documented_functions_give_what_the_page_says(name: str, example: str, gives: str) -> None:
    assert example.startswith(f"{name}(")
    assert [str(value) for value in values_of(example, rows=2)] == [gives, gives]


def test_the_page_documents_exactly_the_functions_there_are() -> None:
    assert sorted(name for name, _, _ in _documented()) == sorted(FUNCTION_NAMES)


def test_power_and_exp_agree_with_the_math_library() -> None:
    table = {"x": pa.array([0.1, 12.3, -4.5, None])}
    found = evaluate(compile_expression("EXP(x)", COLUMNS).tree, table, 4).to_pylist()
    assert found == [
        pytest.approx(math.exp(v), rel=1e-15) if v is not None else None for v in (0.1, 12.3, -4.5, None)
    ]
