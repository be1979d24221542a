"""Finds the columns of a model that drift is watched in: inputs of its reference profile, and its outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from flink_jobs.errors import Location
from flink_jobs.plan.columns import ModelInput
from flink_jobs.plan.diagnose import Collector
from flink_jobs.plan.model import ModelVersion
from flink_jobs.spec import Drift
from udfs.profile.params import Role, VectorParams
from udfs.profile.reference import Reference
from udfs.profile.vectors import watched_vectors


@dataclass(frozen=True)
class Watched:
    """`inputs` are watched; `roles` are those of all that is, by name.

    `unsure` are names that may be watched, too, but for another mistake; None: any name may be.
    """

    inputs: tuple[ModelInput, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    unsure: frozenset[str] | None = None
    vectors: tuple[VectorParams, ...] = ()

    def check(self, names: Iterable[str], location: Location, found: Collector) -> None:
        """Adds each name that is not watched: a key of the mapping, or an item of the list, at `location`."""
        for index, name in enumerate(names):
            if not self.may_be(name):
                key = name if isinstance(names, Mapping) else index
                expected = f"a watched column ({', '.join(self.roles)})"
                found.add((*location, key), expected, repr(name), name=name, choices=self.roles)

    def may_be(self, name: str) -> bool:
        """Whether the column is watched, or may be."""
        return self.unsure is None or name in self.roles or name in self.unsure


def watched_columns(
    drift: Drift,
    version: ModelVersion,
    inputs: tuple[ModelInput, ...],
    reference: Reference,
    never: Collection[str],
    elements: Collection[str],
    found: Collector,
) -> Watched:
    """The inputs to watch: those named, or all that the reference has but ids; `never` these columns.

    Columns that are `elements` are watched by the measures of their vectors.
    """
    by_name = {
        item.name: item for item in inputs if item.name in reference.columns and item.column.name not in never
    }
    fed = {item.name: item.column.name for item in inputs}
    vectors = watched_vectors(reference.vectors, fed, elements)
    measured = [name for vector in vectors for name in vector.measures]
    unsure = frozenset(version.manifest.signature.names) - {item.name for item in inputs}
    wrong = False
    for index, name in enumerate(drift.columns):
        if name not in by_name and name not in measured and name not in unsure:
            expected = (
                "an input of the model that its reference profile has and that is not personal data "
                "or an element of a vector "
                f"({', '.join([*by_name, *measured])})"
            )
            found.add(
                ("drift", "columns", index), expected, repr(name), name=name, choices=[*by_name, *measured]
            )
            wrong = True
    # With a wrong name, or a wrong list, what was meant may be any of them.
    usual = by_name if wrong else reference.watched
    wanted = drift.columns if drift.columns and not wrong else [name for name in by_name if name in usual]
    items = tuple(by_name[name] for name in dict.fromkeys(wanted) if name in by_name)
    roles: dict[str, Role] = {
        item.name: "input" if item.column.origin.startswith("field") else "feature" for item in items
    }
    if drift.columns and not wrong:
        vectors = watched_vectors(reference.vectors, fed, elements, drift.columns)
    roles |= {name: "feature" for vector in vectors for name in vector.measures}
    roles |= {name: "score" if name == "score" else "prediction" for name in reference.outputs}
    return Watched(items, roles, unsure, vectors)
