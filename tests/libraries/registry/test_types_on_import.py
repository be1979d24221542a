"""All that workers decode is known to msgspec before there are threads: see `udfs.model.manifest`."""

from __future__ import annotations

import ast

from flink_jobs.system.jars import PROJECT


def learns_late(node: ast.AST) -> bool:
    """Whether it is a call such as msgspec.json.decode(data, type=Kind), which learns the type then."""
    if not (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("msgspec.")):
        return False
    return node.func.attr == "decode" and any(word.arg == "type" for word in node.keywords)  # type: ignore[attr-defined]


def test_workers_learn_no_type_while_they_run() -> None:
    assert learns_late(ast.parse("msgspec.json.decode(data, type=Kind)").body[0].value)  # type: ignore[attr-defined]
    late = [
        f"{path.relative_to(PROJECT)}:{node.lineno}"
        for path in sorted((PROJECT / "udfs").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.expr) and learns_late(node)
    ]
    assert late == []
