"""Files that come with Tailrace: beside the package in a checkout, inside it where a wheel was installed.

>>> data_file("conf/pom.xml").is_file()
True
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# Of a checkout: where its files are, as people know them.
PROJECT = _PACKAGE.parent


def is_checkout(project: Path = PROJECT) -> bool:
    """Whether this runs from a checkout, and not from an installed wheel."""
    return (project / "setup.cfg").is_file() and (project / "conf" / "pom.xml").is_file()


def data_file(name: str) -> Path:
    """The file of that name, which is its path in a checkout."""
    return (PROJECT if is_checkout() else _PACKAGE / "data") / name
