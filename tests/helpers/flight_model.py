"""The demo's model and lookup table, made once for a test session, however many processes run it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from flink_jobs.demo import batch as demo
from flink_jobs.demo import flights
from flink_jobs.demo.common import write_planes
from flink_jobs.registry import Registry
from flink_jobs.spec import JobSpec
from flink_jobs.training.data import Computed, Note
from udfs.model.manifest import Manifest


@dataclass(frozen=True)
class FlightFiles:
    """`models` is a registry with the trained champion; `tables` holds planes.parquet."""

    models: Path
    tables: Path

    def environ(self, brokers: str) -> dict[str, str]:
        return {"TAILRACE_BROKERS": brokers, "TAILRACE_DEMO": str(self.tables)}


def offline_features(job: JobSpec, records: pa.Table, columns: Sequence[str], note: Note) -> Computed:
    """What the job computes, without Flink; tests/kafka/test_flights.py shows that it is the same."""
    departures = records.to_pandas()
    times = pd.to_datetime(departures["departed_at"]).dt.tz_localize(None).to_numpy("datetime64[ms]")
    table = flights.offline_features(departures).select(list(columns))
    return Computed(table, np.arange(len(departures)), times)


@pytest.fixture(scope="session")
def flight_files(tmp_path_factory: pytest.TempPathFactory) -> FlightFiles:
    root = session_folder(tmp_path_factory) / "flights"
    with only_one(root.with_suffix(".lock")):
        write_planes(root / "tables")
        # What the windows are worth, which takes a second fit, is nothing that a test looks at.
        trainer = replace(demo.demo_trainer(), ablations={})
        demo.ready_model(Registry(root / "models"), offline_features, root / "tables", trainer=trainer)
    return FlightFiles(root / "models", root / "tables")


def session_folder(factory: pytest.TempPathFactory) -> Path:
    """The folder of the whole session; with pytest-xdist each of its processes has one of its own below."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Waits until no other process is in here."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def add_version(registry: Registry) -> Manifest:
    """A next version of the trained one's signature, which has learned little; it is not released."""
    trained = registry.manifest("flight_delay", 1)
    folder = Path(registry.folder("flight_delay", 1))
    golden = pq.read_table(folder / "golden.parquet").select(trained.signature.names)
    rows = golden.to_pandas()
    texts = [item.name for item in trained.signature.inputs if item.type == "string"]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    codes = make_column_transformer((encoder, texts), remainder="passthrough")
    model = make_pipeline(codes, HistGradientBoostingClassifier(max_iter=10, random_state=1))
    model.fit(rows, rows["dep_delay"] > 10)
    return registry.write_version(
        "flight_delay",
        model=model,
        signature=trained.signature,
        golden_inputs=golden,
        profile={},
        metrics={},
        training={},
    )
