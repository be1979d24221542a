"""The rooms keep their layers: contracts hold, no circle at any depth, the page's drawing is theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import grimp
import pytest
from importlinter.cli import lint_imports

from tests.helpers.layers import PROJECT, PYPROJECT, drawing
from tests.helpers.pages import DOCS, blocks


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Every import: at the top, inside functions, under TYPE_CHECKING."""
    return grimp.build_graph("flink_jobs", "udfs", cache_dir=None, exclude_type_checking_imports=False)


def circles(imports: dict[str, set[str]]) -> Iterator[list[str]]:
    """Modules that import each other, directly or not: what each reaches and is reached by."""
    reached = {module: reachable(module, imports) for module in imports}
    seen: set[str] = set()
    for module in sorted(imports):
        circle = {other for other in reached[module] if module in reached[other]}
        if circle and module not in seen:
            seen |= circle
            yield sorted(circle)


def reachable(module: str, imports: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = [module]
    while todo:
        todo += (new := imports[todo.pop()] - found)
        found |= new
    return found


def test_circles_are_found_at_any_length() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert list(circles(imports)) == [["a", "b", "c"], ["d", "e"]]


def test_no_modules_import_each_other(graph: grimp.ImportGraph) -> None:
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 200
    assert list(circles(imports)) == []


def test_the_contracts_hold() -> None:
    assert lint_imports(config_filename=str(PYPROJECT), no_cache=True) == 0


def test_the_drawing_is_that_of_the_contracts() -> None:
    (drawn,) = blocks(DOCS["contributing.md"], "mermaid")
    assert drawn == drawing()


def test_test_modules_import_no_other() -> None:
    """What several of them use is in tests/helpers."""
    importing = [
        f"{path.relative_to(PROJECT)}: {line}"
        for path in sorted((PROJECT / "tests").rglob("test_*.py"))
        for line in re.findall(r"^ *(?:from|import) tests\.[\w.]*\btest_.*", path.read_text(), re.MULTILINE)
    ]
    assert importing == []
