"""The process of a shadow: reads rows from its input, and writes what the version says of them.

python -m udfs.scoring.shadow_server PARENT_PID       # started by udfs.scoring.shadow
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from typing import IO

import msgspec
import pyarrow as pa

from udfs.errors import ModelError
from udfs.isolate import isolate
from udfs.model.explain.column import Explaining
from udfs.model.loading import load_version
from udfs.scoring.shadow import ShadowParams, read_frame, to_ipc, write_frame
from udfs.scoring.version import Version, score_columns

NICENESS = 5


def main() -> None:
    """Serves until the pipe is closed or the parent is gone."""
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    os.nice(NICENESS)
    questions, answers = sys.stdin.buffer, _own_output()
    params = msgspec.msgpack.Decoder(ShadowParams).decode(read_frame(questions))
    try:
        loaded = load_version(params.folder, digest=params.digest, trust=params.trust)
        explaining = Explaining(loaded.model, params.explain, Counter()) if params.explain else None
        version = Version(
            loaded, params.inputs, params.threshold, explaining=explaining, private=params.private
        )
    except ModelError as error:
        write_frame(answers, str(error).encode() or b"it cannot be loaded")
        return
    write_frame(answers, b"")
    try:
        while True:
            featured = pa.ipc.open_stream(read_frame(questions)).read_all()
            write_frame(answers, to_ipc(score(version, featured)))
    except (EOFError, BrokenPipeError):
        return


def score(version: Version, featured: pa.Table) -> pa.Table:
    """The version's score columns for n rows and `error`, null where there is none, and its time in ns.

    Of a regression also how far off it was of such records in training, if that is known.
    """
    manifest = version.loaded.manifest
    started = time.perf_counter_ns()

    def columns_of(part: pa.Table) -> dict[str, pa.Array]:
        inputs = version.inputs_of(part)
        scored = version.predict(inputs)
        if version.explaining:
            version.explaining(inputs, scored)
        columns = score_columns(scored, manifest)
        return columns | version.usual(inputs, columns)

    spans, failures = isolate(columns_of, featured)
    took = time.perf_counter_ns() - started
    pieces = {start: (stop, pa.table(columns)) for start, stop, columns in spans}
    tables = []
    for start in sorted([*pieces, *failures]):
        if start in failures:
            tables.append(pa.table({"error": [version.said(failures[start])]}))
        else:
            stop, table = pieces[start]
            tables.append(table.append_column("error", pa.nulls(stop - start, pa.string())))
    tables = tables or [pa.table({"error": pa.nulls(0, pa.string())})]
    joined = pa.concat_tables(tables, promote_options="default")
    return joined.replace_schema_metadata({"took_ns": str(took)})


def _own_output() -> IO[bytes]:
    """The answers' pipe; what a model prints must not get into it."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(0)


if __name__ == "__main__":
    main()
