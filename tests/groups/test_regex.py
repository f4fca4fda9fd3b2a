"""Regular expressions of subscriptions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.groups.regex import Regex
from dohle.model.group_errors import InvalidRegularExpression


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ("orders", ["orders"], ["orders-eu", "old-orders", ""]),
        ("orders.*", ["orders", "orders-eu"], ["old-orders"]),
        ("^orders$", ["orders"], ["orders2"]),
        ("a|b", ["a", "b"], ["ab", ""]),
        ("(?i)ORDERS", ["orders", "Orders"], ["order"]),
        (r"\Qa.b\E", ["a.b"], ["aXb"]),
        (r"[[:alpha:]]+\d", ["orders1"], ["orders", "1"]),
        (r"\pL+", ["orders"], ["orders1"]),
        ("(?P<name>x+)", ["x", "xx"], ["y"]),
        ("", [""], ["a"]),
    ],
)
def test_a_topic_is_meant_if_its_whole_name_matches(text: str, matching: list[str], others: list[str]) -> None:
    regex = Regex(text)
    assert all(regex.matches(name) for name in matching)
    assert not any(regex.matches(name) for name in others)


@pytest.mark.parametrize(
    "text",
    [
        "(",
        "[a",
        "a**",
        "*",
        r"(a)\1",
        "(?=a)",
        "(?<!a)b",
        "a{1001}",
        "(?:a{100}){100}",
        r"a\Z",
        "\ud800",
        "[ab]" * 50_000,
    ],
)
def test_what_is_not_of_re2_is_refused(text: str) -> None:
    with pytest.raises(InvalidRegularExpression) as refused:
        Regex(text)
    assert len(str(refused.value)) < 400


def test_the_refusal_says_what_is_wrong() -> None:
    with pytest.raises(InvalidRegularExpression, match=r"'orders\(' is no regular expression .* RE2: missing \)"):
        Regex("orders(")


@given(st.from_regex(r"(a|b|[a-c]|\.|a\*|b\+|c\?|\(a\|b\)\*){0,6}", fullmatch=True), st.text("abc.", max_size=8))
def test_simple_expressions_mean_what_they_mean_elsewhere(text: str, name: str) -> None:
    assert Regex(text).matches(name) == bool(re.fullmatch(text, name))


def test_long_expressions_take_shorter_slices() -> None:
    assert Regex("orders.*").names_at_once > 300
    assert Regex("|".join(f"topic-{number:03}" for number in range(0, 900, 7))).names_at_once < 50
