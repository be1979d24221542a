"""Decimals and bytes of records in expressions: only by a cast, and told so.

The adversary is a person who calculates with money as if it were a double.
"""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from flink_jobs.plan.expressions import ExpressionError, compile_expression
from udfs.features.expressions import evaluate
from udfs.types import ColumnType

COLUMNS: dict[str, ColumnType] = {"amount": "decimal", "body": "bytes", "n": "long"}
TEXTS = ["0.10", "-12.50", None, "99999999999999999999999999.99"]


def test_a_cast_is_the_nearest_double_or_the_digits() -> None:
    table = pa.table({"amount": pa.array(TEXTS, pa.string())})
    double = evaluate(compile_expression("CAST(amount AS DOUBLE)", COLUMNS).tree, table, 4)
    assert double.to_pylist() == [None if text is None else float(Decimal(text)) for text in TEXTS]
    assert evaluate(compile_expression("CAST(amount AS STRING)", COLUMNS).tree, table, 4).to_pylist() == TEXTS
    absent = evaluate(compile_expression("amount IS NULL", COLUMNS).tree, table, 4)
    assert absent.to_pylist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("amount > 10", "CAST(amount AS DOUBLE)"),
        ("amount + n", "CAST(amount AS DOUBLE)"),
        ("UPPER(body)", "CAST(body AS STRING)"),
        ("COALESCE(amount, '0')", "CAST(amount AS DOUBLE)"),
    ],
)
def test_whoever_calculates_without_a_cast_is_told_which(text: str, meant: str) -> None:
    with pytest.raises(ExpressionError) as found:
        compile_expression(text, COLUMNS)
    assert found.value.suggestion == meant
