"""What a worker needs to know, as plain data that Flink can pickle."""

from __future__ import annotations

from typing import Any

import msgspec

from udfs.features import DerivedParams, FeatureParams
from udfs.features.columns import Column
from udfs.model.signatures import Trust
from udfs.profile.params import CollectParams
from udfs.quality.params import LabelWait, QualityCount
from udfs.records.beside import BesideParams
from udfs.records.cloudevents import event_headers
from udfs.records.contract import Contract, Field
from udfs.records.debezium import EnvelopeParams
from udfs.records.event_time import EventTimeField
from udfs.records.formats import FormatParams
from udfs.records.output_schema import OutputSchema
from udfs.records.personal import PrivacyParams
from udfs.records.problems import Problem
from udfs.releases.chain import ReleaseTrust
from udfs.types import ColumnType

RECORD_CONTEXT = (("partition", "_partition"), ("offset", "_offset"), ("event_time", "event_time"))

PREDICTION_FIELDS = frozenset(
    [
        "prediction",
        "score",
        "probabilities",
        "model",
        "version",
        "digest",
        "release",
        "topic",
        "partition",
        "offset",
        "event_time",
        "explanation",
        "window_start",
        "window_end",
        "records",
    ]
)


class DeadRate(msgspec.Struct, frozen=True):
    """At most this share of the last `over` records of an instance may be dead letters, to `topic`."""

    share: float
    over: int
    topic: str


class RuleParams(msgspec.Struct, frozen=True):
    """What must not be false of a record: its name, text and expression, and what that takes of lists."""

    name: str
    text: str
    tree: Any
    taken: tuple[DerivedParams, ...] = ()

    @property
    def column(self) -> str:
        """The column that says whether it holds; no other has a space in its name."""
        return f"rule {self.name}"

    @property
    def problem(self) -> Problem:
        """That of a record of which it is false."""
        return Problem("contract", "rule", f"{self.name}: {self.text:.200} does not hold")


class SourceParams(msgspec.Struct, frozen=True):
    """How records of the source are read; with `counted`, a monitor is told of dead and late ones.

    `privacy` says what becomes of the personal data in them on its way out, `max_dead` when the job stops.
    `beside` are the key and the headers that have columns, `accounts_of` the job whose accounts are written.
    `taken` are columns made of lists, which go no further than that. `rules` must not be false.
    `vectors` are lists of that size of which each element is a column.
    """

    topic: str
    contract: Contract
    max_bytes: int = 512_000
    event_time: EventTimeField | None = None
    counted: CollectParams | None = None
    written: FormatParams = FormatParams()
    privacy: PrivacyParams = PrivacyParams()
    max_dead: DeadRate | None = None
    beside: tuple[BesideParams, ...] = ()
    accounts_of: str | None = None
    taken: tuple[DerivedParams, ...] = ()
    rules: tuple[RuleParams, ...] = ()
    vectors: dict[str, int] = {}

    @property
    def events(self) -> EnvelopeParams | None:
        """How records are CloudEvents, if they are."""
        envelope = self.written.envelope
        return envelope if envelope and envelope.kind == "cloudevents" else None

    @property
    def parts(self) -> tuple[str | None, ...]:
        """What workers are given of a record beside its value: the names of headers, None for the key."""
        events = event_headers(self.contract, self.events.fields) if self.events else ()
        return (*events, *(part.header for part in self.beside))

    @property
    def fields(self) -> tuple[Field, ...]:
        """All columns that a record itself has."""
        return (*self.contract.fields, *(field for part in self.beside for field in part.contract.fields))


class PackParams(msgspec.Struct, frozen=True):
    """How valid records go to the shards of their keys; `shard_keys` are Flink's keys, one for each shard.

    Each of `conditions` becomes a boolean column, by which windows tell what counts.
    """

    source: SourceParams
    by: tuple[str, ...]
    shard_keys: tuple[int, ...]
    conditions: tuple[DerivedParams, ...] = ()


class WarmParams(msgspec.Struct, frozen=True):
    """How records that are read once more go to the shards of their keys: of each the columns `kept`."""

    pack: PackParams
    kept: tuple[tuple[str, ColumnType], ...]


class ChangesParams(msgspec.Struct, frozen=True):
    """How records of a topic become changes of a table, and go to the shards of their keys.

    The contract of `source` has the columns `by` of the job for the key, which are at the same place in
    records' own keys, and those of `select`, which are looked up. `deleted_by` is the column that says what a
    change was.
    """

    source: SourceParams
    by: tuple[str, ...]
    select: tuple[str, ...]
    shard_keys: tuple[int, ...]
    deleted_by: str | None = None


class FollowParams(msgspec.Struct, frozen=True):
    """How a worker follows the release log of `model` in `folder`, the path or URI `models/<name>`.

    `columns` are all that a later version may be fed; of these `watched` are compared with its reference, but
    for those that are ids by it, unless they are `named`.
    `elements` are columns of vectors, which are watched by their measures.
    `trust` is what is demanded of the log.
    """

    model: str
    folder: str
    columns: dict[str, Column]
    renamed: dict[str, str]
    refresh_ms: int = 10_000
    watched: frozenset[str] = frozenset()
    named: bool = False
    elements: frozenset[str] = frozenset()
    trust: ReleaseTrust = ReleaseTrust()


class ModelParams(msgspec.Struct, frozen=True):
    """Which version scores; `inputs` are (name, column, type) in the order of the model's signature.

    `folder` is the path or URI of the version, `trust` what is demanded of it before it is loaded. With
    `follow` it is only the one that the plan was made with: the release log decides for each record.
    """

    folder: str
    digest: str
    release: int | None
    inputs: tuple[tuple[str, str, ColumnType], ...]
    threshold: float = 0.5
    trust: Trust = Trust()
    follow: FollowParams | None = None


class RolloutParams(msgspec.Struct, frozen=True):
    """How versions are compared: per window of event time, and how long a batch waits for a shadow."""

    window_ms: int
    shadow_timeout_ms: int = 1_000


class LabelParams(msgspec.Struct, frozen=True):
    """How a record with a label is read: its fields, and the windows that labels are counted in.

    `compared`: versions are beside each other; with `quality` and `wait` windows are of the records' time.
    """

    key: str
    field: str
    window_ms: int
    compared: bool = True
    quality: QualityCount | None = None
    wait: LabelWait | None = None


class OutputParams(msgspec.Struct, frozen=True):
    """What a prediction repeats of its record.

    `context` are (field, column) pairs that always follow the score; `explain` contributions of inputs to the
    score are added. It is written by the `schema`, or as JSON without one. One of more than `max_bytes` is
    none. `headers` are those of the record's that go along, where records pass through Python's state.
    """

    include: tuple[str, ...] = ()
    context: tuple[tuple[str, str], ...] = RECORD_CONTEXT
    explain: int = 0
    schema: OutputSchema | None = None
    max_bytes: int = 900_000
    headers: tuple[str, ...] = ()


class ScoreParams(msgspec.Struct, frozen=True):
    """All that a worker needs to know, as plain data. Without a model, included columns are the result.

    `label_key` is the column by which labels find their records, None where there are no labels.
    """

    source: SourceParams
    features: FeatureParams
    model: ModelParams | None
    output: OutputParams
    drift: CollectParams | None = None
    rollout: RolloutParams | None = None
    quality: QualityCount | None = None
    label_key: str | None = None
