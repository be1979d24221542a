"""A model card: what a version is for, made of and worth, who vouches for it, and its limits.

    card = model_card(registry, "flight_delay", 1)
    card_markdown(card), card_html(card)

All of it is in the version's files, which its digest covers. The maker's own words are `purpose` and `limits`
of `training` in the manifest: `about` in train.py. After Mitchell et al., Model Cards for Model Reporting
(2019).
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flink_jobs.registry import Registry
from flink_jobs.registry.verify import files_and_signatures
from flink_jobs.reports.style import STYLE
from flink_jobs.system.terminal import plain
from udfs.errors import ModelError
from udfs.model.format_table import FORMATS
from udfs.model.loading import verified_file
from udfs.model.manifest import PROFILE_FILE, Lineage, Manifest, digest
from udfs.profile.reference import Reference, parse_reference

WORDS = ("purpose", "limits")
Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A heading, sentences, and a table whose first row names its columns."""

    heading: str
    sentences: tuple[str, ...] = ()
    table: Rows = ()


@dataclass(frozen=True)
class Card:
    """The sections of a version's card, in order."""

    title: str
    sections: tuple[Section, ...]


def model_card(registry: Registry, name: str, version: int) -> Card:
    """Raises InputError when there is no such version."""
    manifest = registry.manifest(name, version)
    reference = _reference(registry.location(name, version), manifest)
    return Card(
        f"{name} version {version}",
        (
            Section("Purpose", (_words(manifest, "purpose"), _predicts(manifest))),
            Section("Data", table=_pairs(_data(manifest))),
            Section("Inputs", table=_inputs(manifest)),
            _metrics(manifest),
            *_by_segment(manifest),
            _drift(reference),
            Section("Lineage", table=_pairs(_lineage(manifest))),
            _signatures(registry, name, version, manifest),
            Section("Limits", (_words(manifest, "limits"), *_limits(manifest))),
        ),
    )


def card_markdown(card: Card) -> str:
    """Markdown in which nothing of the version is markup."""
    lines = [f"# {_text(card.title)}", ""]
    for section in card.sections:
        lines += [f"## {section.heading}", ""]
        lines += [line for sentence in section.sentences for line in (_text(sentence), "")]
        if section.table:
            head, *rows = section.table
            lines.append(_line(head))
            lines.append("|" + "---|" * len(head))
            lines += [*map(_line, rows), ""]
    return "\n".join(lines)


def card_html(card: Card) -> str:
    """One page without scripts and without anything from elsewhere."""
    body = "".join(_html_section(section) for section in card.sections)
    title = html.escape(plain(card.title))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{STYLE}</style></head><body><h1>Model card</h1>"
        f'<p class="headline calm"><b>{title}</b></p>{body}</body></html>\n'
    )


def _html_section(section: Section) -> str:
    told = "".join(f"<p>{html.escape(plain(sentence))}</p>" for sentence in section.sentences)
    if not section.table:
        return f"<h2>{section.heading}</h2>{told}"
    rows = [
        "".join(f"<{tag}>{html.escape(plain(cell))}</{tag}>" for cell in row)
        for tag, row in zip(["th", *["td"] * len(section.table)], section.table, strict=False)
    ]
    return f"<h2>{section.heading}</h2>{told}<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _words(manifest: Manifest, key: str) -> str:
    told = manifest.training.get(key)
    return str(told) if told else f"Its maker does not say ({key} in about of train.py)."


def _predicts(manifest: Manifest) -> str:
    output = manifest.signature.output
    classes = f" of {', '.join(map(str, output.classes))}" if output.classes else ""
    return f"Predicts a {output.kind} output{classes} from {len(manifest.signature.inputs)} inputs."


def _data(manifest: Manifest) -> dict[str, Any]:
    left_out = (*WORDS, "parameters", "search", "predictions_digest", "segments")
    return {
        key: value for key, value in manifest.training.items() if key not in left_out and value is not None
    }


def _inputs(manifest: Manifest) -> Rows:
    rows = (
        (item.name, item.type, "yes" if item.nullable else "never", ", ".join(map(str, item.values)))
        for item in manifest.signature.inputs
    )
    return (("input", "type", "may be missing", "values"), *rows)


def _metrics(manifest: Manifest) -> Section:
    note = "As its maker measured them. tailrace backtest compares versions over time and by segment."
    return Section(
        "Metrics", (note,), _pairs(manifest.metrics, ("metric", "value")) if manifest.metrics else ()
    )


def _by_segment(manifest: Manifest) -> Iterator[Section]:
    segments = manifest.training.get("segments")
    found = [
        (str(column), str(value), metrics)
        for column, values in (segments.items() if isinstance(segments, dict) else ())
        for value, metrics in (values.items() if isinstance(values, dict) else ())
        if isinstance(metrics, dict)
    ]
    if found:
        names = [*dict.fromkeys(str(name) for _, _, metrics in found for name in metrics)]
        rows = (
            (column, value, *(_value(metrics[name]) if name in metrics else "" for name in names))
            for column, value, metrics in found
        )
        told = "Of the rows that the metrics are of. Values with few rows, or one class only, have no others."
        yield Section("Metrics by segment", (told,), (("segment", "value", *names), *rows))


def _drift(reference: Reference | None) -> Section:
    if reference is None:
        return Section("Drift reference", ("None: drift of its inputs cannot be measured.",))
    outputs = f" and outputs {', '.join(reference.outputs)}" if reference.outputs else ""
    told = f"{reference.rows:,} rows, columns {', '.join(reference.columns) or 'none'}{outputs}."
    rows = [
        (column, value, f"{part['rows']:,}")
        for column, values in _segments(reference).items()
        for value, part in values.items()
    ]
    return Section("Drift reference", (told,), (("segment", "value", "rows"), *rows) if rows else ())


def _segments(reference: Reference) -> dict[str, dict[str, dict[str, Any]]]:
    text = bytes(reference.segments)
    return json.loads(text) if text else {}


def _lineage(manifest: Manifest) -> dict[str, Any]:
    lineage = manifest.lineage or Lineage()
    return {
        "digest": digest(manifest),
        "created": manifest.created_at,
        "format": manifest.format,
        "data": lineage.data,
        "code": lineage.code,
        "parent": lineage.parent,
        **{f"parameter {key}": value for key, value in lineage.parameters.items()},
        **{f"library {key}": value for key, value in manifest.libraries.items()},
    }


def _signatures(registry: Registry, name: str, version: int, manifest: Manifest) -> Section:
    checks = files_and_signatures(registry.location(name, version), digest(manifest))
    rows = tuple((each.check, "ok" if each.passed else "FAILED", each.detail) for each in checks)
    told = "A signature says who vouches for these bytes, not how good they are."
    return Section("Signatures", (told,), (("check", "", "found"), *rows))


def _limits(manifest: Manifest) -> Iterator[str]:
    if FORMATS[manifest.format].pickled:
        yield f"Its format, {manifest.format}, runs code of its maker when it is loaded."
    unseen = [item.name for item in manifest.signature.inputs if item.values]
    if unseen:
        yield f"It knows only the values above of {', '.join(unseen)}."
    yield f"Golden rows are reproduced within {manifest.golden_tolerance:g}."


def _reference(location: str, manifest: Manifest) -> Reference | None:
    if PROFILE_FILE not in manifest.files:
        return None
    try:
        return parse_reference(verified_file(location, PROFILE_FILE))
    except ModelError:
        return None


def _pairs(values: Mapping[str, Any], head: tuple[str, str] = ("what", "value")) -> Rows:
    return (head, *((key, _value(value)) for key, value in values.items() if value is not None))


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(_text(cell) for cell in cells) + " |"


def _text(text: str) -> str:
    """Shown as it is: characters that Markdown reads are escaped, and `<` and `&`, which HTML in it reads."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", plain(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;")
