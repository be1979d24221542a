"""Modules that a version ships with its model: its maker's transformers, imported under their own names.

    archive = pack([Path("shop_features.py")])
    with importable(archive):
        joblib.load(…)          # finds shop_features in the archive

They are imported from the very bytes whose SHA-256 was checked. Versions whose modules have the same names
and other contents live beside each other: each is loaded with its own.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from udfs.errors import ModelError

CODE_FILE = "code.zip"
_OWN = "__tailrace_code__"
# Where the modules say that they are.
_PLACE = f"/{CODE_FILE}/"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_lock = threading.RLock()


def pack(paths: Sequence[Path]) -> bytes:
    """Modules (.py files) and packages (folders with an __init__.py) as an archive: equal for equal contents.

    Raises ModelError for what is neither, and for names that would hide another module.
    """
    files: dict[str, bytes] = {}
    for path in paths:
        name = path.resolve().name.removesuffix(".py")
        package = (path / "__init__.py").is_file()
        if not (name.isidentifier() and (package or (path.is_file() and path.suffix == ".py"))):
            raise ModelError(f"code must be a .py file, or a folder with an __init__.py; got {path}")
        _check_name(name, path)
        found = sorted(path.rglob("*")) if package else [path]
        for file in found:
            if file.is_file() and "__pycache__" not in file.parts:
                inner = file.relative_to(path).as_posix() if package else ""
                files[f"{name}/{inner}" if package else f"{name}.py"] = file.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _check_name(name: str, path: Path) -> None:
    """A module of the same name that is installed would be hidden, or hide it."""
    spec = None if name in sys.modules and not _origin(sys.modules[name]) else importlib.util.find_spec(name)
    place = Path(spec.origin).resolve() if spec and spec.origin and spec.has_location else None
    own = place in (path.resolve(), (path / "__init__.py").resolve())
    if name in sys.stdlib_module_names or (spec is not None and not own and "site-packages" in str(place)):
        raise ModelError(f"code must have a name of its own; {name} is another module: rename {path}")


def names_of(archive: bytes) -> list[str]:
    """The modules and packages at the top of an archive."""
    return sorted({name.partition("/")[0].removesuffix(".py") for name in _read(archive)})


@contextmanager
def importable(archive: bytes | None) -> Iterator[None]:
    """Within, the modules of an archive are imported from it, whatever of their names is there.

    What was imported stays afterwards where there was no other module of the name: functions that import when
    they are called find it. Loads with archives wait for each other.
    """
    if not archive:
        yield
        return
    files, digest = _read(archive), hashlib.sha256(archive).hexdigest()
    with _lock:
        roots = [name for name in names_of(archive) if not _same(name, files, digest)]
        others = _taken_out(roots)
        finder = _Finder(dict.fromkeys(roots, files), digest)
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            if others:
                _taken_out({name.partition(".")[0] for name in others})
                sys.modules.update(others)


def _read(archive: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return {name: opened.read(name) for name in opened.namelist()}
    except (zipfile.BadZipFile, OSError) as error:
        raise ModelError(f"{CODE_FILE} must be an archive of modules: {error}") from None


def _below(root: str) -> list[str]:
    return [name for name in sys.modules if name == root or name.startswith(f"{root}.")]


def _taken_out(roots: Sequence[str] | set[str]) -> dict[str, ModuleType]:
    return {name: sys.modules.pop(name) for root in roots for name in _below(root)}


def _same(root: str, files: Mapping[str, bytes], digest: str) -> bool:
    """Whether the module is imported already, with the same content: as its maker has it, or from before."""
    module = sys.modules.get(root)
    if module is None:
        return False
    if getattr(module, _OWN, None) is not None:
        return bool(getattr(module, _OWN) == digest)
    origin = _origin(module)
    if origin is None:
        return False
    packed = files.get(f"{root}.py", files.get(f"{root}/__init__.py"))
    try:
        return origin.read_bytes() == packed
    except OSError:
        return False


def _origin(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if file else None


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, roots: Mapping[str, Mapping[str, bytes]], digest: str) -> None:
        self._roots, self._digest = roots, digest

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        files = self._roots.get(fullname.partition(".")[0])
        stem = fullname.replace(".", "/")
        if files is None:
            return None
        for name, package in ((f"{stem}/__init__.py", True), (f"{stem}.py", False)):
            if name in files:
                place = f"{_PLACE}{name}"
                below = [place.rpartition("/")[0]] if package else None
                loader = _Loader(name, files, self._digest)
                return importlib.util.spec_from_file_location(
                    fullname, place, loader=loader, submodule_search_locations=below
                )
        return None


class _Loader(importlib.abc.SourceLoader):
    """Source of an archive in memory; `pkgutil.get_data` finds the other files of a package."""

    def __init__(self, name: str, files: Mapping[str, bytes], digest: str) -> None:
        self._name, self._files, self._digest = name, files, digest

    def get_filename(self, _fullname: str) -> str:
        return f"{_PLACE}{self._name}"

    def get_data(self, path: str) -> bytes:
        try:
            return self._files[path.removeprefix(_PLACE)]
        except KeyError:
            raise OSError(f"{path} is not in {CODE_FILE}") from None

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, _OWN, self._digest)
        super().exec_module(module)
