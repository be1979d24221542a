"""`flink_jobs` exports these names, lazily, and the stub gives type checkers the same ones."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import flink_jobs

NAMES = [
    "Diagnostic",
    "EveryNthDay",
    "Input",
    "InputError",
    "JobFailedError",
    "JobFileError",
    "JobHarness",
    "JobSpec",
    "LastShare",
    "Manifest",
    "ModelError",
    "Output",
    "Parameters",
    "Plan",
    "Registry",
    "Replay",
    "Signature",
    "StoreError",
    "Suggest",
    "TailraceError",
    "Trainer",
    "WorkError",
    "broker",
    "load_job",
    "load_job_text",
    "make_plan",
    "read_records",
    "record",
    "reference_profile",
]
HEAVY = ("numpy", "pandas", "pyarrow", "pydantic", "sklearn", "msgspec", "typer", "pyflink", "udfs")


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(run.stdout))


def test_the_names() -> None:
    assert sorted(NAMES) == sorted(flink_jobs.__all__)
    assert set(NAMES) <= set(dir(flink_jobs))


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_its_modules(name: str) -> None:
    module = importlib.import_module(flink_jobs._MODULES[name])
    assert getattr(flink_jobs, name) is getattr(module, name)


def test_the_stub_says_the_same() -> None:
    tree = ast.parse(Path(flink_jobs.__file__).with_suffix(".pyi").read_text("utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == flink_jobs._MODULES


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Regsitry'"):
        _ = getattr(flink_jobs, "Regsitry")  # noqa: B009 (a type checker would refuse the attribute)


def test_importing_the_package_loads_nothing_heavy() -> None:
    before, after = loaded_after("pass"), loaded_after("import flink_jobs")
    assert not (after - before) & set(HEAVY)
    assert {name for name in after if name.startswith("flink_jobs")} == {"flink_jobs"}
