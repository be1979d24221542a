"""CatBoost and Keras by the suites of all formats, in the environment that has these libraries."""

from __future__ import annotations

import re
import subprocess

from flink_jobs.system.jars import PROJECT

PYTHON = PROJECT / ".venv-formats" / "bin" / "python"
SUITES = (
    "tests/libraries/model/test_library_contract.py",
    "tests/libraries/model/test_model_formats.py",
    "tests/libraries/model/test_explain.py",
    "tests/libraries/registry/test_importing.py",
    "tests/libraries/registry/test_tensors_say.py",
)


def test_the_suites_hold_for_catboost_and_keras() -> None:
    """The adversary is a library's own way with categories and missing values: none is skipped here."""
    assert PYTHON.exists(), "the libraries are not there: run scripts/formats_env"
    command = [
        str(PYTHON),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *SUITES,
        "-k",
        "catboost or keras",
    ]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-5000:]
    passed = re.search(r"^(\d+) passed, \d+ deselected", done.stdout, re.MULTILINE)
    assert passed is not None, done.stdout[-500:]
    assert "skipped" not in done.stdout
    assert int(passed[1]) >= 64
