"""Plans quality: what workers count, which labels are read, and what publishes the windows."""

from __future__ import annotations

from flink_jobs.plan.columns import JobColumns
from flink_jobs.plan.diagnose import Collector
from flink_jobs.plan.model import ModelVersion, trust_of
from flink_jobs.plan.topics import labels_of
from flink_jobs.spec import JobSpec, Labels, Quality
from udfs.model.manifest import digest
from udfs.profile.params import SegmentParams
from udfs.quality.params import REVISIONS, LabelWait, QualityCount, QualityParams


def quality_params(
    job: JobSpec, version: ModelVersion | None, columns: JobColumns, found: Collector
) -> QualityParams | None:
    """None without a quality section; what is wrong with it is added to `found`."""
    asked = job.quality
    if asked is None:
        return None
    _check_labels(job, asked, found)
    if version and asked.quantile and version.manifest.signature.output.kind != "regression":
        expected = "left out for a model whose output is no number"
        found.add(("quality", "quantile"), expected, version.manifest.signature.output.kind)
    slices = [
        *_slices(job, asked, "segments", columns, found),
        *_slices(job, asked, "groups", columns, found),
    ]
    labels = labels_of(job)
    return QualityParams(
        job=job.job,
        model=job.model.name,
        count=QualityCount(asked.window, tuple(slices)),
        labels=_wait(asked, labels) if labels else None,
        groups=tuple(asked.groups),
        idle_ms=asked.idle,
        gap=asked.gap,
        fall=asked.fall,
        quantile=asked.quantile,
        model_folder=version.model_folder if version else None,
        trust=trust_of(job),
        digests={version.manifest.version: digest(version.manifest)} if version else {},
    )


def _wait(asked: Quality, labels: Labels) -> LabelWait:
    return LabelWait(labels.wait, asked.revise or max(asked.window, labels.wait // REVISIONS))


def _check_labels(job: JobSpec, asked: Quality, found: Collector) -> None:
    """There is one topic of labels, and one join."""
    compared = job.comparisons.labels if job.comparisons else None
    if asked.labels and compared and asked.labels != compared:
        found.add(("quality", "labels"), "left out, or the same as comparisons.labels", "other labels")


def _slices(
    job: JobSpec, asked: Quality, key: str, columns: JobColumns, found: Collector
) -> list[SegmentParams]:
    """The values are known before the job starts: all workers agree."""
    slices = []
    for index, name in enumerate(getattr(asked, key)):
        location, field = ("quality", key, index), job.source.columns.get(name)
        if name not in columns.columns and not found.is_unknown(name):
            known = ", ".join(columns.columns)
            found.add(
                location, f"a column of the job ({known})", repr(name), name=name, choices=columns.columns
            )
        elif field and field.values:
            values = tuple(str(value) for value in field.values)
            slices.append(SegmentParams(name, values[: asked.max_segments]))
        elif name in columns.columns and columns[name].type == "boolean":
            slices.append(SegmentParams(name, ("false", "true")))
        elif not found.is_unknown(name):
            expected = "a boolean column, or one with `values` in source.schema"
            found.add(location, expected, repr(name))
    return slices
