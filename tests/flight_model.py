"""The demo's model and lookup table, made once for a test session.

from tests.flight_model import flight_files     # a pytest fixture
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from flink_jobs import demo
from flink_jobs.registry import Registry


@dataclass(frozen=True)
class FlightFiles:
    """`models` is a registry with the trained champion; `tables` holds planes.parquet."""

    models: Path
    tables: Path

    def environ(self, brokers: str) -> dict[str, str]:
        return {"TAILRACE_BROKERS": brokers, "TAILRACE_DEMO": str(self.tables)}


@pytest.fixture(scope="session")
def flight_files(tmp_path_factory: pytest.TempPathFactory) -> FlightFiles:
    root = tmp_path_factory.mktemp("flights")
    demo.write_planes(root / "tables")
    demo.ready_model(Registry(root / "models"))
    return FlightFiles(root / "models", root / "tables")
