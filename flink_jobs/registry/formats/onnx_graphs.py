"""Converts models to ONNX graphs with skl2onnx and onnxmltools; others check the graphs' predictions."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from flink_jobs.errors import InputError
from flink_jobs.registry.formats.onnx_edit import edited
from udfs.errors import ModelError
from udfs.model.manifest import Signature

# What onnxruntime and skl2onnx support both.
OPSETS = {"": 21, "ai.onnx.ml": 3}
# The newest that onnxmltools knows.
_BOOSTER_OPSET = 15


def of_sklearn(estimator: Any, signature: Signature, *, bits: int) -> bytes:
    """By columns where a step chooses them or some are strings, else of a matrix; numbers have `bits`."""
    to_onnx = _library("skl2onnx").to_onnx
    if find_spec("onnxmltools"):
        _register_boosters()
    options = {"zipmap": False} if signature.output.classes else None
    types = _types(estimator, signature, bits)
    made = {"initial_types": types, "options": options, "target_opset": OPSETS}
    return edited(
        _graph("skl2onnx", to_onnx, getattr(estimator, "best_estimator_", estimator), **made),
        inputs=[name for name, _ in types],
        offset=_offset(estimator) if signature.output.kind == "anomaly" else 0.0,
    )


def of_lightgbm(booster: Any, signature: Signature) -> bytes:
    """With 32-bit floats: onnxmltools writes thresholds of 32 bits, so that 64-bit inputs would not help."""
    tools = _library("onnxmltools")
    types = _matrix(signature, 32, tools.convert.common.data_types)
    made = {"initial_types": types, "target_opset": _BOOSTER_OPSET, "name": "model", "zipmap": False}
    return _graph("onnxmltools", tools.convert_lightgbm, booster, **made)


def of_xgboost(booster: Any, signature: Signature) -> bytes:
    """Up to the best iteration, as predictions are made; columns by number, as onnxmltools wants them."""
    tools = _library("onnxmltools")
    types = _matrix(signature, 32, tools.convert.common.data_types)
    best = booster.attr("best_iteration")
    plain = booster[: int(best) + 1] if best else booster.copy()
    plain.feature_names = None
    plain.set_attr(best_iteration=None)
    made = {"initial_types": types, "target_opset": _BOOSTER_OPSET, "name": "model"}
    return _graph("onnxmltools", tools.convert_xgboost, plain, **made)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"exporting needs {name}: pip install 'tailrace[export]' ({error})") from None


def _graph(library: str, convert: Callable[..., Any], model: Any, **options: Any) -> bytes:
    """The graph; what the converter warns of is for its own makers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bytes(convert(model, **options).SerializeToString())
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{library} has no way: {reason}") from error


def _types(estimator: Any, signature: Signature, bits: int) -> list[tuple[str, Any]]:
    """One input per column where they are told apart, else one matrix: few converters take more."""
    # Start-up: optional and slow to load.
    from skl2onnx.common import data_types as types  # noqa: PLC0415

    floats = types.FloatTensorType if bits == 32 else types.DoubleTensorType
    if not (_chooses_columns(estimator) or any(i.type == "string" for i in signature.inputs)):
        return _matrix(signature, bits, types)
    return [
        (item.name, types.StringTensorType([None, 1]) if item.type == "string" else floats([None, 1]))
        for item in signature.inputs
    ]


def _chooses_columns(estimator: Any) -> bool:
    return any(isinstance(part, ColumnTransformer) for part in (estimator, *estimator.get_params().values()))


def _offset(estimator: Any) -> float:
    """What a graph's scores lack: they are of decision_function, ours of score_samples."""
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    return float(np.ravel(getattr(last, "offset_", 0.0))[0])


def _matrix(signature: Signature, bits: int, types: Any) -> list[tuple[str, Any]]:
    floats = types.FloatTensorType if bits == 32 else types.DoubleTensorType
    return [("inputs", floats([None, len(signature.inputs)]))]


def _register_boosters() -> None:
    """Pipelines may end in a LightGBM or XGBoost estimator; skl2onnx does not know these by itself."""
    # Start-up: optional and slow to load, as all libraries here.
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm  # noqa: PLC0415
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost  # noqa: PLC0415
    from skl2onnx import update_registered_converter  # noqa: PLC0415
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes as of_classifier  # noqa: PLC0415
    from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes as of_regressor  # noqa: PLC0415

    zipmap = {"zipmap": [True, False, "columns"], "nocl": [True, False]}
    if find_spec("lightgbm"):
        from lightgbm import LGBMClassifier, LGBMRegressor  # noqa: PLC0415

        update_registered_converter(
            LGBMClassifier, "LgbmClassifier", of_classifier, convert_lightgbm, options=zipmap
        )
        update_registered_converter(
            LGBMRegressor, "LgbmRegressor", of_regressor, convert_lightgbm, options={"split": None}
        )
    if find_spec("xgboost"):
        from xgboost import XGBClassifier, XGBRegressor  # noqa: PLC0415

        update_registered_converter(
            XGBClassifier, "XGBClassifier", of_classifier, convert_xgboost, options=zipmap
        )
        update_registered_converter(XGBRegressor, "XGBRegressor", of_regressor, convert_xgboost)
