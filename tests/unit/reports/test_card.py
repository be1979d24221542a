"""Model cards: all that a version says, by a maker who may mean harm to who reads the page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.registry import Registry
from flink_jobs.registry.sign import sign
from tests.helpers.registered import write
from udfs.model.manifest import Lineage, digest
from udfs.profile.profile import reference_profile

ALICE = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
EVIL = "<script>alert(1)</script> [x](javascript:alert(1)) | a | `b` ![i](http://e/i) \x1b[2J \u202e # h"

_PAGE, _TABLE = (
    {"html", "head", "meta", "title", "style", "body"},
    {"table", "thead", "tbody", "tr", "th", "td"},
)
ALLOWED = _PAGE | _TABLE | {"h1", "h2", "p", "b"}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    rows = pa.table({"a": np.arange(400.0), "place": ["north", "south"] * 200})
    found = Registry(tmp_path / "models")
    write(
        found,
        training={"purpose": "Finds fraud.", "limits": f"Not for {EVIL}", "rows": 2, EVIL: EVIL},
        metrics={"auc": 0.875},
        lineage=Lineage(code="abc123", parameters={"depth": 3}),
        profile=reference_profile(rows.select(["a"]), segments=rows.select(["place"])),
    )
    sign(found, "fraud", 1, ALICE)
    return found


def card(registry: Registry, *words: str) -> str:
    done = CliRunner().invoke(app, ["models", "card", "fraud", "--registry", str(registry.root), *words])
    assert done.exit_code == 0, done.exception
    return done.stdout


class Page(HTMLParser):
    """The tags of a page, with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Any]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_card_says_what_is_so(registry: Registry, tmp_path: Path) -> None:
    card(registry, "--output", str(tmp_path / "card.html"))
    for text in (Page((tmp_path / "card.html").read_text()).text, Page(_rendered(card(registry))).text):
        for said in ("fraud version 1", "Finds fraud.", "0.875", "abc123", "400 rows", "north", "Limits"):
            assert said in text
        assert digest(registry.manifest("fraud", 1)) in text
        assert "joblib, runs code of its maker" in text


def _rendered(markdown: str) -> str:
    return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


def test_what_a_maker_says_is_no_markup(registry: Registry, tmp_path: Path) -> None:
    card(registry, "--output", str(tmp_path / "card.html"))
    page = (tmp_path / "card.html").read_text()
    markdown = card(registry)
    for text in (page, _rendered(markdown)):
        found = Page(text)
        assert {tag for tag, _ in found.tags} <= ALLOWED
        assert "<script>alert(1)</script> [x](javascript:alert(1)) | a | `b`" in found.text
        assert not set(text) & {"\x1b", "\u202e"}
        assert "\\x1b[2J" in found.text
    assert [tag for tag, _ in Page(_rendered(markdown)).tags].count("h2") == 8


def test_a_damaged_version_says_so(registry: Registry) -> None:
    path = registry.folder("fraud", 1) / "golden.parquet"
    path.chmod(0o644)
    path.write_bytes(b"x")
    assert "| files | FAILED |" in card(registry)


def test_what_cannot_be_written(registry: Registry, tmp_path: Path) -> None:
    where = ["models", "card", "fraud", "--registry", str(registry.root), "--output"]
    for path, said in (("card.pdf", "ends in .md or .html"), ("no/card.md", "No such file or directory")):
        done = CliRunner().invoke(app, [*where, str(tmp_path / path)])
        assert said in str(done.exception)
