"""Where the schemas of a topic are: a registry's address, and what it calls them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flink_jobs.errors import Location
from flink_jobs.spec.diagnostics import describe, wrong, wrong_at
from flink_jobs.spec.http_access import HttpAccess, WebUrl
from flink_jobs.spec.paths import AbsolutePath
from flink_jobs.spec.scalars import Duration, matching

_NAMED = r"[^\x00-\x1f\x7f]{1,500}"


class SchemaRegistry(HttpAccess):
    """A schema registry with Confluent's API: each record begins with the id of its schema."""

    url: WebUrl = Field(description="Address of the registry's API.")
    ca_file: AbsolutePath | None = Field(default=None, description="PEM file of the registry's authority.")
    subject: Annotated[str, matching(_NAMED, "the name of a subject")] | None = Field(
        default=None,
        description="Subject of the topic's schemas, or of predictions; default: by the strategy.",
    )
    strategy: Literal["topic", "record", "topic_record"] = Field(
        default="topic",
        description="What subjects are called: the topic with -value; the record's name; topic-record.",
    )
    record: Annotated[str, matching(_NAMED, "the full name of a record, shop.Payment")] | None = Field(
        default=None,
        description="Full name of the records' type, of Protobuf the message, of JSON Schema the title.",
    )
    wait: Duration = Field(
        default="30s",
        validate_default=True,
        description="How long records with an unknown id wait for a registry that does not answer.",
    )

    def subject_of(self, topic: str) -> str:
        """What the registry calls the schemas of the topic's values."""
        if self.subject:
            return self.subject
        by_strategy = {"record": f"{self.record}", "topic_record": f"{topic}-{self.record}"}
        return by_strategy.get(self.strategy, f"{topic}-value")

    @property
    def of_topics(self) -> bool:
        """Whether subjects are called by their topics alone, those of keys too."""
        return self.strategy == "topic" and self.subject is None

    @model_validator(mode="after")
    def _check_subject(self) -> SchemaRegistry:
        if errors := dict(self._subject_errors()):
            raise wrong_at(errors)
        return self

    def _subject_errors(self) -> Iterator[tuple[Location, PydanticCustomError]]:
        if self.strategy == "topic":
            return
        if self.subject:
            yield ("strategy",), wrong("left out, as the subject is given", describe(self.strategy))
        elif not self.record:
            yield ("record",), wrong(f"given, as the strategy is {self.strategy}", "nothing")
