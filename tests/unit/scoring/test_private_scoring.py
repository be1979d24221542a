"""What a scorer writes of personal data: nothing but what its label allows, also when the model raises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tests.helpers import models
from udfs.features import FeatureParams
from udfs.model.explain.base import Contributions
from udfs.model.explain.column import largest
from udfs.model.loading import load_version
from udfs.model.manifest import digest, read_manifest
from udfs.records.contract import Contract, Field
from udfs.records.envelope import key_id
from udfs.records.personal import (
    EncryptionKey,
    PrivacyParams,
    Treatment,
    about_record,
    open_record,
    open_value,
)
from udfs.scoring.outcomes import DEAD, LATE, PREDICTED
from udfs.scoring.params import ModelParams, OutputParams, ScoreParams, SourceParams
from udfs.scoring.scorer import Batch, Scorer
from udfs.scoring.sealing import Sealing
from udfs.scoring.shadow_server import score
from udfs.scoring.version import Inputs, Version

ANN = "ann.smith@example.com"
KEY = bytes(range(32))
CONTRACT = Contract((Field("email", "string", required=True), Field("amount", "double", required=True)))
INPUTS: Inputs = (("amount", "amount", "double"), ("email", "email", "string"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows two addresses, and whose error for others quotes them."""
    rows = pa.table({"amount": [1.0, 2.0, 3.0], "email": ["a", "b", "a"]})
    encode = make_column_transformer((OneHotEncoder(), ["email"]), remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression())
    return models.write(tmp_path_factory.mktemp("models"), "m", model, rows, ["no", "yes", "no"], "binary")


def said(folder: Path, privacy: PrivacyParams, *emails: str, include: tuple[str, ...] = ()) -> list[Any]:
    """The prediction or the problem of each record."""
    model = ModelParams(str(folder), digest(read_manifest(folder)), 1, INPUTS)
    source = SourceParams("orders", CONTRACT, privacy=privacy)
    params = ScoreParams(source, FeatureParams(), model, OutputParams(include))
    rows = len(emails)
    raws: list[bytes | None] = [json.dumps({"email": email, "amount": 1.0}).encode() for email in emails]
    times = np.full(rows, 1_767_268_800_000)
    batch = Batch(raws, times, np.zeros(rows, np.bool_), np.zeros(rows, np.int64), np.arange(rows), times)
    outcomes = Scorer(params).score(batch)
    return [
        json.loads(outcomes.prediction[row] or outcomes.problem[row]) | {"kind": int(outcomes.kind[row])}
        for row in range(rows)
    ]


def test_the_error_of_a_model_that_reads_personal_data_is_told_without_its_text(folder: Path) -> None:
    (loud,) = said(folder, PrivacyParams(), ANN)
    assert ANN in loud["message"], "the attack: this model's error quotes what it was given"
    (quiet,) = said(folder, PrivacyParams({"email": "hash"}), ANN)
    assert quiet["message"] == "ValueError"
    assert quiet["kind"] == DEAD


def test_a_shadow_does_not_quote_it_either(folder: Path) -> None:
    """Its texts go to the log, the alerts and the webhook."""
    rows = pa.table({"email": [ANN], "amount": [1.0]})
    for private, quotes in ((False, True), (True, False)):
        version = Version(load_version(str(folder)), INPUTS, 0.5, private=private)
        (error,) = score(version, rows).column("error").to_pylist()
        assert (ANN in error) == quotes


@pytest.mark.parametrize("treatment", ["hash", "encrypt", "mask", "drop"])
def test_included_columns_are_treated_by_their_label(folder: Path, treatment: Treatment) -> None:
    privacy = PrivacyParams({"email": treatment}, hash_key=b"k" * 16, encryption=EncryptionKey(KEY.hex()))
    first, again, other = said(folder, privacy, "a", "a", "b", include=("email",))
    assert first["kind"] == PREDICTED
    match treatment:
        case "hash":
            assert first["email"] == again["email"] != other["email"]
        case "encrypt":
            assert first["email"] != again["email"]
            assert open_value(first["email"], {key_id(KEY): KEY}, "email") == "a"
        case _:
            assert {row["email"] for row in (first, again, other)} == {"***" if treatment == "mask" else None}


def test_explanations_do_not_name_inputs_with_personal_data() -> None:
    """What an age, a postcode or an income contributed tells what it was."""
    found = Contributions(np.array([0.0]), np.array([[5.0, 1.0, -2.0]]))
    (text,) = largest(found, ["age", "amount", "hour"], 3, frozenset({"age"})).to_pylist()
    assert json.loads(text) == {"base": 0.0, "contributions": {"hour": -2.0, "amount": 1.0}, "rest": 5.0}


def test_records_that_leave_whole_are_sealed_with_key_and_headers() -> None:
    privacy = PrivacyParams(
        {"email": "drop"}, dead="encrypt", late="drop", encryption=EncryptionKey(KEY.hex())
    )
    sealing = Sealing(privacy, "orders")
    raws, keys = [ANN.encode()] * 3, [ANN.encode(), None, ANN.encode()]
    names, values = [["h"], None, ["h"]], [[ANN.encode()], None, [ANN.encode()]]
    kinds = np.array([DEAD, PREDICTED, LATE], dtype=np.int8)
    record = [pa.array(column) for column in (raws, keys, names, values, [0, 0, 0], [7, 8, 9])]
    sealed = sealing.sealed(kinds, record)
    assert [each is None for each in sealed] == [False, True, True]
    assert ANN.encode() not in sealed[0]
    opened = open_record(sealed[0], {key_id(KEY): KEY}, about_record("orders", 0, 7))
    assert (opened.key, opened.value, opened.headers) == (keys[0], raws[0], [("h", ANN.encode())])
    row = {"_key": keys[0], "_value": raws[0], "_headers": None, "_partition": None, "_offset": None}
    made = sealing.row(DEAD, row)
    assert made["_key"] is None
    assert (
        open_record(made["_value"], {key_id(KEY): KEY}, about_record("orders", None, None)).value == raws[0]
    )
