"""Lookup tables: what a file may hold, the join, and what happens when the file changes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flink_jobs.errors import InputError
from flink_jobs.plan.lookups import LookupFileError, describe_lookup
from tests.helpers.examples import examples
from udfs.features.lookup import KeyedTable, LookupTable, LookupTableError, lookup_table
from udfs.features.lookup_file import file_content
from udfs.store import StoreError
from udfs.store.objects import ObjectStore, open_uri
from udfs.types import ARROW, ColumnType

PLANES = "tailnum,year,model\nN1,2001,A320\nN2,,NA\nN3,1999,\n"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def planes(tmp_path: Path) -> Path:
    path = tmp_path / "planes.csv"
    path.write_text(PLANES)
    return path


def table_of(path: Path, clock: Callable[[], float]) -> LookupTable:
    return LookupTable(path, "tailnum", {"built": "year"}, {"built": "long"}, check_seconds=10, clock=clock)


def years(table: LookupTable, *keys: str | None) -> list[int | None]:
    columns, _ = table.join(pa.array(keys, pa.string()))
    found: list[int | None] = columns["built"].to_pylist()
    return found


def overwrite(path: Path, text: str) -> None:
    """Write into the same file, with a time that is surely later."""
    status = path.stat()
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


def replace(path: Path, text: str) -> None:
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


def write_both(folder: Path, table: pa.Table) -> list[Path]:
    parquet, csv = folder / "t.parquet", folder / "t.csv"
    pq.write_table(table, parquet)
    pa.csv.write_csv(table, csv)
    return [parquet, csv]


def test_parquet_and_csv_give_the_same(tmp_path: Path) -> None:
    when = [datetime(2013, 1, 1, 5, tzinfo=UTC), None, datetime(2013, 1, 2, tzinfo=UTC)]
    table = pa.table(
        {
            "key": ["a", "b", "c"],
            "text": pa.array(["x", None, "NA"]).dictionary_encode(),
            "small": pa.array([1, None, 3], pa.uint8()),
            "real": pa.array([0.5, None, 2.25], pa.float32()),
            "flag": [True, None, False],
            "when": pa.array(when, pa.timestamp("s")),
        }
    )
    select = {name: name for name in table.column_names[1:]}
    for path in write_both(tmp_path, table):
        types = describe_lookup(path, "key", select)
        assert types == {
            "text": "string",
            "small": "long",
            "real": "double",
            "flag": "boolean",
            "when": "timestamp",
        }
        columns, misses = LookupTable(path, "key", select, types).join(pa.array(["c", None, "a", "zz", "b"]))
        assert misses == 2
        assert {name: column.type for name, column in columns.items()} == {
            name: ARROW[type_] for name, type_ in types.items()
        }
        assert columns["text"].to_pylist() == ["NA", None, "x", None, None]
        assert columns["small"].to_pylist() == [3, None, 1, None, None]
        assert columns["real"].to_pylist() == [2.25, None, 0.5, None, None]
        assert columns["flag"].to_pylist() == [False, None, True, None, None]
        assert columns["when"].to_pylist() == [when[2], None, when[0], None, None]


@pytest.mark.parametrize(
    ("values", "type_", "expected"),
    [
        (pa.array([Decimal("1.50"), None]), "double", [1.5, None]),
        (pa.array([date(2013, 1, 2), None]), "timestamp", [datetime(2013, 1, 2, tzinfo=UTC), None]),
        (
            pa.array([datetime(2013, 1, 2, 3, 4, 5, 678901), None], pa.timestamp("us")),
            "timestamp",
            [datetime(2013, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), None],
        ),
        (
            pa.array([datetime(2013, 1, 2, tzinfo=UTC), None], pa.timestamp("ns", "America/New_York")),
            "timestamp",
            [datetime(2013, 1, 2, tzinfo=UTC), None],
        ),
        (pa.array(["a", None], pa.large_string()), "string", ["a", None]),
        (pa.array([float("nan"), 2.0]), "double", [None, 2.0]),
    ],
)
def test_types_are_brought_to_the_five(
    tmp_path: Path, values: pa.Array, type_: ColumnType, expected: list[Any]
) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"key": [1, 2], "value": values}), path)
    types = describe_lookup(path, "key", {"v": "value"})
    assert types == {"v": type_}
    columns, _ = LookupTable(path, "key", {"v": "value"}, types).join(pa.array([1, 2]))
    assert columns["v"].to_pylist() == expected


def test_a_type_given_wins_over_what_csv_looks_like(tmp_path: Path) -> None:
    path = tmp_path / "codes.csv"
    path.write_text("key,code,level\n007,0123,1\n")
    table = LookupTable(
        path, "key", {"code": "code", "level": "level"}, {"code": "string", "level": "double"}
    )
    columns, misses = table.join(pa.array(["007", "7"]))
    assert columns["code"].to_pylist() == ["0123", None]
    assert columns["level"].to_pylist() == [1.0, None]
    assert misses == 1


@pytest.mark.parametrize("kind", ["string", "long"])
def test_long_and_string_keys_meet_as_text(tmp_path: Path, kind: ColumnType) -> None:
    for path in write_both(tmp_path, pa.table({"key": [1, -2, 3], "v": ["a", "b", "c"]})):
        columns, misses = LookupTable(path, "key", {"v": "v"}).join(pa.array([-2, 9]).cast(ARROW[kind]))
        assert columns["v"].to_pylist() == ["b", None]
        assert misses == 1


def test_rows_without_a_key_are_left_out(tmp_path: Path) -> None:
    for path in write_both(tmp_path, pa.table({"key": ["a", None, None], "v": [1, 2, 3]})):
        columns, misses = LookupTable(path, "key", {"v": "v"}).join(pa.array([None, "", "a"]))
        assert columns["v"].to_pylist() == [None, None, 1]
        assert misses == 2


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries=st.dictionaries(st.text(min_size=1, max_size=3), st.one_of(st.none(), st.integers(-5, 5))),
    keys=st.lists(st.one_of(st.none(), st.text(max_size=3))),
)
def test_join_is_a_dictionary(tmp_path: Path, entries: dict[str, int | None], keys: list[str | None]) -> None:
    path = tmp_path / "t.parquet"
    columns = {"k": pa.array(entries, pa.string()), "v": pa.array(entries.values(), pa.int64())}
    pq.write_table(pa.table(columns), path)
    joined, misses = LookupTable(path, "k", {"v": "v"}).join(pa.array(keys, pa.string()))
    assert joined["v"].to_pylist() == [entries.get(key) if key is not None else None for key in keys]
    assert misses == sum(key not in entries for key in keys)


@pytest.mark.parametrize(
    ("name", "content", "key", "select", "part", "message"),
    [
        ("gone.csv", None, "k", "v", "file", "must be a readable file; got No such file or directory"),
        ("t.xlsx", "x", "k", "v", "file", "must be a .parquet or .csv file; got '.xlsx'"),
        ("t.csv", "", "k", "v", "file", "must be a valid csv file; got Empty CSV file"),
        (
            "t.csv",
            "k,v\na,1\nb\n",
            "k",
            "v",
            "file",
            "must be a valid csv file; got CSV parse error: Row #3: Expected 2 columns, got 1: b",
        ),
        (
            "t.csv",
            b"k,v\n\xff,1\n",
            "k",
            "v",
            "file",
            "must be a valid csv file; got In CSV column #0: Row #2: CSV conversion error to string: "
            "invalid UTF8 data",
        ),
        (
            "t.parquet",
            "zz",
            "k",
            "v",
            "file",
            "must be a valid parquet file; got Parquet file size is 2 bytes, smaller than the minimum file "
            "footer (8 bytes)",
        ),
        (
            "t.csv",
            "tailnum,v\na,1\n",
            "tailnun",
            "v",
            "key",
            "must be one of its columns tailnum, v; got 'tailnun'; did you mean 'tailnum'?",
        ),
        (
            "t.csv",
            "k,year\na,1\n",
            "k",
            "Year",
            "select",
            "must be one of its columns k, year; got 'Year'; did you mean 'year'?",
        ),
        ("t.csv", "k,v,v\na,1,2\n", "k", "v", "select", "must be a column that occurs once; got 'v' twice"),
        (
            "t.csv",
            "k,v\na,1\nb,2\na,3\n",
            "k",
            "v",
            "key",
            "must be a column of distinct keys; got 'a' 2 times in 'k'",
        ),
        (
            "t.csv",
            "k,v\na,\n",
            "k",
            "v",
            "select",
            "must be a column of string, long, double, boolean or timestamp; got 'v' of null",
        ),
        (
            "t.parquet",
            pa.table({"k": [1.5], "v": [1]}),
            "k",
            "v",
            "key",
            "must be a column of strings or integers; got 'k' of double",
        ),
        (
            "t.parquet",
            pa.table({"k": [1], "v": [[1]]}),
            "k",
            "v",
            "select",
            "must be a column of string, long, double, boolean or timestamp; got 'v' of list<element: int64>",
        ),
        (
            "t.parquet",
            pa.table({"k": [1], "v": pa.array([2**64 - 1], pa.uint64())}),
            "k",
            "v",
            "select",
            "must be a column of 64-bit integers; got 'v': Integer value 18446744073709551615 not in range: "
            "0 to 9223372036854775807",
        ),
    ],
)
def test_mistakes(
    tmp_path: Path, name: str, content: Any, key: str, select: str, part: str, message: str
) -> None:
    path = tmp_path / name
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LookupFileError) as caught:
        describe_lookup(path, key, {"new": select})
    assert str(caught.value) == f"lookup {part} of {path} {message}"
    assert caught.value.part == part
    assert isinstance(caught.value, InputError)
    with pytest.raises(LookupTableError):
        LookupTable(path, key, {"new": select})


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(LookupFileError, match="must be a readable file; got Is a directory"):
        describe_lookup(tmp_path, "k", {"v": "v"})


def test_a_replaced_file_is_read_at_the_next_check(planes: Path, clock: Clock) -> None:
    table = table_of(planes, clock)
    replace(planes, "tailnum,year,model\nN1,2012,A\nN9,2013,B\n")
    clock.now += 9.9
    assert years(table, "N1", "N9") == [2001, None]
    clock.now += 0.2
    assert years(table, "N1", "N9", "N3") == [2012, 2013, None]


def test_a_file_overwritten_in_place_is_read_when_it_rests(planes: Path, clock: Clock) -> None:
    table = table_of(planes, clock)
    overwrite(planes, "tailnum,year\n")
    clock.now += 10
    assert years(table, "N1") == [2001]
    overwrite(planes, "tailnum,year\nN1,2012\n")
    clock.now += 10
    assert years(table, "N1") == [2001]
    clock.now += 10
    assert years(table, "N1") == [2012]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("tailnum,year\nN1,20", None),
        ("tailnum,year\nN1,new\n", "must be a column of long; got 'year' with 'new'"),
        ("tailnum,year\nN1\n", "Expected 2 columns, got 1"),
        ("tailnum,built\nN1,2\n", "must be one of its columns tailnum, built; got 'year'"),
        ("tailnum,year\nN1,1\nN1,2\n", "distinct keys; got 'N1' 2 times"),
        ("", "Empty CSV file"),
    ],
)
def test_a_broken_file_keeps_the_old_table_and_is_logged_once(
    planes: Path, clock: Clock, broken: str, reason: str | None
) -> None:
    table = table_of(planes, clock)
    with structlog.testing.capture_logs() as logs:
        replace(planes, broken)
        for _ in range(4):
            clock.now += 10
            years(table, "N1")
        if reason is None:
            assert years(table, "N1") == [20]
            assert [entry["event"] for entry in logs] == ["lookup.reloaded"]
            return
        assert years(table, "N1", "N3") == [2001, 1999]
        assert [entry["event"] for entry in logs] == ["lookup.kept_old_table"]
        assert logs[0]["log_level"] == "error"
        assert logs[0]["path"] == str(planes)
        assert reason in logs[0]["reason"]
        replace(planes, broken + "\n")
        clock.now += 10
        years(table, "N1")
        assert len(logs) == 2
        replace(planes, PLANES.replace("2001", "2002"))
        clock.now += 10
        assert years(table, "N1") == [2002]


def test_a_file_that_goes_and_comes_back(planes: Path, clock: Clock) -> None:
    table = table_of(planes, clock)
    with structlog.testing.capture_logs() as logs:
        planes.unlink()
        for _ in range(3):
            clock.now += 10
            assert years(table, "N1") == [2001]
        planes.write_text("tailnum,year\nN1,2020\n")
        clock.now += 10
        assert years(table, "N1") == [2020]
    assert [entry["event"] for entry in logs] == ["lookup.kept_old_table", "lookup.reloaded"]


def test_a_parquet_file_cut_in_half_keeps_the_old_table(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"tailnum": ["N1"], "year": [2001]}), path)
    table = table_of(path, clock)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            clock.now += 10
            assert years(table, "N1") == [2001]
    assert [entry["event"] for entry in logs] == ["lookup.kept_old_table"]


def test_an_unchanged_file_is_not_read_again(planes: Path, clock: Clock) -> None:
    table = table_of(planes, clock)
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            clock.now += 60
            assert years(table, "N1") == [2001]
    assert logs == []


def test_types_that_were_found_at_first_must_stay(planes: Path, clock: Clock) -> None:
    table = LookupTable(planes, "tailnum", {"model": "model"}, check_seconds=1, clock=clock)
    assert table.types == {"model": "string"}
    replace(planes, "tailnum,model\nN1,320\n")
    clock.now += 1
    columns, _ = table.join(pa.array(["N1"]))
    assert columns["model"].to_pylist() == ["320"]


def test_one_table_per_process_whatever_the_thread(planes: Path) -> None:
    found: list[KeyedTable] = []
    start = threading.Barrier(8)

    def load() -> None:
        start.wait()
        found.append(lookup_table(planes, "tailnum", {"built": "year"}, {"built": "long"}))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(table is found[0] for table in found)
    assert lookup_table(planes, "tailnum", {"other": "year"}) is not found[0]


def test_readers_never_see_a_mixture(planes: Path, clock: Clock) -> None:
    """While the file changes under eight readers, a row's two columns always come from one version."""
    select = {"a": "year", "b": "twice"}
    replace(planes, "tailnum,year,twice\nN1,1,2\n")
    table = LookupTable(planes, "tailnum", select, check_seconds=0, clock=clock)
    wrong: list[tuple[int, int]] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            columns, _ = table.join(pa.array(["N1"]))
            pair = columns["a"][0].as_py(), columns["b"][0].as_py()
            if pair[1] != 2 * pair[0]:
                wrong.append(pair)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in range(2, 40):
        replace(planes, f"tailnum,year,twice\nN1,{version},{2 * version}\n")
        clock.now += 1
    stop.set()
    for thread in threads:
        thread.join()
    # A new file may get an old one's inode; then it counts as overwritten, and is settled at the second look.
    for _ in range(2):
        clock.now += 1
        table.join(pa.array(["N1"]))
    assert not wrong
    assert table.join(pa.array(["N1"]))[0]["a"].to_pylist() == [39]


class Bucket:
    """Files in memory, of which a store tells time and size; `gone` is a store that does not answer."""

    def __init__(self, name: str) -> None:
        self.files, self.gone, self.uri = fsspec.filesystem("memory"), False, f"memory://{name}/planes.csv"
        self.time = 1_700_000_000

        self.etag = ""

    def put(self, text: str, step: int = 1) -> None:
        self.files.pipe_file(f"/{self.uri.partition('://')[2]}", text.encode())
        self.time += step

    def stamp(self, store: ObjectStore, name: str) -> tuple[int, int, str] | None:
        if self.gone:
            raise StoreError("no answer")
        found = store.read(name)
        return self.time * 1_000_000_000, len(found), self.etag


@pytest.fixture
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    made = Bucket(str(abs(hash(request.node.name))))
    monkeypatch.setattr(ObjectStore, "stamp", lambda store, name: made.stamp(store, name))
    made.put(PLANES)
    return made


def look(table: LookupTable, clock: Clock, times: int = 2) -> None:
    """As often as the next batches would, each when the look before has ended."""
    for _ in range(times):
        clock.now += 11
        table.refresh()
        with table._lock:
            pass


def test_a_file_at_a_uri_is_read_again_when_it_changes(bucket: Bucket, clock: Clock) -> None:
    table = LookupTable(bucket.uri, "tailnum", {"built": "year"}, {"built": "long"}, 10, clock)
    assert years(table, "N1", "N3", None) == [2001, 1999, None]
    bucket.put(PLANES.replace("2001", "2011"))
    look(table, clock)
    assert years(table, "N1", "N3") == [2011, 1999]


@pytest.mark.parametrize(("slow", "sees"), [(0.0, True), (30.0, True), (-30.0, True), (100.0, False)])
def test_a_file_of_the_same_size_written_in_the_same_second_is_seen(
    bucket: Bucket, clock: Clock, slow: float, sees: bool
) -> None:
    """Also where the store's clock is half a minute off; it is read twice, and then no more."""
    wall = lambda: bucket.time + 0.5 + slow  # noqa: E731
    table = LookupTable(bucket.uri, "tailnum", {"built": "year"}, {"built": "long"}, 10, clock, wall)
    bucket.put(PLANES.replace("2001", "2011"), step=0)
    look(table, clock, 1)
    assert years(table, "N1") == [2011 if sees else 2001]
    bucket.put(PLANES.replace("2001", "2021"), step=0)  # by somebody who sets times
    look(table, clock, 3)
    assert years(table, "N1") == [2011 if sees else 2001]


def test_the_same_of_a_file_here(planes: Path, clock: Clock) -> None:
    table = table_of(planes, clock)
    status = planes.stat()
    planes.write_text(PLANES.replace("2001", "2011"))
    os.utime(planes, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert planes.stat().st_size == status.st_size
    clock.now += 10
    assert years(table, "N1") == [2011]


def test_a_store_that_tells_an_etag_is_asked_for_no_file_again(bucket: Bucket, clock: Clock) -> None:
    bucket.etag = '"1"'
    wall = lambda: bucket.time + 0.5  # noqa: E731
    table = LookupTable(bucket.uri, "tailnum", {"built": "year"}, {"built": "long"}, 10, clock, wall)
    bucket.put(PLANES.replace("2001", "2011"), step=0)
    look(table, clock, 3)
    assert years(table, "N1") == [2001]  # which no store with etags would do
    bucket.etag = '"2"'
    look(table, clock)
    assert years(table, "N1") == [2011]


def test_a_store_that_tells_no_time_is_read_every_minute(bucket: Bucket, clock: Clock) -> None:
    bucket.time = 0
    table = LookupTable(bucket.uri, "tailnum", {"built": "year"}, {"built": "long"}, 10, clock)
    bucket.put(PLANES.replace("2001", "2011"), step=0)
    look(table, clock, 5)
    assert years(table, "N1") == [2001]
    look(table, clock, 1)
    assert years(table, "N1") == [2011]


def test_a_file_that_could_not_be_read_is_read_at_the_next_look(
    bucket: Bucket, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store tells of the new file, and does not give it at once."""
    table = LookupTable(bucket.uri, "tailnum", {"built": "year"}, {"built": "long"}, 10, clock)
    bucket.put(PLANES.replace("2001", "2011"))
    look(table, clock, 1)
    with monkeypatch.context() as broken:
        broken.setattr("udfs.features.lookup.file_content", lambda path: file_content("memory://none/x.csv"))
        look(table, clock, 1)
    assert (table.failures, years(table, "N1")) == (1, [2001])
    look(table, clock, 1)
    assert years(table, "N1") == [2011]


@pytest.mark.parametrize(("etag", "known"), [('"a1"', '"a1"'), ('W/"a1"', ""), (None, "")])
def test_only_a_strong_etag_tells_of_content(
    etag: str | None, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file("/etags/x.csv", b"a")
    info = type(files).info
    told = {} if etag is None else {"ETag": etag}
    monkeypatch.setattr(type(files), "info", lambda self, path, **other: info(self, path, **other) | told)
    assert open_uri("memory://etags").stamp("x.csv") == (0, 1, known)


def test_a_store_that_does_not_answer_leaves_the_old_table_and_keeps_nobody_waiting(
    bucket: Bucket, clock: Clock
) -> None:
    table = LookupTable(bucket.uri, "tailnum", {"built": "year"}, {"built": "long"}, 10, clock)
    bucket.gone = True
    look(table, clock)
    assert table.failures == 2
    assert years(table, "N1") == [2001]
    bucket.gone = False
    bucket.put("broken")
    look(table, clock)
    assert table.failures > 2
    assert years(table, "N1") == [2001]


def test_what_is_wrong_with_a_uri_is_told_without_its_keys() -> None:
    for uri in (
        "memory://none/planes.csv",
        "s3://key:secret@bucket/x.csv?endpoint_override=127.0.0.1:1&scheme=http",
    ):
        with pytest.raises(LookupFileError) as raised:
            describe_lookup(uri, "tailnum", {"built": "year"})
        assert "secret" not in str(raised.value)
        assert raised.value.part == "file"
