"""Checks that the query of a lookup reads, and does nothing else.

>>> why_not("SELECT a FROM t", "sqlite")
>>> why_not("SELECT 1; DROP TABLE t", "postgres")
'2 statements'
>>> why_not("WITH gone AS (DELETE FROM t RETURNING a) SELECT a FROM gone", "postgres")
'DELETE'
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

_WRITING = (exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock, exp.Drop, exp.Alter, exp.Set, exp.Pragma)


def why_not(query: str, dialect: str) -> str | None:
    """What is wrong with a query that is not one SELECT; None if it is."""
    try:
        statements = sqlglot.parse(query, read=dialect)
    except (SqlglotError, RecursionError) as error:
        return f"SQL that cannot be read ({_in_a_line(error)})"
    if len(statements) != 1 or ";" in query.rstrip()[-1:]:
        return f"{len(statements)} statements" if len(statements) != 1 else "a semicolon at its end"
    (statement,) = statements
    if statement is None:
        return "nothing"
    for node in statement.walk():
        if isinstance(node, _WRITING) and not isinstance(node, exp.Query):
            return node.key.upper()
    return None if isinstance(statement, exp.Query) else statement.key.upper()


def _in_a_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:80]
