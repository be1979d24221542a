"""What all pages are built of: the page around its body, and tables. Texts of others are escaped before."""

from __future__ import annotations

from collections.abc import Sequence


def page(title: str, style: str, body: str) -> str:
    """A whole page that needs nothing but itself."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body>{body}</body></html>\n"
    )


def table(titles: Sequence[str], rows: str) -> str:
    """A title that begins with > is over numbers; one that begins with ~ is left out on a narrow screen."""
    head = "".join(map(_title, titles))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _title(title: str) -> str:
    name = title.lstrip("~>")
    kinds = [kind for sign, kind in (("~", "spare"), (">", "n")) if sign in title[: len(title) - len(name)]]
    return f'<th class="{" ".join(kinds)}">{name}</th>' if kinds else f"<th>{name}</th>"


def stacked_table(titles: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]]) -> str:
    """Cells are classes and HTML; on a narrow screen each row becomes a list of them with their titles."""
    names = [title.removeprefix(">") for title in titles]
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}" data-title="{name}">{cell}</td>'
            for name, (kind, cell) in zip(names, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="stack">{table(titles, body)}</div>'


def beginning(worst: str, first: str) -> tuple[str, str]:
    """A cell: when the worst of something began, and the first sign of it where that was before."""
    sign = f" <span>(first sign {first})</span>" if first != worst else ""
    return "when", f"<span>{worst}</span>{sign}"


def contents(links: Sequence[tuple[str, str]]) -> str:
    """Places on the page by their ids, with their names."""
    items = "".join(f'<li><a href="#{place}">{name}</a></li>' for place, name in links)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def wide_table(titles: Sequence[str], rows: str, *, fit: bool = False) -> str:
    """One that may be wider than the page. If it is to `fit`, cells wrap on a narrow screen.

    Cells below a title that begins with ~ are to be of the class `spare`.
    """
    return f'<div class="wide{" fit" * fit}">{table(titles, rows)}</div>'
