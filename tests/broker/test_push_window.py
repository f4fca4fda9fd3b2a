"""How many pushes are on their way, and whom a slow partition keeps waiting."""

from __future__ import annotations

from dohle.broker.push_window import PUSH_BYTES, PUSHES_AHEAD, PUSHES_PASSING, SLOW_S, PushWindow
from dohle.model.ids import PartitionKey
from tests.broker.logs import TOPIC_ID

KEYS = [PartitionKey(TOPIC_ID, number) for number in range(20)]
A, B = KEYS[:2]


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


def window() -> tuple[Clock, PushWindow]:
    clock = Clock()
    return clock, PushWindow(clock.now)


def test_one_small_push_is_waited_for_as_a_whole() -> None:
    _, pushes = window()
    assert pushes.pushable(KEYS, 0) == KEYS
    number = pushes.send({A: 1, B: 1})
    assert pushes.is_waiting
    assert not pushes.pushable(KEYS, 0)
    pushes.acknowledged(A, 1)
    assert not pushes.is_open(0)
    pushes.arrived(number, number)
    assert pushes.pushable(KEYS, 0) == KEYS


def test_a_push_is_over_when_each_partition_of_it_is_durable() -> None:
    _, pushes = window()
    pushes.send({A: 5, B: 1})
    pushes.acknowledged(A, 4)
    pushes.acknowledged(B, 3)
    assert not pushes.is_open(0)
    pushes.acknowledged(A, 5)
    assert pushes.is_open(0)


def test_a_backlog_runs_ahead_once_it_is_received() -> None:
    _, pushes = window()
    for number in range(1, PUSHES_AHEAD + 1):
        assert pushes.pushable([A], PUSH_BYTES + 1) == [A]
        pushes.send({A: number})
        assert not pushes.is_open(PUSH_BYTES + 1)
        pushes.arrived(number, 0)
    assert not pushes.is_open(PUSH_BYTES + 1)


def test_who_takes_long_is_waited_for_by_itself_alone_until_it_is_quick_again() -> None:
    clock, pushes = window()
    pushes.send({A: 1})
    clock.time += 1.1 * SLOW_S
    assert pushes.pushable([A, B], 0) == [B]
    number = pushes.send({B: 1})
    assert not pushes.is_open(0), "B is waited for as ever"
    pushes.acknowledged(B, 1)
    pushes.acknowledged(A, 1)
    pushes.send({A: 2})
    assert pushes.pushable([A, B], 0) == [B], "A was slow"
    pushes.acknowledged(A, 2)
    pushes.send({A: 3})
    assert not pushes.pushable([A, B], 0), "A was quick"
    assert number == 2


def test_of_slow_ones_only_so_many_are_on_their_way() -> None:
    clock, pushes = window()
    for key in KEYS[:PUSHES_PASSING]:
        assert pushes.is_open(0)
        pushes.send({key: 1})
        clock.time += 1.1 * SLOW_S
    assert not pushes.pushable(KEYS, 0)


def test_who_is_left_is_waited_for_no_more() -> None:
    _, pushes = window()
    pushes.send({A: 1})
    pushes.forget(A)
    assert pushes.is_open(0)
