"""The versions of a job, as its parameters ask for: one for good, or those of a release log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from udfs.errors import ModelError
from udfs.features.columns import match_inputs
from udfs.model.explain.column import Explaining
from udfs.model.loading import LoadedModel, load_version
from udfs.model.manifest import Signature, read_manifest
from udfs.model.trial import check_survives
from udfs.profile.batch_profiler import BatchProfiler
from udfs.releases.trusted import TrustedLog
from udfs.scoring.params import FollowParams, ModelParams, ScoreParams
from udfs.scoring.shadow import Shadow, ShadowParams
from udfs.scoring.version import Inputs, Version, make_batch_profiler, read_reference
from udfs.scoring.versions import FixedVersion, FollowedVersions, Versions
from udfs.store import open_store


def open_versions(params: ScoreParams, counts: Counter[str], loads: Counter[str]) -> Versions:
    """`counts` gets what the versions count, `loads` the number of `loads` and the `ns` that they took.

    Raises ModelError when there is no version to begin with.
    """
    assert params.model is not None
    follow = params.model.follow
    if follow is None:
        with _timed(loads):
            return FixedVersion(_planned(params, params.model, counts), params.model.release)
    return _followed(params, params.model, follow, counts, loads)


@contextmanager
def _timed(loads: Counter[str]) -> Iterator[None]:
    """Counts a load within, if it succeeds; one loads at a time."""
    started = time.perf_counter_ns()
    yield
    loads["ns"] += time.perf_counter_ns() - started
    loads["loads"] += 1


def _planned(params: ScoreParams, model: ModelParams, counts: Counter[str]) -> Version:
    """The version that the plan was made with."""
    loaded = load_version(model.folder, digest=model.digest, trust=model.trust)
    number = loaded.manifest.version
    watch = BatchProfiler(params.drift, read_reference(loaded), number) if params.drift else None
    elsewhere = ShadowParams(
        model.folder,
        model.digest,
        model.inputs,
        model.threshold,
        model.trust,
        params.output.explain,
        private := bool(_private(params, model.inputs)),
    )
    explaining = _explaining(params, loaded, model.inputs, counts)
    return Version(loaded, model.inputs, model.threshold, watch, explaining, elsewhere, private)


def _followed(
    params: ScoreParams, model: ModelParams, follow: FollowParams, counts: Counter[str], loads: Counter[str]
) -> FollowedVersions:
    rollout = params.rollout

    def load(number: int, digest: str | None) -> Version:
        with _timed(loads):
            return load_now(number, digest)

    def load_now(number: int, digest: str | None) -> Version:
        folder = version_folder(follow, number)
        check_survives(folder, digest=digest, trust=model.trust)
        loaded = load_version(folder, digest=digest, trust=model.trust)
        inputs = _inputs(loaded.manifest.signature, follow, folder)
        watch = make_batch_profiler(params.drift, loaded, inputs, follow) if params.drift else None
        private, explain = bool(_private(params, inputs)), params.output.explain
        elsewhere = ShadowParams(folder, digest, inputs, model.threshold, model.trust, explain, private)
        explaining = _explaining(params, loaded, inputs, counts)
        return Version(loaded, inputs, model.threshold, watch, explaining, elsewhere, private)

    def start_shadow(number: int, digest: str | None, release: int, waits: bool) -> Shadow:
        def find() -> ShadowParams:
            return _shadow_params(follow, number, digest, model, params)

        return Shadow(number, find, timeout_s, release, waits=waits)

    timeout_s = rollout.shadow_timeout_ms / 1000 if rollout else 0.0
    trusted = TrustedLog(follow.folder, follow.model, follow.trust)
    return FollowedVersions(
        follow.model,
        trusted,
        load,
        start_shadow if rollout else None,
        follow.refresh_ms / 1000,
        refusals=trusted.take_refusals,
    )


def _explaining(
    params: ScoreParams, loaded: LoadedModel, inputs: Inputs, counts: Counter[str]
) -> Explaining | None:
    top = params.output.explain
    return Explaining(loaded.model, top, counts, _private(params, inputs)) if top else None


def _private(params: ScoreParams, inputs: Inputs) -> frozenset[str]:
    """The inputs that get personal data."""
    personal = params.source.privacy.columns
    return frozenset(name for name, column, _ in inputs if column in personal)


def version_folder(follow: FollowParams, number: int) -> str:
    """The path or URI of a version that the job follows."""
    return open_store(follow.folder).location(f"versions/{number}")


def _shadow_params(
    follow: FollowParams, number: int, digest: str | None, model: ModelParams, params: ScoreParams
) -> ShadowParams:
    folder = version_folder(follow, number)
    inputs = _inputs(read_manifest(open_store(folder)).signature, follow, folder)
    private = bool(_private(params, inputs))
    return ShadowParams(folder, digest, inputs, model.threshold, model.trust, private=private)


def _inputs(signature: Signature, follow: FollowParams, folder: str) -> Inputs:
    try:
        matched = match_inputs(signature, follow.columns, follow.renamed)
    except ModelError as error:
        raise ModelError(f"the job cannot feed {folder}:{error}") from None
    return tuple((item.name, item.column.name, item.type) for item in matched)
