"""Finds the model version that a job uses, and checks that it fits."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.parquet as pq

from flink_jobs.errors import InputError
from flink_jobs.plan.diagnose import Collector
from flink_jobs.registry import Registry, Release
from flink_jobs.spec import JobSpec
from udfs.errors import ModelError, StoreError
from udfs.model.explain import EXPLAINED, explainer
from udfs.model.loading import LoadedModel, check_trust, load_version
from udfs.model.manifest import GOLDEN_FILE, Manifest, digest, read_manifest
from udfs.model.signatures import ANYONE, Trust
from udfs.releases.chain import ReleaseTrust
from udfs.store import is_uri, open_store
from udfs.store.base import joined_uri
from udfs.suggest import nearest
from udfs.tables import reader_of

_DECIDING = ("name", "registry", "use")


@dataclass(frozen=True)
class ModelVersion:
    """The version that a job uses: workers open `folder` and `model_folder`, this process `here`."""

    manifest: Manifest
    release: Release
    here: str
    folder: str
    model_folder: str


def trust_of(job: JobSpec) -> Trust:
    """What the job demands of a version before it is loaded."""
    model = job.model
    return Trust(model.trusted_keys, model.require_signature, model.pickle == "allow")


def release_trust_of(job: JobSpec) -> ReleaseTrust:
    """What the job demands of the release log that it follows."""
    model = job.model
    return ReleaseTrust(
        model.releasers, model.require_signature, model.approvals, max_age_ms=model.max_release_age
    )


def find_version(job: JobSpec, found: Collector) -> ModelVersion | None:
    """The version, or None when there is none or when the job file's mistakes hide which."""
    if any(found.doubts.hides(("model", key)) for key in _DECIDING):
        return None
    registry, model = Registry(job.model.registry), job.model
    try:
        registry.versions(model.name)
    except InputError as error:
        _unknown_model(registry, model.name, error, found)
        return None
    try:
        release = registry.resolve(model.name, model.use, release_trust_of(job))
        folder = registry.location(model.name, release.version)
        manifest = _trusted_manifest(folder, trust_of(job))
    except (InputError, ModelError, StoreError) as error:
        found.add(("model", "use"), "a version that can be used", f"{model.use!r}: {error}")
        return None
    return _placed(job, manifest, release, registry)


def _placed(job: JobSpec, manifest: Manifest, release: Release, registry: Registry) -> ModelVersion:
    here = registry.location(manifest.name, manifest.version)
    along, store = version_along(job, manifest), job.runtime.artifact_store
    if along is None or store is None:
        return ModelVersion(manifest, release, here, here, registry.model_location(manifest.name))
    model = along.rsplit("/", 2)[0]
    return ModelVersion(manifest, release, here, joined_uri(store, along), joined_uri(store, model))


def version_along(job: JobSpec, manifest: Manifest) -> str | None:
    """Where in `runtime.artifacts` a version is put for workers that do not reach its registry.

    None where it stays where it is. A job that follows releases needs the registry itself.
    """
    if job.runtime.artifact_store is None or job.model.use == "champion" or is_uri(str(job.model.registry)):
        return None
    return f"models/{digest(manifest)}/{manifest.name}/versions/{manifest.version}"


def check_followed(job: JobSpec, found: Collector) -> None:
    """Workers that fetch what they need from a store cannot follow releases in a folder of this machine."""
    store = job.runtime.artifact_store
    if store is None or store.startswith("file:") or job.model.use != "champion":
        return
    if not is_uri(str(job.model.registry)):
        expected = "a URI that workers reach, where runtime.artifacts is one and model.use is champion"
        found.add(("model", "registry"), expected, repr(str(job.model.registry)))


def _unknown_model(registry: Registry, name: str, error: InputError, found: Collector) -> None:
    models = registry.models()
    if meant := nearest(name, models):
        expected = f"a model of {registry.store.where('')} ({', '.join(models)})"
        found.add(("model", "name"), expected, repr(name), meant)
    else:
        found.add(("model", "name"), "a model of the registry", f"{name!r}: {error}")


def _trusted_manifest(folder: str, trust: Trust) -> Manifest:
    store = open_store(folder)
    manifest = read_manifest(store)
    check_trust(store, manifest, trust)
    return manifest


def check_explainable(folder: str, trust: Trust = ANYONE) -> None:
    """Load the version, as a worker would, and explain its golden rows.

    Raises `InputError` with the models that can be explained when this one cannot.
    """
    wrong = _why_unexplained(folder, trust)
    if wrong:
        expected, reason = wrong
        raise InputError(f"predictions.explain must be {expected}; got {reason}")


def collect_explainable(job: JobSpec, version: ModelVersion, found: Collector) -> None:
    """As `check_explainable`, where the job asks for explanations."""
    wrong = _why_unexplained(version.here, trust_of(job)) if job.predictions.explain else None
    if wrong:
        found.add(("predictions", "explain"), *wrong)


def _why_unexplained(folder: str, trust: Trust) -> tuple[str, str] | None:
    """What is expected instead, and why; None for what can be explained."""
    try:
        loaded = load_version(folder, trust=trust)
    except ModelError as error:
        return "left out unless the model can be loaded", str(error)
    try:
        _explain_golden_rows(folder, loaded)
    except Exception as error:  # whatever an explainer of another library raises
        why = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
        manifest = loaded.manifest
        model = f"{manifest.name} version {manifest.version} ({manifest.format})"
        return f"left out with {model}", f"{why}; what can be explained are {EXPLAINED}"
    return None


def _explain_golden_rows(folder: str, loaded: LoadedModel) -> None:
    explain = explainer(loaded.model)
    golden = reader_of(open_store(folder).read(GOLDEN_FILE))
    inputs = pq.read_table(golden).select(loaded.model.signature.names)
    explain(inputs, loaded.model.predict(inputs))
