"""Sends rows to a canary by a hash of their key, the same on every worker and in every run.

>>> in_canary(pa.array(["a", "b", None]), share=1.0, salt="fraud/2").tolist()
[True, True, False]

A key's place in [0, 1) depends on the salt (model and version) alone, so it stays on its side while the share
stays, and a larger share only adds keys. Its bucket is of other bits of the same hash.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

# A power of two, of the lower bits that `places` leaves.
BUCKETS = 256
Flags = npt.NDArray[np.bool_]
Buckets = npt.NDArray[np.int64]


def places(keys: pa.Array, salt: str) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1), shape (n,), for n keys taken as text; NaN for null."""
    return _placed(*_hashed(keys, salt))


def in_canary(keys: pa.Array, share: float, salt: str) -> Flags:
    """Which of n rows go to the canary; a null key never does."""
    return routed(keys, share, salt)[0]


def routed(keys: pa.Array, share: float, salt: str) -> tuple[Flags, Buckets]:
    """Which of n rows go to the canary, and the buckets of their keys: 0 to 255, -1 for a null key."""
    hashes, indices = _hashed(keys, salt)
    of_value = (hashes & np.uint64(BUCKETS - 1)).astype(np.int64)
    chosen: Flags = _placed(hashes, indices) < share
    return chosen, np.append(of_value, -1)[indices]


def _hashed(keys: pa.Array, salt: str) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Hashes of the distinct keys, and which of them each row has; -1 for null."""
    text = keys.cast(pa.string()).dictionary_encode()
    seed = hashlib.sha256(salt.encode()).hexdigest()[:16]
    values = text.dictionary.to_pandas().to_numpy(dtype=object)
    hashes = pd.util.hash_array(values, hash_key=seed, categorize=False)
    return hashes, text.indices.fill_null(-1).to_numpy().astype(np.int64)


def _placed(hashes: npt.NDArray[np.uint64], indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    # The upper 53 bits fill a double exactly, so that the largest is still below 1.
    of_value = (hashes >> np.uint64(11)).astype(np.float64) / 2.0**53
    found: npt.NDArray[np.float64] = np.append(of_value, np.nan)[indices]
    return found
