"""How many pushes are on their way, and who waits for whom."""

from __future__ import annotations

from dohle.broker.push_window import PUSH_BYTES, PUSHES_AHEAD, PushWindow
from dohle.model.ids import PartitionKey
from tests.broker.logs import TOPIC_ID

A, B = PartitionKey(TOPIC_ID, 0), PartitionKey(TOPIC_ID, 1)


def test_one_small_push_is_waited_for_as_a_whole() -> None:
    window = PushWindow()
    assert window.is_open(0, 0)
    number = window.send(0, {A: 1, B: 1}, 0.0)
    assert not window.is_open(0, 0)
    window.acknowledged(A, 1)
    assert not window.is_open(0, 0)
    window.arrived(number, number)
    assert window.is_open(0, 0)


def test_a_push_is_over_when_each_partition_of_it_is_durable() -> None:
    window = PushWindow()
    window.send(0, {A: 5, B: 1}, 0.0)
    window.acknowledged(A, 4)
    window.acknowledged(B, 3)
    assert not window.is_open(0, 0)
    window.acknowledged(A, 5)
    assert window.is_open(0, 0)


def test_a_backlog_runs_ahead_once_it_is_received() -> None:
    window = PushWindow()
    for number in range(1, PUSHES_AHEAD + 1):
        assert window.is_open(0, PUSH_BYTES + 1)
        window.send(0, {A: number}, 0.0)
        assert not window.is_open(0, PUSH_BYTES + 1)
        window.arrived(number, 0)
    assert not window.is_open(0, PUSH_BYTES + 1)


def test_what_lies_on_one_disk_does_not_wait_for_another() -> None:
    window = PushWindow()
    window.send(0, {A: 1}, 0.0)
    for end in range(1, 10):
        assert window.is_open(1, 0)
        number = window.send(1, {B: end}, 0.0)
        assert not window.is_open(1, 0)
        window.arrived(number, 0)
        window.acknowledged(B, end)
    assert not window.is_open(0, 0)


def test_who_is_left_is_waited_for_no_more() -> None:
    window = PushWindow()
    window.send(0, {A: 1}, 0.0)
    window.forget(A)
    assert window.is_open(0, 0)


def test_a_partition_that_is_slow_gets_a_window_of_its_own() -> None:
    window = PushWindow()
    number = window.send(0, {A: 1, B: 1}, 1.0)
    window.arrived(number, 0)
    window.acknowledged(B, 1)
    assert window.stragglers(0.5) == []
    assert window.stragglers(1.0) == [A]
    window.set_apart(A)
    assert window.is_open(0, 0)
    assert not window.is_open(A, 0)
    assert window.stragglers(2.0) == []
    window.acknowledged(A, 1)
    assert window.is_open(A, 0)
