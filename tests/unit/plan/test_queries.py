"""Queries of lookups: what is one SELECT passes, what does more is refused before anything reads it."""

from __future__ import annotations

import pytest

from flink_jobs.plan.queries import why_not

READS = (
    "SELECT a FROM t",
    "select a, b::text from s.t where b ~ 'x;y' order by a limit 5 -- ; c",
    "WITH x AS (SELECT a FROM t) SELECT a FROM x UNION ALL SELECT b FROM u",
    "SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, at DESC",
    "SELECT 'DROP TABLE t; DELETE FROM t' AS a",
    "(SELECT a FROM t)",
)
DOES_MORE = (
    "",
    "-- nothing",
    "SELECT a FROM t;",
    "SELECT a FROM t; -- done",
    "SELECT 1; DROP TABLE t",
    "SELECT 1) AS q; DELETE FROM t; --",
    "DELETE FROM t",
    "UPDATE t SET a = 1",
    "INSERT INTO t SELECT a FROM u",
    "WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x",
    "SELECT a INTO u FROM t",
    "SELECT a FROM t FOR UPDATE",
    "CREATE TABLE u AS SELECT a FROM t",
    "DROP TABLE t",
    "ALTER TABLE t ADD b INT",
    "TRUNCATE t",
    "COPY t TO PROGRAM 'rm -rf /'",
    "SET default_transaction_read_only = off",
    "CALL p()",
    "DO $$ BEGIN DELETE FROM t; END $$",
    "VACUUM",
    "EXPLAIN ANALYZE DELETE FROM t",
    "GRANT ALL ON t TO u",
    "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE",
    "SELECT FROM WHERE",
    "(" * 5_000,
)


@pytest.mark.parametrize("query", READS)
def test_what_only_reads_passes(query: str) -> None:
    assert why_not(query, "postgres") is None


@pytest.mark.parametrize("dialect", ["postgres", "sqlite"])
@pytest.mark.parametrize("query", [*DOES_MORE, "ATTACH DATABASE 'x' AS y", "PRAGMA writable_schema = ON"])
def test_what_does_more_is_refused_with_a_word(query: str, dialect: str) -> None:
    assert why_not(query, dialect)
