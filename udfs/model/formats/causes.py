"""Tells why a model cannot be loaded or used: in the words of what its maker can put right.

A pickle names the classes that it needs, and scikit-learn's estimators the version that wrote them.
"""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import lzma
import re
import zlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

from udfs.errors import ModelError

SHIP = "ship the module with the version (--code)"
_OPENERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"x": zlib.decompress,
    b"BZ": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
    b"]\x00": lzma.decompress,
}
# A text after the key, with what remembers the key between them; and the same as skops writes it.
_PICKLED = rb"_sklearn_version(?:\x94|q.|r.{4})?(?:\x8c(.)|X(.)\0{3})"
_WRITTEN = rb'"_sklearn_version": \{[^{}]*"content": "\\"([0-9a-z.]+)\\""'
_KNOWN = frozenset({"sklearn", "lightgbm", "xgboost", "catboost"})


def maker_versions(data: bytes) -> dict[str, str]:
    """The versions of the libraries that wrote a pickle or skops file, as far as it tells."""
    plain = _plain(data)
    if found := re.search(_PICKLED, plain, re.DOTALL):
        length = (found[1] or found[2])[0]
        return {"scikit-learn": plain[found.end() : found.end() + length].decode(errors="replace")}
    if found := re.search(_WRITTEN, _unzipped(data)):
        return {"scikit-learn": found[1].decode()}
    return {}


def made_with(data: bytes) -> str:
    """`made with scikit-learn 1.5.2, here is 1.9.1`, where the file tells of another version; else empty."""
    here = {name: version(name) for name in maker_versions(data)}
    told = [
        f"{name} {was}, here is {here[name]}"
        for name, was in maker_versions(data).items()
        if here[name] != was
    ]
    return f"made with {'; '.join(told)}" if told else ""


def cause(error: Exception, data: bytes) -> str | None:
    """Why a pickle could not be loaded; None where there is no more to say than the error does."""
    other = made_with(data)
    if isinstance(error, ModuleNotFoundError) and error.name:
        root = error.name.partition(".")[0]
        if root != error.name and importlib.util.find_spec(root):
            return f"{other or _installed(root)}, which has no module {error.name}"
        return f"it needs the module {error.name}, which is not installed here: install it, or {SHIP}"
    missing = re.match(r"Can't get attribute '([^']+)' on <module '([^']+)'", str(error))
    if missing and missing[2].rpartition(".")[2] == "__main__":
        return (
            f"it needs the class or function {missing[1]} of its maker's script (__main__), which is nowhere "
            f"else: put {missing[1]} into a module, import it from there, save the model again, and {SHIP}"
        )
    if missing:
        return (
            f"{other or _installed(missing[2].partition('.')[0])}, which has no {missing[1]} in {missing[2]}"
        )
    return f"{other}: {type(error).__name__}: {error}" if other else None


def check_estimator(estimator: Any) -> None:
    """Raise `ModelError` for what is no estimator, is not fitted, or has outputs that no version can have."""
    name = type(estimator).__name__
    if not any(hasattr(estimator, method) for method in ("predict", "predict_proba", "score_samples")):
        held = (
            f"a {name} of {', '.join(map(repr, list(estimator)[:5]))}"
            if isinstance(estimator, dict)
            else f"a {name}"
        )
        raise ModelError(f"the file must hold an estimator alone, with a method predict; it holds {held}")
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    if type(last).__module__.partition(".")[0] in _KNOWN and not _is_fitted(estimator):
        raise ModelError(f"the {name} is not fitted: call fit before saving it")
    classes = getattr(estimator, "classes_", None)
    outputs = len(classes) if isinstance(classes, list) and classes and _is_array(classes[0]) else 0
    outputs = outputs or int(getattr(last, "n_outputs_", 1))
    if outputs > 1:
        raise ModelError(f"the {name} has {outputs} outputs, and a version has one: save a model for each")
    if classes is not None and len(classes) == 1:
        only = getattr(classes[0], "item", lambda: classes[0])()
        raise ModelError(f"the {name} knows one class only, {only!r}: it was fitted on rows of no other")


def shape_hint(shape: tuple[int, ...]) -> str:
    """What a maker can do about predictions of n rows with this shape."""
    if len(shape) == 2 and shape[1] == 1:
        return "; it was fitted on a y of shape (n, 1): fit it on y.ravel()"
    if len(shape) == 2:
        return f"; it has {shape[1]} outputs, and a version has one: save a model for each"
    return ""


def _is_fitted(estimator: Any) -> bool:
    # Start-up: not needed by formats without scikit-learn.
    from sklearn.exceptions import NotFittedError  # noqa: PLC0415
    from sklearn.utils.validation import check_is_fitted  # noqa: PLC0415

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    except TypeError:
        return True  # no estimator of scikit-learn's kind
    return True


def _is_array(value: object) -> bool:
    return hasattr(value, "shape") and bool(getattr(value, "shape", ()))


def _installed(root: str) -> str:
    name = next(iter(packages_distributions().get(root, [])), root)
    try:
        return f"made with another version of {name}; here is {version(name)}"
    except PackageNotFoundError:
        return f"made with another version of {name} than is here"


def _plain(data: bytes) -> bytes:
    """A pickle without the compression of joblib."""
    for magic, opened in _OPENERS.items():
        if data.startswith(magic):
            try:
                return opened(data)
            except (OSError, EOFError, zlib.error, lzma.LZMAError):
                return data
    return data


def _unzipped(data: bytes) -> bytes:
    """The description within a skops file."""
    # Start-up: for skops files only.
    import io  # noqa: PLC0415
    import zipfile  # noqa: PLC0415

    if not data.startswith(b"PK"):
        return b""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            return file.read("schema.json")
    except (KeyError, zipfile.BadZipFile):
        return b""
