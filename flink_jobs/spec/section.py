"""The base of all sections of a job file: known keys only, no coercion, frozen."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from flink_jobs.errors import Location
from flink_jobs.spec.scalars import matching


class Section(BaseModel):
    """A mapping of the job file."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        validate_default=True,
        hide_input_in_errors=True,
    )


def one_or_more(value: Any) -> Any:
    """A text alone as a list."""
    return [value] if isinstance(value, str) else value


Topic = Annotated[
    str,
    matching(
        r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}",
        "a Kafka topic name: at most 249 letters, digits, '.', '_' and '-'",
    ),
]
Reference = Annotated[str, matching(r"[^\s(),]{1,200}", "the name of a column")]
References = Annotated[tuple[Reference, ...], Field(strict=False)]
OneOrMoreReferences = Annotated[
    tuple[Reference, ...], Field(strict=False, min_length=1), BeforeValidator(one_or_more)
]


def known_keys(root: type[Section], location: Location) -> tuple[str, ...]:
    """The keys that the section at `location` below `root` may have."""
    kind: Any = root
    for key in location:
        kind = _kind_below(kind, str(key))
    return tuple(field.alias or name for name, field in kind.model_fields.items())


def _kind_below(kind: Any, key: str) -> Any:
    if not (isinstance(kind, type) and issubclass(kind, Section)):
        return _bare(get_args(kind)[1])
    fields = {field.alias or name: field for name, field in kind.model_fields.items()}
    return _bare(fields[key].annotation)


def _bare(annotation: Any) -> Any:
    """The type without Annotated and None around it."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return annotation
