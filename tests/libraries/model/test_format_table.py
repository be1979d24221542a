"""The two halves of the model formats: workers' and clients'."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest

from flink_jobs.registry.formats import CLIENT_FORMATS, ENDINGS, client_format
from udfs.model.format_table import FORMATS, Format

LIGHT = """
import sys
import udfs.model.formats, udfs.model.format_table, flink_jobs.registry.formats
loaded = {"lightgbm", "xgboost", "catboost", "onnx", "onnxruntime", "torch", "keras"}
loaded |= {"sklearn", "skops", "joblib"}
print(sorted(loaded & sys.modules.keys()))
"""


def test_both_halves_have_the_same_formats() -> None:
    assert set(FORMATS) == set(CLIENT_FORMATS) == set(get_args(Format))


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_has_a_module_in_both_halves(name: Format) -> None:
    assert find_spec(f"udfs.model.formats.{FORMATS[name].module}")
    assert callable(client_format(name).dump)


def test_no_two_formats_share_a_file_or_an_ending() -> None:
    assert len({entry.model_file for entry in FORMATS.values()}) == len(FORMATS)
    assert len(ENDINGS) == sum(len(entry.endings) for entry in CLIENT_FORMATS.values())


@pytest.mark.parametrize("name", FORMATS)
def test_a_model_file_has_an_ending_of_its_format(name: Format) -> None:
    assert ENDINGS[Path(FORMATS[name].model_file).suffix] == name


def test_the_tables_load_no_model_library() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
