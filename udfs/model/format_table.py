"""Lists the model formats, one entry each: what is known of a format before any of its libraries is loaded.

>>> FORMATS["onnx"].model_file
'model.onnx'

The code of a format is `udfs/model/formats/<module>.py`; what only clients do with it is in
`flink_jobs.registry.formats`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Format = Literal["joblib", "skops", "lightgbm", "xgboost", "catboost", "onnx", "torch", "keras", "pyfunc"]

_EXACT = 1e-9
# Formats that compute in 32 bits differ in the last of them between processors.
_SINGLE = 1e-5


class FormatEntry(NamedTuple):
    """One model format.

    `module`: its file in `udfs/model/formats/`; `model_file`: its file in a version's folder; `tolerance`:
    how far golden rows may be off; `libraries`: what a manifest records the versions of; `pickled`:
    loading runs code that the model's maker chose; `types`: loading takes the names of trusted types;
    `estimator`: it holds an estimator of scikit-learn's kind.
    """

    module: str
    model_file: str
    tolerance: float
    libraries: tuple[str, ...]
    pickled: bool = False
    types: bool = False
    estimator: bool = False


_SKLEARN = ("python", "numpy", "pandas", "scikit-learn")

FORMATS: dict[Format, FormatEntry] = {
    "joblib": FormatEntry(
        "sklearn_joblib", "model.joblib", _EXACT, (*_SKLEARN, "joblib"), pickled=True, estimator=True
    ),
    "skops": FormatEntry(
        "sklearn_skops", "model.skops", _EXACT, (*_SKLEARN, "skops"), types=True, estimator=True
    ),
    "lightgbm": FormatEntry("lightgbm_text", "model.txt", _EXACT, ("python", "numpy", "lightgbm")),
    "xgboost": FormatEntry("xgboost_binary", "model.ubj", _SINGLE, ("python", "numpy", "xgboost")),
    "catboost": FormatEntry(
        "catboost_binary", "model.cbm", _EXACT, ("python", "numpy", "pandas", "catboost")
    ),
    "onnx": FormatEntry("onnx_runtime", "model.onnx", _SINGLE, ("python", "numpy", "onnxruntime")),
    "torch": FormatEntry("torch_export", "model.pt2", _SINGLE, ("python", "numpy", "torch"), pickled=True),
    "keras": FormatEntry("keras_zip", "model.keras", _SINGLE, ("python", "numpy", "keras")),
    "pyfunc": FormatEntry(
        "mlflow_pyfunc",
        "model.pyfunc",
        _SINGLE,
        ("python", "numpy", "pandas", "mlflow-skinny"),
        pickled=True,
    ),
}
