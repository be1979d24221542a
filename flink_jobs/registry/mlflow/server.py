"""Pushes versions to an MLflow server's registry, and pulls them back checked.

A pushed version is a run with parameters, metrics and tags, and a model version whose files are those of
the version, beside an MLmodel with which `mlflow.pyfunc.load_model` loads them where Tailrace is installed.
Needs the extra `mlflow` (mlflow-skinny). User, password and token come from MLflow's own variables.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pyarrow.parquet as pq
from msgspec import structs

from flink_jobs.errors import InputError, WorkError
from flink_jobs.registry import Registry
from flink_jobs.registry.mlflow.files import FOLDER, run_parameters, write_artifacts
from udfs.errors import ModelError
from udfs.model.code import CODE_FILE
from udfs.model.loading import load_version
from udfs.model.manifest import EXPECTED_FILE, GOLDEN_FILE, PROFILE_FILE, Manifest, digest, read_manifest
from udfs.model.signatures import ANYONE, Trust
from udfs.store import open_store
from udfs.store.base import Store, without_secrets

DIGEST_TAG = "tailrace.digest"
# MLflow's own settings wait for minutes before they say that nobody answers, and print what Tailrace says.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


@dataclass(frozen=True)
class Pushed:
    """Where a version is on the server; `new` is false when it was there already."""

    model: str
    version: str
    run_id: str
    new: bool


class Server:
    """An MLflow tracking server with a model registry.

    Raises `InputError` for what is wrong with the address, the model or the version, and `WorkError` when the
    server does not do its part.
    """

    def __init__(self, uri: str) -> None:
        if urlsplit(uri).scheme not in ("http", "https"):
            raise InputError(f"the MLflow server must be given as http://host:port; got {uri!r}")
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        self._mlflow = _import("mlflow")
        self._uri, self._shown = uri, without_secrets(uri)
        self._client = self._mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)

    def push(self, registry: Registry, name: str, version: int, experiment: str | None = None) -> Pushed:
        """Copy a version to the server, as the registered model of its name.

        `experiment` is the model's name unless given. A version that the server has already is left alone.
        """
        version_files = open_store(registry.location(name, version))
        try:
            loaded = load_version(version_files)
        except ModelError as error:
            raise InputError(f"{name} version {version} cannot be pushed: {error}") from error
        with self._asking():
            for there in self._client.search_model_versions(f"name='{name}'"):
                if there.tags.get(DIGEST_TAG) == loaded.digest:
                    return Pushed(name, str(there.version), there.run_id, new=False)
            return self._push(version_files, loaded.manifest, experiment or name)

    def _push(self, version_files: Store, manifest: Manifest, experiment: str) -> Pushed:
        client, tags = self._client, _tags(manifest)
        found = client.get_experiment_by_name(experiment)
        experiment_id = found.experiment_id if found else client.create_experiment(experiment)
        run = client.create_run(experiment_id, tags=tags, run_name=f"{manifest.name}-{manifest.version}")
        run_id, status = run.info.run_id, "FAILED"
        try:
            for key, value in run_parameters(manifest).items():
                client.log_param(run_id, key, value)
            for key, number in manifest.metrics.items():
                client.log_metric(run_id, key, number)
            with tempfile.TemporaryDirectory(prefix="tailrace-") as place:
                write_artifacts(version_files, manifest, Path(place))
                client.log_artifacts(run_id, place, "model")
            if not self._registered(manifest.name):
                client.create_registered_model(manifest.name)
            source = f"{run.info.artifact_uri}/model"
            made = client.create_model_version(manifest.name, source, run_id, tags=tags)
            status = "FINISHED"
        finally:
            client.set_terminated(run_id, status)
        return Pushed(manifest.name, str(made.version), run_id, new=True)

    def pull(
        self,
        registry: Registry,
        name: str,
        *,
        model: str | None = None,
        version: str | None = None,
        expected: str | None = None,
        trust: Trust = ANYONE,
    ) -> Manifest:
        """Register a version of the server as the next version of `name`, and return its manifest.

        `model` is `name` unless given, `version` the newest. Files, digest and golden rows are checked first;
        with `expected`, so is that the digest is this one. `trust` is what is demanded before it is loaded.
        """
        model = model or name
        with self._asking(), tempfile.TemporaryDirectory(prefix="tailrace-") as place:
            there = self._found(model, version)
            uri = self._client.get_model_version_download_uri(model, there.version)
            self._mlflow.artifacts.download_artifacts(
                artifact_uri=uri, dst_path=place, tracking_uri=self._uri
            )
            where = f"{model} version {there.version} of {self._shown}"
            folder = _version_folder(Path(place), where)
            manifest = _checked(folder, where, there.tags.get(DIGEST_TAG), expected, trust)
            origin = {"server": self._shown, "model": model, "version": there.version, "run": there.run_id}
            return _register(registry, name, folder, manifest, origin)

    def _found(self, model: str, version: str | None) -> Any:
        if not self._registered(model):
            raise InputError(f"{self._shown} has no registered model {model}")
        versions = {str(v.version): v for v in self._client.search_model_versions(f"name='{model}'")}
        known = sorted(versions, key=int)
        if not known or (version is not None and version not in versions):
            there = f"one of {', '.join(known)}" if known else "there: it has none"
            raise InputError(f"the version of {model} on {self._shown} must be {there}; got {version}")
        return versions[version or known[-1]]

    def _registered(self, model: str) -> bool:
        return bool(self._client.search_registered_models(f"name='{model}'"))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except self._mlflow.MlflowException as error:
            first = str(error).splitlines()[0][:300]
            raise WorkError(f"the MLflow server {self._shown} did not do its part: {first}") from error


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"this needs MLflow's client, which is not installed ({error}); "
            "install it: pip install 'tailrace[mlflow]'"
        ) from error


def _tags(manifest: Manifest) -> dict[str, str]:
    return {
        DIGEST_TAG: digest(manifest),
        "tailrace.model": manifest.name,
        "tailrace.version": str(manifest.version),
        "tailrace.format": manifest.format,
        "tailrace.created_at": manifest.created_at,
    }


def _version_folder(place: Path, where: str) -> Path:
    for folder in (place / FOLDER, place / "model" / FOLDER):
        if folder.is_dir():
            return folder
    raise InputError(f"{where} was not pushed by Tailrace: it has no folder {FOLDER} beside its MLmodel")


def _checked(folder: Path, where: str, tagged: str | None, expected: str | None, trust: Trust) -> Manifest:
    """The manifest of a downloaded version; nothing is unpickled before its digests are right."""
    try:
        manifest = read_manifest(folder)
        for wanted, source in ((tagged, f"the tag {DIGEST_TAG} on the server"), (expected, "--digest")):
            if wanted is not None and digest(manifest) != wanted:
                raise InputError(f"{where} must have the digest {wanted} ({source}); got {digest(manifest)}")
        load_version(folder, trust=trust)
    except ModelError as error:
        inside = str(error).removeprefix(f"{folder} cannot be used: ").replace(f"{folder}/", "")
        raise InputError(f"{where} cannot be used: {inside}") from error
    return manifest


def _register(
    registry: Registry, name: str, folder: Path, manifest: Manifest, origin: dict[str, Any]
) -> Manifest:
    contents = {file: (folder / file).read_bytes() for file in manifest.files}
    lineage = manifest.lineage or None
    origin |= {"digest": digest(manifest), "created_at": manifest.created_at}
    golden = pq.read_table(folder / GOLDEN_FILE).select(manifest.signature.names)
    return registry.write_version(
        name,
        model=contents[manifest.model_file],
        format=manifest.format,
        signature=manifest.signature,
        golden_inputs=golden,
        profile=msgspec.json.decode(contents[PROFILE_FILE]) if PROFILE_FILE in contents else {},
        metrics=manifest.metrics,
        training={**manifest.training, "mlflow": origin},
        lineage=structs.replace(lineage, parent=None) if lineage else None,
        trusted_types=manifest.trusted_types or (),
        libraries=manifest.libraries,
        code=contents.get(CODE_FILE, b""),
        expected=contents.get(EXPECTED_FILE),
    )
