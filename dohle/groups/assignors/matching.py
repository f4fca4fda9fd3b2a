"""Matching: rows get columns, each at most one, so that the weights of the pairs sum up to the most there can be.

The Hungarian method, for few weights above nothing in many rows: rows are given prices and columns too, of which a
pair's sum is never below its weight, and equals it where they are matched. A row that comes searches for the cheapest
way to room for one more: a column that is free, or a row that may as well go without.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Mapping

from dohle.groups.assignors.plan import SLICE

_NONE = -1


def match(weights: Mapping[int, Mapping[int, int]]) -> Generator[None, None, dict[int, int]]:
    """Returns columns by row, of pairs that have a weight. `weights[row][column]` are above 0."""
    matching = _Matching(weights)
    steps = 0
    for row in weights:
        steps += matching.add(row)
        if steps > SLICE:
            steps = 0
            yield
    return matching.columns


class _Matching:
    """`columns` by row and `rows` by column: the best for the rows so far."""

    def __init__(self, weights: Mapping[int, Mapping[int, int]]) -> None:
        self.columns: dict[int, int] = {}
        self.rows: dict[int, int] = {}
        self._weights = weights
        self._row_prices: dict[int, int] = {}
        self._column_prices: dict[int, int] = {}  # none of those that are free

    def add(self, row: int) -> int:
        """Takes one more row. Returns how many steps that took."""
        prices = self._column_prices
        self._row_prices[row] = max(weight - prices.get(column, 0) for column, weight in self._weights[row].items())
        reached_rows = {row: 0}
        reached: dict[int, int] = {}
        came_from: dict[int, int] = {}
        near: list[tuple[int, int, int]] = []
        newest, at = row, 0
        last_row, least = row, self._row_prices[row]  # the cheapest of those reached that may go without
        steps = 0
        while True:
            for column, weight in self._weights[newest].items():
                if column not in reached:
                    slack = self._row_prices[newest] + prices.get(column, 0) - weight
                    heapq.heappush(near, (at + slack, column, newest))
                steps += 1
            while near and near[0][1] in reached:
                heapq.heappop(near)
            if not near or near[0][0] > least:
                column, end = _NONE, least
                break
            at, column, via = heapq.heappop(near)
            reached[column] = at
            came_from[column] = via
            if column not in self.rows:
                end = at
                break
            newest = self.rows[column]
            reached_rows[newest] = at
            if at + self._row_prices[newest] < least:
                last_row, least = newest, at + self._row_prices[newest]
        for member, distance in reached_rows.items():
            self._row_prices[member] -= end - distance
        for passed, distance in reached.items():
            if passed != column:
                prices[passed] = prices.get(passed, 0) + end - distance
        if column == _NONE:
            if last_row == row:
                return steps
            column = self.columns.pop(last_row)
        while True:
            taker = came_from[column]
            before = self.columns.get(taker, _NONE)
            self.columns[taker] = column
            self.rows[column] = taker
            if taker == row:
                return steps
            column = before
