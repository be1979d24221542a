"""Writes the column `explanation` of predictions: the largest contributions of each row, as JSON.

One reads `{"base":-1.4,"contributions":{"dep_delay":2.1,"hour":-0.2},"rest":0.05}`.

What goes wrong here never touches the prediction: its explanation is null, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from udfs.model.contract import Model, Scored
from udfs.model.explain import explainer
from udfs.model.explain.base import Contributions, Explainer
from udfs.records.encode import RawJson, json_values

EXPLANATION = "explanation"
FAILURES = "explain_failures"
log = structlog.get_logger(__name__)


class Explaining:
    """Explains what one model scored; `counts` gets the predictions that go out without an explanation.

    The `hidden` inputs, personal data, are never named: what they contribute is part of the rest.
    """

    def __init__(
        self, model: Model | None, top: int, counts: Counter[str], hidden: frozenset[str] = frozenset()
    ) -> None:
        self._counts, self._top, self._hidden = counts, top if model else 0, hidden
        self._told = False
        self._explain = self._explainer(model) if model and top else None

    def __call__(self, inputs: pa.Table, scored: Scored) -> dict[str, RawJson]:
        """The column by its name, or nothing when no explanations are wanted. Never raises."""
        return {EXPLANATION: self._column(inputs, scored)} if self._top else {}

    def nothing(self, rows: int) -> dict[str, RawJson]:
        """The same for rows that are not to be explained."""
        self._counts[FAILURES] += rows
        return {EXPLANATION: RawJson(pa.nulls(rows, pa.string()))} if self._top else {}

    def _explainer(self, model: Model) -> Explainer | None:
        try:
            return explainer(model)
        except Exception as error:
            self._failed(error)
            return None

    def _column(self, inputs: pa.Table, scored: Scored) -> RawJson:
        column = pa.nulls(inputs.num_rows, pa.string())
        if self._explain and inputs.num_rows:
            try:
                found = self._explain(inputs, scored)
                column = largest(found, inputs.column_names, self._top, self._hidden)
            except Exception as error:
                self._failed(error)
        self._counts[FAILURES] += column.null_count
        return RawJson(column)

    def _failed(self, error: Exception) -> None:
        """Says the first time why; later ones are only counted."""
        if not self._told:
            log.warning("explanation_failed", error=type(error).__name__)
            self._told = True


def largest(
    found: Contributions, names: Sequence[str], top: int, hidden: frozenset[str] = frozenset()
) -> pa.Array:
    """(n,) JSON text: the base, the `top` contributions farthest from 0 in order, and the sum of the others.

    Null where a contribution is not finite. Contributions of `hidden` inputs are in the rest.
    """
    values, shown_names = found.values, [name not in hidden for name in names]
    count = min(top, sum(shown_names))
    ranked = np.where(shown_names, -np.abs(values), np.inf)
    chosen = np.argsort(ranked, axis=1, kind="stable")[:, :count]
    rest = values.copy()
    np.put_along_axis(rest, chosen, 0.0, axis=1)
    labels = json_values(pa.array(names, pa.string()))
    pieces: list[object] = ['{"base":', json_values(pa.array(found.base)), ',"contributions":{']
    for k in range(count):
        shown = np.take_along_axis(values, chosen[:, k : k + 1], axis=1).ravel()
        pieces += ["," if k else "", labels.take(pa.array(chosen[:, k])), ":", json_values(pa.array(shown))]
    pieces += ['},"rest":', json_values(pa.array(rest.sum(axis=1))), "}"]
    # A number that is not finite is null, and with it the whole.
    return pc.binary_join_element_wise(*pieces, "", null_handling="emit_null")
