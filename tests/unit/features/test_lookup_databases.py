"""Tables of databases: what they may hold, that they are only read, and what becomes of one that is gone.

The adversaries: a database that breaks, is slow or is written to while it is read; and a table or query whose
text does more than read.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.helpers.examples import examples
from udfs.features import FeatureBuilder, FeatureParams, LookupParams
from udfs.features.lookup_database import DatabaseParams, DatabaseTable, read_database, statement
from udfs.features.lookup_file import LookupTableError
from udfs.types import ARROW, ColumnType

TYPES: dict[str, ColumnType] = {
    "built": "long",
    "weight": "double",
    "model": "string",
    "active": "boolean",
    "seen": "timestamp",
}
COLUMNS = {name: name for name in TYPES}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "it's a #db?.sqlite"
    with connect(path) as database:
        database.execute(
            "CREATE TABLE planes (tail TEXT, built INT, weight REAL, model TEXT, active INT, seen TEXT)"
        )
        database.execute("INSERT INTO planes VALUES ('N1', 2001, 1.5, 'A''320', 1, '2026-01-02T03:04:05Z')")
        database.execute(
            "INSERT INTO planes VALUES ('N2', NULL, 2, NULL, 0, NULL), (NULL, 1, 1, '', 0, NULL)"
        )
    return path


def table_of(file: Path, clock: Clock, **others: Any) -> DatabaseTable:
    params = DatabaseParams(file=str(file), table="planes", every_ms=60_000)
    return DatabaseTable(params, "tail", {"built": "built"}, {"built": "long"}, clock, **others)


def built(table: DatabaseTable, *keys: str) -> list[int | None]:
    columns, _ = table.join(pa.array(keys, pa.string()))
    found: list[int | None] = columns["built"].to_pylist()
    return found


def at_once(work: Callable[[], None]) -> None:
    work()


def test_each_type_comes_as_what_it_is_declared(file: Path) -> None:
    content = read_database(DatabaseParams(file=str(file), table="planes"), "tail", COLUMNS, TYPES)
    assert content.keys.to_pylist() == ["N1", "N2"]
    assert {name: column.to_pylist() for name, column in content.columns.items()} == {
        "built": [2001, None],
        "weight": [1.5, 2.0],
        "model": ["A'320", None],
        "active": [True, False],
        "seen": [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), None],
    }
    assert {name: column.type for name, column in content.columns.items()} == {
        name: ARROW[kind] for name, kind in TYPES.items()
    }


def test_a_query_is_read_with_names_of_its_own(file: Path) -> None:
    query = 'WITH a AS (SELECT * FROM planes)\nSELECT tail AS k, built + 1 AS "od""d" FROM a -- all of them'
    params = DatabaseParams(file=str(file), query=query)
    content = read_database(params, "k", {"next": 'od"d'}, {"next": "long"})
    assert content.columns["next"].to_pylist() == [2002, None]


def test_an_empty_table_has_no_key(file: Path) -> None:
    params = DatabaseParams(file=str(file), query="SELECT * FROM planes WHERE 0")
    content = read_database(params, "tail", COLUMNS, TYPES)
    assert len(content.keys) == 0
    assert [column.type for column in content.columns.values()] == [ARROW[kind] for kind in TYPES.values()]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (
            {"key": "tial"},
            r"lookup table of .* must be one that the database can read; got no such column: q.tial",
        ),
        ({"select": {"built": "bulit"}}, "no such column: q.bulit"),
        ({"types": {"built": "string"}}, r"lookup select of .* must be a column of string; got 'built'"),
        ({"select": {"built": "model"}}, r"must be a column of long; got 'model'"),
        ({"table": "plains"}, "no such table: plains"),
        (
            {"query": "SELECT 1 AS tail, 2 AS built UNION ALL SELECT 1, 3"},
            "must be a column of distinct keys",
        ),
        ({"query": "SELECT 1.5 AS tail, 2 AS built"}, "must be a column of strings or integers"),
        ({"query": "SELECT 'a' AS tail, 1 AS built UNION SELECT 'b', 'x'"}, "a column of one kind of value"),
        ({"query": "SELECT 'a' AS tail, 1.5 AS built"}, "whole numbers"),
    ],
)
def test_what_does_not_fit_is_said(file: Path, change: dict[str, Any], wrong: str) -> None:
    table = None if "query" in change else change.get("table", "planes")
    params = DatabaseParams(file=str(file), table=table, query=change.get("query"))
    with pytest.raises(LookupTableError, match=wrong):
        read_database(
            params,
            change.get("key", "tail"),
            change.get("select", {"built": "built"}),
            change.get("types", {"built": "long"}),
        )


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1) AS q; DROP TABLE planes; --",
        "SELECT 1 AS tail, 2 AS built) AS q; DELETE FROM planes --",
        "SELECT load_extension('evil') AS tail, 1 AS built",
        "DELETE FROM planes RETURNING tail, built",
        "SELECT * FROM pragma_database_list",
    ],
)
def test_nothing_but_reading_is_done_whatever_the_query_says(file: Path, query: str) -> None:
    before = file.read_bytes()
    with pytest.raises(LookupTableError):
        read_database(
            DatabaseParams(file=str(file), query=query), "tail", {"built": "built"}, {"built": "long"}
        )
    assert file.read_bytes() == before


@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
)
def test_no_name_of_a_column_is_taken_for_more_than_a_name(file: Path, name: str) -> None:
    """Whatever it is called, it is found, or is no column; the statement never does more."""
    quoted = '"' + name.replace('"', '""') + '"'
    with connect(Path(":memory:")) as database:
        database.execute(
            f"CREATE TABLE t (k TEXT, {quoted} INT)" if name.lower() != "k" else "CREATE TABLE t (k INT)"
        )
        database.execute("INSERT INTO t DEFAULT VALUES")
        text = statement(DatabaseParams(file="-", table="t"), [name])
        assert database.execute(text).fetchall() == [(None,)]


def test_a_database_that_is_not_there_is_never_made(tmp_path: Path) -> None:
    params = DatabaseParams(file=str(tmp_path / "none.db"), table="planes")
    with pytest.raises(LookupTableError, match=r"(?s)none.db .*unable to open database file"):
        read_database(params, "tail", {"built": "built"}, {"built": "long"})
    assert not (tmp_path / "none.db").exists()


def test_it_is_read_again_when_it_is_time_and_not_before(file: Path) -> None:
    clock = Clock()
    table = table_of(file, clock, beside=at_once)
    with connect(file) as database:
        database.execute("UPDATE planes SET built = 2005 WHERE tail = 'N1'")
        database.execute("INSERT INTO planes (tail, built) VALUES ('N3', 1999)")
    clock.now += 59
    assert built(table, "N1", "N3") == [2001, None]
    clock.now += 1
    assert built(table, "N1", "N3") == [2005, 1999]
    assert table.failures == 0


@pytest.mark.parametrize("broken", ["DROP TABLE planes", "ALTER TABLE planes RENAME built TO made"])
def test_a_reload_that_fails_keeps_the_last_table_and_is_told_and_counted(file: Path, broken: str) -> None:
    clock = Clock()
    table = table_of(file, clock, beside=at_once)
    with connect(file) as database:
        database.execute(broken)
    with capture_logs() as logs:
        for _ in range(2):
            clock.now += 60
            assert built(table, "N1") == [2001]
    assert table.failures == 2
    assert [(each["event"], each["log_level"]) for each in logs] == [("lookup.kept_old_table", "error")] * 2
    with connect(file) as database:
        database.execute("DROP TABLE IF EXISTS planes")
        database.execute("CREATE TABLE planes (tail TEXT, built INT)")
        database.execute("INSERT INTO planes VALUES ('N1', 2010)")
    clock.now += 60
    assert built(table, "N1") == [2010]


def test_scoring_goes_on_while_a_slow_database_is_read(file: Path) -> None:
    clock, go_on, begun = Clock(), threading.Event(), []

    def slowly(work: Callable[[], None]) -> None:
        def wait() -> None:
            go_on.wait(30)
            work()

        begun.append(threading.Thread(target=wait))
        begun[-1].start()

    table = table_of(file, clock, beside=slowly)
    with connect(file) as database:
        database.execute("UPDATE planes SET built = 2005")
    clock.now += 60
    assert built(table, "N1") == [2001]
    clock.now += 600
    assert built(table, "N1") == [2001]
    assert len(begun) == 1
    go_on.set()
    begun[0].join()
    assert built(table, "N1") == [2005]


@pytest.fixture
def features(file: Path) -> FeatureBuilder:
    database = DatabaseParams(file=str(file), table="planes")
    lookup = LookupParams("", "tail", "tail", {"year": "built"}, {"year": "long"}, database)
    return FeatureBuilder(FeatureParams((lookup,)))


def test_features_have_what_the_database_has(features: FeatureBuilder) -> None:
    table, problems = features.compute(pa.table({"tail": ["N1", "N9", None]}))
    assert (table.column("year").to_pylist(), problems) == ([2001, None, None], {})
    assert (features.misses, features.failures) == (2, 0)


def test_no_password_is_shown() -> None:
    params = DatabaseParams(host="db", name="shop", username="u", password="hunter2", table="t")
    assert "hunter2" not in repr(params) + str(params) + repr((params,))


def test_a_driver_that_is_missing_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pg8000.exceptions", None)
    params = DatabaseParams(host="db", name="shop", username="u", password="hunter2", table="t")
    with pytest.raises(
        LookupTableError, match=r"pip install 'tailrace\[postgresql\]'.*got no pg8000"
    ) as caught:
        read_database(params, "k", {"v": "v"}, {"v": "long"})
    assert "hunter2" not in str(caught.value)
