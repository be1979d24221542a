"""Sends rows to a canary by a hash of their key, the same on every worker and in every run.

>>> in_canary(pa.array(["a", "b", None]), share=1.0, salt="fraud/2").tolist()
[True, True, False]

A key's place in [0, 1) depends on the salt (model and version) alone, so it stays on its side while the share
stays, and a larger share only adds keys.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa


def places(keys: pa.Array, salt: str) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1), shape (n,), for n keys taken as text; NaN for null."""
    text = keys.cast(pa.string()).dictionary_encode()
    seed = hashlib.sha256(salt.encode()).hexdigest()[:16]
    values = text.dictionary.to_pandas().to_numpy(dtype=object)
    hashes = pd.util.hash_array(values, hash_key=seed, categorize=False)
    # The upper 53 bits fill a double exactly, so that the largest is still below 1.
    of_value = (hashes >> np.uint64(11)).astype(np.float64) / 2.0**53
    indices = text.indices.fill_null(-1).to_numpy()
    found: npt.NDArray[np.float64] = np.append(of_value, np.nan)[indices]
    return found


def in_canary(keys: pa.Array, share: float, salt: str) -> npt.NDArray[np.bool_]:
    """Which of n rows go to the canary; a null key never does."""
    chosen: npt.NDArray[np.bool_] = places(keys, salt) < share
    return chosen
