"""What a model file tells of its own inputs and output.

facts = read_facts("lightgbm", data)
facts.names, facts.output          # ["a", "b"], Output(kind="binary", classes=(0, 1))
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from typing import Any

from flink_jobs.errors import InputError
from udfs.errors import ModelError
from udfs.model.manifest import Format, Output


@dataclass(frozen=True)
class Facts:
    """`names` and `output` are None where the file does not tell; `categories` are those of string inputs."""

    names: tuple[str, ...] | None = None
    output: Output | None = None
    categories: tuple[tuple[str, ...], ...] = ()


def read_facts(kind: Format, data: bytes, trusted_types: tuple[str, ...] = ()) -> Facts:
    """Load the model as its library does. A joblib file is unpickled, which runs code of its maker.

    Raises `InputError` when it cannot be loaded.
    """
    try:
        return _READERS[kind](data, trusted_types) if kind in _READERS else Facts()
    except ModelError as error:
        raise InputError(f"{error}; --trust-type NAME trusts one") from error
    except ImportError as error:
        raise InputError(f"the {kind} model needs a library that is not installed: {error}") from error
    except Exception as error:
        raise InputError(f"the {kind} model cannot be loaded: {type(error).__name__}: {error}") from error


def _joblib(data: bytes, _: tuple[str, ...]) -> Facts:
    import joblib

    return _estimator(joblib.load(io.BytesIO(data)))


def _skops(data: bytes, trusted: tuple[str, ...]) -> Facts:
    from skops import io as skops

    from udfs.model.formats.sklearn_skops import SAFE_TYPES, check_types

    check_types(data, trusted)
    return _estimator(skops.loads(data, trusted=[*SAFE_TYPES, *trusted]))


def _estimator(estimator: Any) -> Facts:
    from sklearn.base import is_classifier, is_outlier_detector, is_regressor

    fitted = getattr(estimator, "feature_names_in_", None)
    names = None if fitted is None else tuple(map(str, fitted))
    if is_outlier_detector(estimator):
        return Facts(names, Output(kind="anomaly"))
    if is_classifier(estimator):
        return Facts(names, _classes(estimator.classes_.tolist()))
    if is_regressor(estimator):
        return Facts(names, Output(kind="regression"))
    return Facts(names)


def _classes(classes: list[Any]) -> Output:
    return Output(kind="binary" if len(classes) == 2 else "multiclass", classes=tuple(classes))


def _numbered(count: int) -> Output:
    return _classes(list(range(count)))


def _lightgbm(data: bytes, _: tuple[str, ...]) -> Facts:
    import lightgbm

    text = data.decode()
    booster = lightgbm.Booster(model_str=text)
    found = re.search(r"^objective=(\S+)", text, re.MULTILINE)
    objective = found.group(1) if found else ""
    output = Output(kind="regression")
    if objective in ("binary", "cross_entropy"):
        output = _numbered(2)
    elif objective in ("multiclass", "multiclassova"):
        output = _numbered(booster.num_model_per_iteration())
    names = booster.feature_name()
    unnamed = all(re.fullmatch(r"Column_\d+", name) for name in names)
    categories = tuple(tuple(map(str, values)) for values in booster.pandas_categorical or ())
    return Facts(None if unnamed else tuple(names), output, categories)


def _xgboost(data: bytes, _: tuple[str, ...]) -> Facts:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(data))
    learner = json.loads(booster.save_config())["learner"]
    objective = learner["objective"]["name"]
    output = Output(kind="regression")
    if objective == "binary:logistic":
        output = _numbered(2)
    elif objective == "multi:softprob":
        output = _numbered(int(learner["learner_model_param"]["num_class"]))
    return Facts(tuple(booster.feature_names) if booster.feature_names else None, output)


def _onnx(data: bytes, _: tuple[str, ...]) -> Facts:
    import onnx

    graph = onnx.load_model_from_string(data).graph
    inputs = graph.input
    names = tuple(item.name for item in inputs) if len(inputs) > 1 else None
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name.startswith(("classlabels_", "classlabels")) and node.domain == "ai.onnx.ml":
                value = onnx.helper.get_attribute_value(attribute)
                return Facts(names, _classes([v.decode() if isinstance(v, bytes) else v for v in value]))
    floats = [item for item in graph.output if item.type.tensor_type.elem_type in (1, 11)]
    return Facts(names, Output(kind="regression") if len(graph.output) == len(floats) == 1 else None)


_READERS = {"joblib": _joblib, "skops": _skops, "lightgbm": _lightgbm, "xgboost": _xgboost, "onnx": _onnx}
