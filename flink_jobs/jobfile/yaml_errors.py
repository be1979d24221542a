"""What the YAML parser's errors mean for the person who wrote the text."""

from __future__ import annotations

from ruamel.yaml.error import YAMLError

from flink_jobs.spec.diagnostics import Diagnostic

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
    """One mistake with the line where it begins. The text itself is not quoted: it may hold secrets."""
    problem = str(getattr(error, "problem", None) or "")
    context = str(getattr(error, "context", None) or "")
    line = _line(error, text)
    if "expected ',' or" in problem and "${" in _line_text(text, line):
        return Diagnostic(
            (), "valid YAML, in which ${NAME} needs quotes inside { } and [ ]", "no quotes", line=line
        )
    if context.startswith(_CONTEXTS_WHERE_IT_BEGINS):
        line = _line(error, text, "context_mark")
    return Diagnostic((), *_meaning(problem, context), line=line)


def _meaning(problem: str, context: str) -> tuple[str, str]:
    """What was expected and what was found."""
    if "unexpected end of stream" in problem and "quoted scalar" in context:
        return "valid YAML", "a quote that is never closed"
    for part, expected, found in _MEANINGS:
        if part in problem:
            return expected, found
    return "valid YAML", f"an error: {problem}" if problem else "a control character"


def _line(error: YAMLError, text: str, mark: str = "problem_mark") -> int:
    place = getattr(error, mark, None)
    if place is not None:
        return int(place.line) + 1
    position = getattr(error, "position", 0)
    return text.count("\n", 0, position if isinstance(position, int) else 0) + 1


def _line_text(text: str, line: int) -> str:
    return next(iter(text.splitlines()[line - 1 : line]), "")
