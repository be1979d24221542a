"""Values of the environment, in all the ways in which a message writes them, and what only looks like one."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.system.masks import SHORTEST, Masks

SECRETS = st.text(st.characters(codec="utf-8"), min_size=12, max_size=300).filter(
    lambda text: text == text.strip()
)
WRITTEN: list[Callable[[str], str]] = [
    str,
    repr,
    json.dumps,
    lambda text: "'" + text.replace("'", "''") + "'",
]


@given(SECRETS.filter(lambda text: any(char.isdigit() for char in text)), st.sampled_from(WRITTEN))
def test_a_long_value_is_hidden_wherever_and_however_it_stands(
    secret: str, write: Callable[[str], str]
) -> None:
    shown = Masks({secret: "${X}"}).hide(f"a{write(secret)}b")
    assert secret not in shown
    assert write(secret) not in shown
    assert "${X}" in shown


@pytest.mark.parametrize("kept", [40, 61, 200])
def test_what_a_message_cuts_off_is_hidden_too(kept: int) -> None:
    secret = "".join(chr(ord("a") + index % 26) + str(index) for index in range(100))
    assert Masks({secret: "${X}"}).hide(f"got '{secret[:kept]}' and more") == "got '${X}' and more"


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("prod", "topic 'prod' of product", "topic '${X}' of product"),
        ("prod", "prod.predictions", "${X}.predictions"),
        ("models", "models/tiny: see `tailrace models add`", "${X}/tiny: see `tailrace models add`"),
        ("predictions", "predictions_view and 'predictions'", "predictions_view and '${X}'"),
        ("a:1, b:2", "no broker at a:1,b:2", "no broker at ${X}"),
        ("/a/../b/c", "/b/c/planes.csv is not there", "${X}/planes.csv is not there"),
        ("s3://me:pw@bucket/m?k=v", "s3://bucket/m cannot be opened", "${X} cannot be opened"),
        ("a.*b(c", "a.*b(c axxb(c", "${X} axxb(c"),
        ("X", "X marks", "X marks"),
    ],
)  # fmt: skip
def test_words_stay_and_values_go(value: str, text: str, shown: str) -> None:
    assert Masks({value: "${X}"}).hide(text) == shown


def test_the_longest_value_wins_and_a_name_is_not_hidden_again() -> None:
    masks = Masks({"secret-1": "${A}", "secret-1.events": "${A}.events", "PASSWORD": "${B}"})
    assert masks.hide("secret-1.events secret-1 'PASSWORD'") == "${A}.events ${A} '${B}'"
    assert Masks({"value-77": "${PASSWORD}", "PASSWORD": "${B}"}).hide("value-77") == "${PASSWORD}"


def test_data_keeps_its_keys_and_numbers() -> None:
    masks = Masks({"secret-1": "${A}"})
    data = {"secret-1": ["secret-1", 1, None, {"x": "a secret-1"}]}
    assert masks.hide_in(data) == {"secret-1": ["${A}", 1, None, {"x": "a ${A}"}]}


def test_very_short_values_are_no_secrets() -> None:
    assert Masks({"a" * (SHORTEST - 1): "${X}", "": "${Y}"}).hide("aaa b") == "aaa b"
    assert Masks().hide("anything") == "anything"
