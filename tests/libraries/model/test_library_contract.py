"""Formats by situations: jobs score each row as the model's own library scores it in its maker's DataFrame.

The adversary is our own conversion between a record and what a library takes. What is compared with comes
from the library alone, called on a DataFrame with the dtypes of the fit; where it raises for a row, so does
the model.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry, versions
from flink_jobs.system.jars import PROJECT
from tests.helpers.contract_models import CASES, CODED, KINDS, MODELS, Kind, floats, is_here
from tests.helpers.pages import DOCS, names, table
from tests.helpers.tensor_models import (
    Fitted,
    known_values,
)
from udfs.model.contract import Model
from udfs.model.format_table import FORMATS, Format
from udfs.model.loading import load_version
from udfs.model.manifest import Input, Output, Signature
from udfs.types import ARROW

Rows = tuple[tuple[Any, Any], ...]  # pairs of `a` and `q`
COUNT = 600
# Of a situation: each value of a category several times, and a fourth of them unseen or missing. Where the
# library raises, each row is predicted alone, which is what takes the time.
ROWS = 24
HERE = [case for case in CASES if is_here(MODELS[case[0]][0])]


@cache
def training(kind: Kind, *, missing: bool) -> tuple[pd.DataFrame, Any]:
    """Rows whose label follows `q` and whether it is missing, and a little `a`."""
    rng = np.random.default_rng(3)
    places = rng.integers(0, len(kind.seen), COUNT)
    gone = rng.random(COUNT) < (0.25 if missing else 0)
    a = rng.normal(size=COUNT)
    high = np.where(gone, 1.2, places / len(kind.seen)) + 0.2 * a > 0.6
    q = [None if there else kind.seen[place] for place, there in zip(places, gone, strict=True)]
    return pd.DataFrame({"a": a, "q": kind.series(q)}), high.astype(int)


@cache
def new_rows(kind: Kind, situation: str) -> Rows:
    rng = np.random.default_rng(5)
    count = {"one row": 1, "10,000 rows": 10_000, "all missing": 6}.get(situation, ROWS)
    a = rng.normal(size=count).tolist()
    q: list[Any] = [kind.seen[place] for place in rng.integers(0, len(kind.seen), count)]
    if situation in ("missing", "10,000 rows"):
        q[::3] = [None] * len(q[::3])
    if situation == "unseen":
        q[::4] = [kind.unseen] * len(q[::4])
    if situation == "all missing":
        q = [None] * count
    if situation == "missing in a":
        a[::2] = [None] * len(a[::2])
    return tuple(zip(a, q, strict=True))


SITUATIONS = ("plain", "missing", "all missing", "missing in a", "unseen", "one row", "10,000 rows")


def registered(model: str, kind: Kind, root: Path, *, missing: bool) -> tuple[Model, Fitted]:
    frame, y = training(kind, missing=missing)
    fitted = MODELS[model][1](frame, y)
    return register(model, fitted, kind, frame, root), fitted


def register(model: str, fitted: Fitted, kind: Kind, frame: pd.DataFrame, root: Path) -> Model:
    values = tuple(known_values(frame)) if model in CODED else ()
    signature = Signature(
        inputs=(Input(name="a", type="double"), Input(name="q", type=kind.type, values=values)),
        output=Output(kind="binary", classes=(0, 1)),
    )
    registry, own = Registry(root), frame if fitted.frame is None else fitted.frame
    manifest = registry.write_version(
        "m", model=fitted.model, format=MODELS[model][0], signature=signature, golden_inputs=own.head(100),
        profile={}, metrics={}, training={},
    )  # fmt: skip
    return load_version(registry.folder("m", manifest.version)).model


def library_says(fitted: Fitted, kind: Kind, rows: Rows) -> list[float | None]:
    def say(some: Rows) -> list[float | None]:
        said = np.asarray(fitted.oracle(frame_of(kind, some)), float).tolist()
        return [None if np.isnan(score) else score for score in said]

    return said_of(rows, kind, say)


def said_of(rows: Rows, kind: Kind, say: Callable[[Rows], Sequence[float | None]]) -> list[float | None]:
    """Of all rows at once; where that raises, of those alike, then of each alone; None where that raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return [*say(rows)]
        except Exception:
            if len(rows) == 1:
                return [None]
    alike: dict[object, list[int]] = {}
    for place, (a, q) in enumerate(rows):
        alike.setdefault((a is None, q is None, q == kind.unseen), []).append(place)
    groups = alike.values() if len(alike) > 1 else [[place] for place in range(len(rows))]
    said: dict[int, float | None] = {}
    for places in groups:
        said |= zip(places, said_of(tuple(rows[at] for at in places), kind, say), strict=True)
    return [said[place] for place in range(len(rows))]


def taken(fitted: Fitted, kind: Kind) -> bool:
    """Whether the library takes a missing value at all."""
    return library_says(fitted, kind, ((0.5, None),)) != [None]


def without_neighbours(said: list[float | None], rows: Rows, kind: Kind) -> list[float | None]:
    """XGBoost's documented answer to an unseen category is an error.

    XGBoost 3.2 gives that for numbers and for strings after the last category; for other strings it takes the
    next category in the alphabet. That answer is of another record, so that the row must have none.
    """
    if kind.type == "long":
        assert [s is None for s in said] == [q == kind.unseen for _, q in rows]
    return [None if q == kind.unseen else score for score, (_, q) in zip(said, rows, strict=True)]


@cache
def frame_of(kind: Kind, rows: Rows) -> pd.DataFrame:
    """With the whole dtype of the fit for the only missing value, which has none of its own."""
    a, q = map(list, zip(*rows, strict=True))
    if kind.category and set(q) == {None}:
        known = pd.Index(kind.seen, dtype=object if kind.type == "string" else "int64")
        return pd.DataFrame({"a": floats(a), "q": pd.Series(pd.Categorical(q, categories=known))})
    return pd.DataFrame({"a": floats(a), "q": kind.series(q)})


@cache
def table_of(kind: Kind, rows: Rows) -> pa.Table:
    a, q = map(list, zip(*rows, strict=True))
    return pa.table({"a": pa.array(a, pa.float64()), "q": pa.array(q, ARROW[kind.type])})


def ours(model: Model, kind: Kind, rows: Rows) -> list[float | None]:
    def say(some: Rows) -> list[float]:
        score = model.predict(table_of(kind, some)).score
        assert score is not None
        return [float(value) for value in score]

    return said_of(rows, kind, say)


@pytest.fixture(autouse=True)
def _tried_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """That a version loads in a process of its own, which takes seconds, test_importing shows."""
    monkeypatch.setattr(versions, "check_loads", lambda files: None)


@pytest.mark.parametrize(("model", "kind", "missing"), HERE)
def test_rows_are_scored_as_by_the_library_itself(
    model: str, kind: str, missing: bool, tmp_path: Path
) -> None:
    column = KINDS[kind]
    loaded, fitted = registered(model, column, tmp_path, missing=missing)
    taken_of: dict[str, bool] = {}
    for situation in SITUATIONS:
        if situation == "unseen" and column.unseen is None:
            continue
        rows = new_rows(column, situation)
        if situation == "10,000 rows" and not taken(fitted, column):
            rows = tuple(row for row in rows if row[1] is not None)
        expected, got = library_says(fitted, column, rows), ours(loaded, column, rows)
        if situation == "unseen" and column.category and "xgb" in model.lower():
            expected = without_neighbours(expected, rows, column)
        assert [value is None for value in got] == [value is None for value in expected], situation
        pairs = [(e, g) for e, g in zip(expected, got, strict=True) if e is not None and g is not None]
        np.testing.assert_allclose([g for _, g in pairs], [e for e, _ in pairs], atol=2e-6, err_msg=situation)
        taken_of[situation] = _taken(column, situation, rows, got)
    recorded(model, kind, missing, taken_of)


def _taken(kind: Kind, situation: str, rows: Rows, got: list[float | None]) -> bool:
    """Whether the rows that the situation is about are scored: all of them or none, and each other one."""
    about = {"missing": None, "all missing": None, "unseen": kind.unseen}
    of_it = [g is not None for (_, q), g in zip(rows, got, strict=True) if q == about.get(situation, q)]
    if situation in about:
        assert all(g is not None for (_, q), g in zip(rows, got, strict=True) if q != about[situation])
    if situation == "missing in a":
        of_it = [g is not None for (a, _), g in zip(rows, got, strict=True) if a is None]
    assert len(set(of_it)) == 1, situation
    return of_it[0]


# What was found, by case: the table in docs/models.md is made of it.
FOUND = PROJECT / "tests" / "libraries" / "model" / "library_contract.json"
Outcomes = dict[str, dict[str, str]]


def recorded(model: str, kind: str, missing: bool, taken_of: dict[str, bool]) -> None:
    """Holds an outcome to the one that is on record, or records it."""
    assert taken_of["plain"]
    assert taken_of["one row"]
    assert taken_of["10,000 rows"]
    assert taken_of["missing"] == taken_of["all missing"]
    found: dict[str, str] = {
        s: "scored" if taken_of[s] else "refused" for s in ("missing", "unseen") if s in taken_of
    }
    known: dict[str, Outcomes] = json.loads(FOUND.read_text())
    fit = "missing values in the fit" if missing else "none in the fit"
    if os.environ.get("TAILRACE_UPDATE_GOLDEN"):
        known.setdefault(model, {}).setdefault(f"{kind}, {fit}", {}).update(found)
        FOUND.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    assert known[model][f"{kind}, {fit}"] == found


def test_each_case_is_on_record() -> None:
    """Those of libraries that are not here too: the table is of all formats."""
    fits = {True: "missing values in the fit", False: "none in the fit"}
    on_record = {(model, case) for model, cases in json.loads(FOUND.read_text()).items() for case in cases}
    assert on_record == {(model, f"{kind}, {fits[missing]}") for model, kind, missing in CASES}
    assert {entry[0] for entry in MODELS.values()} == set(FORMATS)


# What no model of a format takes: it is refused when it is registered, with what to do.
NO_TEXTS = "string input q must have values"
REFUSED: dict[tuple[Format, str], tuple[str, str]] = {
    ("lightgbm", "strings"): ("numbers", NO_TEXTS),
    ("xgboost", "strings"): ("numbers", NO_TEXTS),
    ("torch", "strings"): ("numbers", NO_TEXTS),
    ("keras", "strings"): ("numbers", NO_TEXTS),
    ("pyfunc", "categories of ints"): ("ints", "Can not safely convert category to int64"),
    ("pyfunc", "categories of strings"): ("strings", "Can not safely convert category to"),
}


@pytest.mark.parametrize(("kind", "of"), [(kind, name) for name, kind in REFUSED if is_here(name)])
def test_what_a_format_does_not_take_is_refused_when_it_is_registered(
    kind: str, of: Format, tmp_path: Path
) -> None:
    """The model is one of what the format does take."""
    fitted_on, message = REFUSED[of, kind]
    fitted = MODELS[of][1](*training(KINDS[fitted_on], missing=False))
    frame, _ = training(KINDS[kind], missing=False)
    with pytest.raises(InputError, match=message):
        register(of, fitted, KINDS[kind], frame, tmp_path)


MARKS = {frozenset({"scored"}): "✓", frozenset({"refused"}): "✗", frozenset({"scored", "refused"}): "±"}


def cell(of: Format, kind: str) -> str:
    """Of values of the fit, missing ones and unseen ones."""
    if (of, kind) in REFUSED:
        return "not taken"
    known: dict[str, Outcomes] = json.loads(FOUND.read_text())
    cases = [
        outcome
        for model, entry in MODELS.items()
        if entry[0] == of
        for case, outcome in known[model].items()
        if case.rpartition(", ")[0] == kind
    ]
    assert cases, (of, kind)
    marks = ["✓"]
    for situation in ("missing", "unseen"):
        found = frozenset(outcome[situation] for outcome in cases if situation in outcome)
        marks.append(MARKS[found] if found else "–")
    return " ".join(marks)


def test_the_documented_table_is_what_was_found() -> None:
    """A row for each format, a cell for each kind of column: no cell without a test."""
    cells = {name: [cell(name, kind) for kind in KINDS] for name in FORMATS}
    made = "\n".join(f"| `{name}` | {' | '.join(row)} |" for name, row in cells.items())
    documented = table(DOCS["models.md"], "| format |")
    assert [row[1:] for row in documented] == list(cells.values()), f"the rows must be\n{made}"
    assert [names(row[0]) for row in documented] == [[name] for name in FORMATS]
