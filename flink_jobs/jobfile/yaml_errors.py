"""Explains the YAML parser's errors to the person who wrote the text."""

from __future__ import annotations

from ruamel.yaml.error import YAMLError

from flink_jobs.errors import Diagnostic

_MEANINGS = (
    ("'\\t'", "indented with spaces", "a tab"),
    (
        "mapping values are not allowed",
        "valid YAML",
        "a ':' where no mapping can start (wrong indentation, or text that needs quotes)",
    ),
    ("expected ':'", "valid YAML", "a line without the ':' after its key"),
    ("expected ',' or '}'", "valid YAML", "a { } that does not end, or a comma that is missing in it"),
    ("expected ',' or ']'", "valid YAML", "a [ ] that does not end, or a comma that is missing in it"),
    ("expected <block end>", "valid YAML", "a line that is indented unlike its neighbours"),
)


_CONTEXTS_WHERE_IT_BEGINS = ("while scanning a simple key", "while scanning a quoted", "while parsing a flow")


def explain(error: YAMLError, text: str) -> Diagnostic:
    """One mistake, where it begins. The text itself is not quoted: it may hold secrets."""
    problem = str(getattr(error, "problem", None) or "")
    context = str(getattr(error, "context", None) or "")
    line, column = _position(error, text)
    if "expected ',' or" in problem and "${" in _line_text(text, line):
        expected = "valid YAML, in which ${NAME} needs quotes inside { } and [ ]"
        return Diagnostic((), expected, "no quotes", line=line, column=column)
    if context.startswith(_CONTEXTS_WHERE_IT_BEGINS):
        line, column = _position(error, text, "context_mark")
    return Diagnostic((), *_meaning(problem, context), line=line, column=column)


def _meaning(problem: str, context: str) -> tuple[str, str]:
    """What was expected and what was found."""
    if "unexpected end of stream" in problem and "quoted scalar" in context:
        return "valid YAML", "a quote that is never closed"
    for part, expected, found in _MEANINGS:
        if part in problem:
            return expected, found
    return "valid YAML", f"an error: {problem}" if problem else "a control character"


def _position(error: YAMLError, text: str, mark: str = "problem_mark") -> tuple[int, int]:
    found = getattr(error, mark, None)
    if found is not None:
        return int(found.line) + 1, int(found.column) + 1
    position = getattr(error, "position", 0)
    before = text[: position if isinstance(position, int) else 0]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _line_text(text: str, line: int) -> str:
    return next(iter(text.splitlines()[line - 1 : line]), "")
