"""What is told of a rebalance when it has ended."""

from __future__ import annotations

from dohle.groups.rebalances import Cause, Rebalance, Rebalances, Who

ANNA = Who("anna-1", None, "anna", "/10.0.0.1")
BERT = Who("bert-1", "bert", "bert", "/10.0.0.2")


def test_it_is_told_once_with_who_began_it_and_who_came_last() -> None:
    told: list[Rebalance] = []
    rebalances = Rebalances()
    rebalances.on_end = told.append
    rebalances.begin(Rebalance("g", Cause.JOINED, ANNA, began_ms=10))
    rebalances.begin(Rebalance("g", Cause.LEFT, BERT, began_ms=20))
    rebalances.joined("g", ANNA, 30)
    rebalances.joined("g", BERT, 40)
    rebalances.removed("g", ANNA)
    assert not told
    for _ in range(2):
        rebalances.end("g", 7, 1, 50)
    assert told == [
        Rebalance("g", Cause.JOINED, ANNA, 10, epoch=7, ended_ms=50, last=BERT, last_ms=40, removed=(ANNA,), members=1)
    ]


def test_of_a_group_that_is_not_rebalanced_nothing_is_told() -> None:
    told: list[Rebalance] = []
    rebalances = Rebalances()
    rebalances.on_end = told.append
    rebalances.joined("g", ANNA, 1)
    rebalances.removed("g", ANNA)
    rebalances.begin(Rebalance("g", Cause.JOINED, ANNA, began_ms=10))
    rebalances.forget("g")
    rebalances.end("g", 1, 1, 2)
    assert rebalances.under_way("g") is None
    assert not told
