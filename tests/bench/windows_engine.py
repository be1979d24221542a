"""CPU time and memory of the windows' engine, by rows per key: python -m tests.bench.windows_engine

Keys come in turn, a row each millisecond; windows are as long as a key has so many rows in them. Time is
taken once the windows are full.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pyarrow as pa

from udfs.types import ColumnType
from udfs.windows.engine import Engine
from udfs.windows.params import AggregateParams, WindowParams

TYPES: dict[str, ColumnType] = {"card": "string", "amount": "double"}
SELECT = {
    "count": AggregateParams("count"),
    "mean": AggregateParams("avg", "amount"),
    "most": AggregateParams("max", "amount"),
}


def batches(
    keys: int, rows: int, size: int
) -> Iterator[tuple[pa.Table, np.ndarray[tuple[int], np.dtype[np.int64]]]]:
    random = np.random.default_rng(1)
    names = np.array([f"card-{i:08}" for i in range(keys)])
    amounts = np.round(random.lognormal(3, 1, rows), 2)
    for start in range(0, rows, size):
        at = np.arange(start, min(start + size, rows))
        key = np.concatenate([random.permutation(keys) for _ in range(len(at) // keys + 2)])
        cards = pa.array(names[key[: len(at)] if size >= keys else at * 7919 % keys])
        yield pa.table({"card": cards, "amount": pa.array(amounts[at])}), at.astype(np.int64)


def full(per_key: int, retained: int) -> Engine:
    """An engine with full windows."""
    keys = max(retained // per_key, 1)
    engine = Engine(["card"], [WindowParams(over_ms=keys * per_key, select=SELECT)], TYPES)
    for rows, times in batches(keys, retained, 10_000):
        engine.add(rows, times)
        engine.forget(int(times[-1]) - 1)
    return engine


def held(per_key: int, retained: int) -> float:
    """Bytes per row that is kept, of its key too."""
    tracemalloc.start()
    engine = full(per_key, retained)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    return size / len(engine)


def measure(per_key: int, retained: int, size: int) -> float:
    """Nanoseconds of CPU per row."""
    keys = max(retained // per_key, 1)
    measured = max(400_000, retained) if size > 1_000 else 50_000
    engine = full(per_key, retained)
    spent, done = 0.0, 0
    for rows, times in batches(keys, measured, size):
        times += retained
        start = time.process_time()
        engine.add(rows, times)
        engine.forget(int(times[-1]) - 1)
        spent += time.process_time() - start
        done += len(times)
    return spent / done * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--retained", type=int, default=200_000, help="rows in all windows together")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 50])
    parser.add_argument("--per-key", type=int, nargs="*", default=[1, 10, 100, 1_000, 10_000])
    options = parser.parse_args()
    print(f"{'batch':>8}{'rows/key':>10}{'ns/row':>10}{'bytes/row':>11}")
    for size in options.sizes:
        for per_key in options.per_key:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                spent = fresh.submit(measure, per_key, options.retained, size).result()
                kept = fresh.submit(held, per_key, options.retained).result()
            print(f"{size:>8}{per_key:>10}{spent:>10.0f}{kept:>11.0f}", flush=True)


if __name__ == "__main__":
    main()
