"""Model files that end the process that parses them: the champion goes on, and a person gets a message."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Releases
from tests.helpers.following import INPUTS, add, later
from udfs.errors import ModelError
from udfs.model.manifest import Input, Output, Signature
from udfs.model.trial import check_survives

WORKER = """
import sys
from pathlib import Path
from tests.helpers.following import batch, scorer, versions
with scorer(Path(sys.argv[1])) as made:
    print(versions(made.score(batch([1.0, 2.0]))))
"""
# Exit codes of LightGBM 4 itself, for each damage: see `test_the_library_itself_does_not_survive`.
DAMAGE: dict[str, Callable[[str], str]] = {
    "cut off": lambda text: text[: len(text) // 2],
    "children that are not there": lambda text: re.sub("left_child=.*", "left_child=1000000 99999999", text),
}


def damaged(root: Path, damage: str) -> Path:
    """Version 2, whose manifest is that of the damaged file, as by a maker whose disk was bad."""
    add(root)
    rows = np.repeat(INPUTS["amount"].to_numpy(), 40).reshape(-1, 1)
    options = {"objective": "binary", "verbose": -1, "num_leaves": 4, "num_threads": 1}
    booster = lightgbm.train(options, lightgbm.Dataset(rows, rows[:, 0] > 3), 3)
    registry = Registry(root)
    registry.write_version(
        "fraud",
        model=booster,
        format="lightgbm",
        signature=Signature(
            inputs=(Input(name="amount", type="double"),),
            output=Output(kind="binary", classes=(False, True)),
        ),
        golden_inputs=pa.table({"amount": [1.0, 5.0]}),
        profile={},
        metrics={},
        training={},
    )
    folder = registry.folder("fraud", 2)
    data = DAMAGE[damage]((folder / "model.txt").read_text()).encode()
    for name in ("model.txt", "manifest.json"):
        (folder / name).chmod(0o644)
    (folder / "model.txt").write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["model.txt"] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_library_itself_does_not_survive(tmp_path: Path, damage: str) -> None:
    load = "import sys, lightgbm; lightgbm.Booster(model_file=sys.argv[1])"
    folder = damaged(tmp_path, damage)
    done = subprocess.run([sys.executable, "-c", load, str(folder / "model.txt")], capture_output=True)
    assert done.returncode < 0, "this file does no harm: the tests below would prove nothing"


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_champion_goes_on(tmp_path: Path, damage: str) -> None:
    damaged(tmp_path, damage)
    Releases(Registry(tmp_path), "fraud").promote(2, later(-60))
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "[1, 1]"
    assert re.search(r"version_refused.*its process is ended by SIG(ABRT|SEGV)", done.stdout)


def test_commands_say_so_and_live(tmp_path: Path) -> None:
    damaged(tmp_path, "cut off")
    where = ["--registry", str(tmp_path)]
    done = CliRunner().invoke(app, ["release", "promote", "fraud", "2", *where])
    assert isinstance(done.exception, InputError)
    assert "its process is ended by SIG" in str(done.exception)
    done = CliRunner().invoke(app, ["models", "verify", "fraud", "2", *where, "--json"])
    assert done.exit_code == 1
    golden = json.loads(done.stdout)[-1]
    assert (golden["check"], golden["passed"]) == ("golden rows", False)
    assert "its process is ended by SIG" in golden["detail"]


def test_a_refusal_comes_through_and_a_good_version_passes(tmp_path: Path) -> None:
    folder = damaged(tmp_path, "cut off")
    with pytest.raises(ModelError, match="must have the digest sha256:00"):
        check_survives(str(folder), digest="sha256:00")
    with pytest.raises(ModelError, match=r"does not load within 0\.001 s"):
        check_survives(str(folder), seconds=0.001)
