"""Matchings beside the best of all that there are."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from dohle.groups.assignors.matching import match

COLUMNS = 5
WEIGHTS = st.dictionaries(
    st.integers(0, 4), st.dictionaries(st.integers(0, COLUMNS - 1), st.integers(1, 9), min_size=1), max_size=5
)


def matched(weights: dict[int, dict[int, int]]) -> dict[int, int]:
    matching = match(weights)
    while True:
        try:
            next(matching)
        except StopIteration as end:
            columns: dict[int, int] = end.value
            return columns


@settings(max_examples=500, deadline=None)
@given(WEIGHTS)
def test_no_other_pairs_weigh_more(weights: dict[int, dict[int, int]]) -> None:
    columns = matched(weights)
    assert len(set(columns.values())) == len(columns)
    rows = list(weights)
    best = max(
        sum(weights[row].get(column, 0) for row, column in zip(rows, chosen, strict=False))
        for chosen in permutations(range(COLUMNS))
    )
    assert sum(weights[row][column] for row, column in columns.items()) == best


def test_many_rows_that_want_one_column_take_turns_to_the_end() -> None:
    weights = {row: {0: 2, row + 1: 1} for row in range(3000)}
    columns = matched(weights)
    assert sum(weights[row][column] for row, column in columns.items()) == 3001
