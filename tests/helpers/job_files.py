"""A whole job file, and what can be wrong in it: tests/unit/jobfile/wrong_files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from ruamel.yaml import YAML

HERE = Path(__file__).parents[1] / "unit" / "jobfile"


GOOD = (HERE / "wrong_files" / "good.yaml").read_text()


ENVIRON = {"KAFKA_PASSWORD": "hunter2", "KAFKA_BROKERS": "kafka:9092", "PARALLELISM": "many"}


@dataclass(frozen=True)
class WrongFile:
    name: str
    change: tuple[tuple[str, str], ...]
    message: str
    seen_by_schema: bool = True

    def text(self) -> str:
        text = GOOD
        for old, new in self.change:
            assert old in text, f"{self.name}: {old!r} is not in good.yaml"
            text = text.replace(old, new, 1)
        return text


def wrong_files() -> list[WrongFile]:
    cases = YAML(typ="safe", pure=True).load(HERE / "wrong_files" / "cases.yaml")
    return [WrongFile(**case | {"change": tuple(map(tuple, case["change"]))}) for case in cases]


WRONG_FILES = wrong_files()


def parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)


KEYS = st.sampled_from(sorted(set(GOOD.replace(":", " ").split()))) | st.text(max_size=5)


TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def places(data: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [found for key, value in inner for found in [(*place, key), *places(value, (*place, key))]]


GOOD_DATA = parsed(GOOD)


PLACES = places(GOOD_DATA)
