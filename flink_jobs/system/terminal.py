"""What a terminal shows: text of records, releases and registries never reaches it as a control sequence.

    say(f"{name} is registered")                        # print, for text that may be somebody else's
    open_console().print(f"[bold]{literal(name)}[/]")          # rich, where markup is read

Escaped is what `str.isprintable` tells: C0 and C1 controls, escape sequences, bidirectional and other
invisible characters, lone surrogates. All commands print by this module, and are tried in
`tests/unit/cli/test_hostile_text.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def plain(text: str) -> str:
    r"""The text with control and other invisible characters escaped, for a line of a terminal or a page.

    >>> plain("\x1b[2Jcurrency\u202e")
    '\\x1b[2Jcurrency\\u202e'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def plain_lines(text: str) -> str:
    r"""The same, where line feeds and tabs stay.

    >>> plain_lines("a\n\tb\r\x9b")
    'a\n\tb\\r\\x9b'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def literal(text: str) -> str:
    r"""Somebody else's text for a place where rich reads markup: shown as it is, and harmless.

    >>> literal("[red]late\x9b")
    '\\[red]late\\x9b'
    """
    from rich.markup import escape  # noqa: PLC0415  # Start-up: what prints lines only needs no rich

    return escape(plain(text))


def json_line(text: str) -> str:
    r"""JSON with the same characters as its own escapes: the same data.

    >>> json_line('{"by": "\x9bA\U000e0041"}')
    '{"by": "\\u009bA\\udb40\\udc41"}'
    """
    return "".join(c if c.isprintable() or c == "\n" else _json_escape(c) for c in text)


def _json_escape(character: str) -> str:
    data = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[i]:02x}{data[i + 1]:02x}" for i in range(0, len(data), 2))


def at_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def print_json(data: object) -> None:
    """Prints data as JSON, indented."""
    import msgspec  # noqa: PLC0415  # Start-up: what prints lines only needs none

    print(json_line(msgspec.json.format(msgspec.json.encode(data), indent=2).decode()))


def say(text: str, *, error: bool = False, flush: bool = False) -> None:
    """Prints a text, of one or more lines."""
    print(plain_lines(text), file=sys.stderr if error else sys.stdout, flush=flush)


def open_console(**settings: Any) -> Console:
    """A console of rich that escapes what it is given; `settings` are those of `rich.console.Console`.

    Columns of tables fold what is too long for them, be it a name without a space: rich would cut it.
    """
    # Start-up: what prints lines only needs no rich.
    from rich.console import Console, ConsoleOptions, RenderHook  # noqa: PLC0415
    from rich.segment import Segment  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    class Escaped:
        def __init__(self, renderable: Any) -> None:
            self._renderable = renderable

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
            for segment in console.render(self._renderable, options):
                yield segment if segment.control else Segment(plain_lines(segment.text), segment.style)

    class Escaping(RenderHook):
        def process_renderables(self, renderables: list[Any]) -> list[Any]:
            for column in (
                column for each in renderables if isinstance(each, Table) for column in each.columns
            ):
                column.overflow = "fold"
            return [Escaped(each) for each in renderables]

    made = Console(**{"highlight": False, **settings})
    made.push_render_hook(Escaping())
    return made
