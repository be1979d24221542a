"""Whether a version's predictions can be explained, found out before the job starts.

check_explainable(registry.location("flight_delay", 1))    # raises InputError when they cannot
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from flink_jobs.errors import InputError
from udfs.errors import ModelError
from udfs.explain import EXPLAINED, explainer
from udfs.golden import GOLDEN_FILE
from udfs.model import LoadedModel, load_version
from udfs.signatures import ANYONE, Trust
from udfs.store import open_store


def check_explainable(folder: str, trust: Trust = ANYONE) -> None:
    """Load the version, as a worker would, and explain its golden rows.

    Raises `InputError` with the models that can be explained when this one cannot.
    """
    try:
        loaded = load_version(folder, trust=trust)
    except ModelError as error:
        raise InputError(f"predictions.explain needs the model, and {error}") from error
    try:
        _explain_golden_rows(folder, loaded)
    except Exception as error:
        why = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
        name, version = loaded.manifest.name, loaded.manifest.version
        raise InputError(
            f"predictions.explain must be left out with {name} version {version} ({loaded.manifest.format}): "
            f"{why}; what can be explained are {EXPLAINED}"
        ) from error


def _explain_golden_rows(folder: str, loaded: LoadedModel) -> None:
    explain = explainer(loaded.model)
    golden = pa.BufferReader(open_store(folder).read(GOLDEN_FILE))
    inputs = pq.read_table(golden).select(loaded.model.signature.names)
    explain(inputs, loaded.model.predict(inputs))
