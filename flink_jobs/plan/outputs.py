"""Lists all outputs of jobs: when they are there, what they hold, and how they are filled.

>>> [output.name for output in OUTPUTS if output.account]
['predictions', 'dead_letters', 'late']

The name is the section of the job file, the sink in SQL and the attribute of `flink_jobs.testing.Results`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flink_jobs.plan import sql
from flink_jobs.plan.flink_options import LARGEST_KEY, largest_message
from flink_jobs.spec import JobSpec
from udfs.records.envelope import KEY_HEADER
from udfs.records.headers import LEFT_OUT
from udfs.records.personal import PrivacyParams, RecordTreatment
from udfs.scoring.outcomes import PREDICTED
from udfs.scoring.rows import KIND, PREDICTION, PROBLEM, SAFE_KEY, SHADOW, RowColumn

SCORED_VIEW = "scored"
# The name of the key of an envelope is in the envelope, from its fifth byte on.
_NOTHING = "CAST(NULL AS BYTES)"
# Of text, of which a character has at most four bytes.
_HEADERS_SIZE = "4 * COALESCE(CHAR_LENGTH(CAST(_headers AS STRING)), 0)"
# What is kept free beside a whole record, in bytes.
_OUR_HEADERS = 65_536
# Of a header that a prediction gets, in bytes.
LARGEST_HEADER = 1024
_SEALED_WITH = "SUBSTRING(DECODE(_value, 'ISO-8859-1'), 5, 8)"


@dataclass(frozen=True)
class Decided:
    """Queries of the rows of outputs: `dead` and `late` of whole records, the others of keys and values.

    Where privacy has records encrypted, `_value` is the envelope.
    """

    job: JobSpec
    privacy: PrivacyParams
    predictions: str
    dead: str
    late: str
    shadows: str
    accounts: str


def result_field(column: RowColumn) -> str:
    """A column of a UDF's result, in a query that names its table r."""
    return f"r._result.{column.name}"


def selected(column: RowColumn) -> str:
    """The same under the column's own name."""
    return f"{result_field(column)} AS {column.name}"


def is_kind(kind: int) -> str:
    """The condition for rows of this kind; nothing but a UDF's result decides where a record goes."""
    return f"{result_field(KIND)} = {kind}"


def scored_predictions(job: JobSpec, privacy: PrivacyParams) -> str:
    """Keys and predictions of the rows of the scored view, with headers where these go along."""
    columns = f"{_scored_key(privacy)} AS _key, {result_field(PREDICTION)} AS _value"
    columns += ", _headers" if job.predictions.headers else ""
    return f"SELECT {columns} FROM {SCORED_VIEW} AS r WHERE {is_kind(PREDICTED)}"


def scored_shadows(privacy: PrivacyParams) -> str:
    """Keys and what shadows say, likewise."""
    shadow = result_field(SHADOW)
    columns = f"{_scored_key(privacy)} AS _key, {shadow} AS _value"
    return f"SELECT {columns} FROM {SCORED_VIEW} AS r WHERE {shadow} IS NOT NULL"


def accounts(account: str, rows: str) -> str:
    """The accounts of batches, by the expression of the account and the rows that have it."""
    return f"SELECT CAST(NULL AS BYTES), {account} FROM {rows} WHERE {account} IS NOT NULL"


def _scored_key(privacy: PrivacyParams) -> str:
    return result_field(SAFE_KEY) if privacy.key else "_key"


def _with_short_keys(rows: str, columns: str = "") -> str:
    """Keys and predictions; a key may be small on the wire and large when it is unpacked."""
    key = f"CASE WHEN {sql.size('_key')} <= {LARGEST_KEY} THEN _key END"
    return f"SELECT {key}, _value{columns}\nFROM ({rows})"


def _predictions(decided: Decided) -> str:
    """With the headers of the record that its prediction gets; null ones are not written."""
    names = decided.job.predictions.headers
    given = ", ".join(f"{sql.text(name)}, {_short(f'_headers[{sql.text(name)}]')}" for name in names)
    return _with_short_keys(decided.predictions, f", MAP[{given}]" if names else "")


def _short(header: str) -> str:
    return f"CASE WHEN {sql.size(header)} <= {LARGEST_HEADER} THEN {header} END"


def _dead_letters(decided: Decided) -> str:
    reasons = ("stage", "reason", "message", "model")
    problem = {f"tailrace.{key}": f"JSON_VALUE({PROBLEM.name}, '$.{key}')" for key in reasons}
    return _whole(decided.privacy.dead, decided.job, problem, decided.dead)


def _late(decided: Decided) -> str:
    return _whole(decided.privacy.late, decided.job, {}, decided.late)


def _whole(treatment: RecordTreatment, job: JobSpec, problem: Mapping[str, str], rows: str) -> str:
    """Whole records with headers; without personal data only the headers that are ours.

    A record may be small on the wire and larger than any that can be written when it is unpacked.
    """
    added = {**_coordinates(job), **problem}
    if treatment == "drop":
        return f"SELECT {_NOTHING}, {_NOTHING}, {sql.headers(added)}\nFROM ({rows})"
    key, headers, size = (
        "_key",
        _headers(added),
        f"{sql.size('_key')} + {sql.size('_value')} + {_HEADERS_SIZE}",
    )
    if treatment == "encrypt":
        key, headers, size = _NOTHING, sql.headers({**added, KEY_HEADER: _SEALED_WITH}), sql.size("_value")
    fits = f"_size <= {largest_message(job.source.max_bytes) - _OUR_HEADERS}"
    without = sql.headers({**added, LEFT_OUT: "CAST(_size AS STRING)"})
    return (
        f"SELECT CASE WHEN {fits} THEN {key} END, CASE WHEN {fits} THEN _value END, "
        f"CASE WHEN {fits} THEN {headers} ELSE {without} END\nFROM (SELECT *, {size} AS _size FROM ({rows}))"
    )


def _coordinates(job: JobSpec) -> dict[str, str]:
    """Headers that say which record it was."""
    return {
        "tailrace.job": sql.text(job.job),
        "tailrace.topic": sql.text(job.source.topic),
        "tailrace.partition": "CAST(_partition AS STRING)",
        "tailrace.offset": "CAST(_offset AS STRING)",
        "tailrace.timestamp": "CAST(_timestamp AS STRING)",
        "tailrace.at": "CAST(CURRENT_TIMESTAMP AS STRING)",
    }


def _headers(added: Mapping[str, str]) -> str:
    """The record's own headers and ours; ours win."""
    return f"MAP_UNION(COALESCE(_headers, MAP['tailrace.job', X'']), {sql.headers(added)})"


@dataclass(frozen=True)
class Output:
    """A topic that a job writes, with a key and a value.

    `carries` is what `describe` says of it; {row} and {included} are filled in.
    `select` is the query of its rows, None for a report on windows: `run.reports` writes that, to a topic
    of one partition.
    `account` is its name in accounts, where each record that was read has one outcome.
    `needs`: one of these sections must be there too, else nothing fills it.
    `whole_records` are original bytes with headers, for which the topic must take the largest message;
    `encrypted` and `dropped` are what it carries where these are treated so.
    """

    name: str
    carries: str
    select: Callable[[Decided], str] | None = None
    account: str | None = None
    whole_records: bool = False
    encrypted: str = ""
    dropped: str = ""
    needs: tuple[str, ...] = ()

    @property
    def is_report(self) -> bool:
        return self.select is None

    def columns(self, job: JobSpec) -> tuple[str, ...]:
        """The sink's columns as SQL lines."""
        with_headers = self.whole_records or (self.name == "predictions" and job.predictions.headers)
        headers = ("_headers MAP<STRING, BYTES> METADATA FROM 'headers'",) if with_headers else ()
        return ("_key BYTES", "_value BYTES", *headers)

    def written_by(self, job: JobSpec) -> bool:
        filled = not self.needs or any(getattr(job, section) is not None for section in self.needs)
        return filled and getattr(job, self.name) is not None

    def topic(self, job: JobSpec) -> str:
        return str(getattr(job, self.name).topic)


OUTPUTS = (
    Output(
        "predictions",
        "one for each {row}{included}",
        _predictions,
        account="predicted",
    ),
    Output(
        "dead_letters",
        "what cannot be scored: original bytes, reason in headers",
        _dead_letters,
        account="dead",
        whole_records=True,
        encrypted="what cannot be scored: the record encrypted, reason in headers",
        dropped="what cannot be scored: reason in headers, no record",
    ),
    Output(
        "late",
        "records that the watermark has passed, whole",
        _late,
        account="late",
        whole_records=True,
        encrypted="records that the watermark has passed, encrypted",
        dropped="where records stand that the watermark has passed, no record",
    ),
    Output(
        "shadows",
        "what shadow versions say of each record",
        lambda decided: _with_short_keys(decided.shadows),
    ),
    Output(
        "accounting",
        "what became of each range of offsets, with a checksum",
        lambda decided: decided.accounts,
    ),
    Output("drift", "one for each window and segment, compared with the reference"),
    Output("alerts", "what fires and what is over", needs=("drift", "comparisons", "quality")),
    Output("comparisons", "versions beside each other, per window"),
    Output("quality", "how right the model is, for each window and segment"),
)


def outputs_of(job: JobSpec) -> tuple[Output, ...]:
    """Those that the job writes."""
    return tuple(output for output in OUTPUTS if output.written_by(job))
