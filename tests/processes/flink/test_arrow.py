"""What PyFlink's own coder, of the version that is installed, makes of UDFs' arguments and results."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

# Forks a process for each program that is named: what is handed over there stays so, and imports take long.
PROGRAM = textwrap.dedent(
    """
    import io, os, sys
    import numpy as np, pyarrow as pa
    from pyflink.fn_execution.beam.beam_coders import FlinkCoder
    from pyflink.fn_execution.coders import ArrowCoder, LengthPrefixBaseCoder
    from pyflink.table import DataTypes as T
    from udfs.flink.arrow import hand_over_arrow

    def coder(types):
        schema = LengthPrefixBaseCoder._to_arrow_schema(types)
        return FlinkCoder(ArrowCoder(schema, types, None)).get_impl(), schema

    def written(batch):
        stream = io.BytesIO()
        with pa.RecordBatchStreamWriter(stream, batch.schema) as writer:
            writer.write_batch(batch)
        return stream.getvalue()

    for program in sys.argv[1:]:
        print("----", flush=True)
        if child := os.fork():
            assert os.waitpid(child, 0)[1] == 0
        else:
            exec(program)
            break
    """
)


TAKEN = """
    hand_over_arrow()
    fields = [("v", T.BYTES()), ("t", T.TIMESTAMP(3)), ("n", T.BIGINT())]
    taken, schema = coder(T.ROW([T.FIELD(name, kind) for name, kind in fields]))
    values = [[b"a", None], [1, None], [2**53 + 1, None]]
    arrays = [pa.array(some, field.type) for some, field in zip(values, schema)]
    sent = pa.RecordBatch.from_arrays(arrays, schema=schema)
    for again in range(2):
        columns = taken.decode(written(sent))
        assert [type(column) for column in columns] == [pa.BinaryArray, pa.TimestampArray, pa.Int64Array]
        assert pa.RecordBatch.from_arrays(columns, schema=schema).equals(sent)
    print("equal")
"""
GIVEN = """
    hand_over_arrow()
    fields = [("_kind", T.TINYINT()), ("_text", T.STRING()), ("_shards", T.MAP(T.INT(), T.BYTES()))]
    row = T.ROW([T.FIELD(name, kind) for name, kind in fields])
    giving, schema = coder(T.ROW([T.FIELD("r", row)]))
    text = np.array(["a", None], dtype=object)
    shards = np.array([[(3, b"x"), (5, b"y")], None], dtype=object)
    result = {"_shards": shards, "_text": text, "_kind": np.array([1, 2], np.int8)}
    for again in range(2):
        (column,) = pa.ipc.open_stream(giving.encode([result])).read_next_batch().columns
        print(column.to_pylist())
"""
WITHOUT = """
    from pyflink.fn_execution.coders import coder_impl
    del coder_impl.NAME
    try:
        hand_over_arrow()
    except RuntimeError as error:
        print(error)
"""
LACKING = ("arrow_to_pandas", "pandas_to_arrow")


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What each program prints: the arguments', the mapping's, and those that lack a function each."""
    programs = [TAKEN, GIVEN, *(WITHOUT.replace("NAME", name) for name in LACKING)]
    command = [sys.executable, "-c", PROGRAM, *map(textwrap.dedent, programs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, *parts = done.stdout.split("----\n")
    return parts


def test_arguments_are_the_arrays_that_flink_sent(said: list[str]) -> None:
    assert said[0] == "equal\n"


def test_a_mapping_becomes_the_row_that_flink_reads(said: list[str]) -> None:
    row = [
        {"_kind": 1, "_text": "a", "_shards": [(3, b"x"), (5, b"y")]},
        {"_kind": 2, "_text": None, "_shards": None},
    ]
    assert said[1] == f"{row}\n" * 2


@pytest.mark.parametrize("name", LACKING)
def test_another_version_of_pyflink_is_refused_in_words(said: list[str], name: str) -> None:
    assert name in said[2 + LACKING.index(name)]
