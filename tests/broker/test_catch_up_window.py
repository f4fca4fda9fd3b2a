"""How much is sent at once of what a follower lacks."""

from __future__ import annotations

import pytest

from dohle.broker.catch_up_window import CHUNK_BYTES, LEAST_BYTES, MOST_BYTES, MOST_REST_S, MOST_RESTS, CatchUpWindow


def passes(window: CatchUpWindow, began: float, seconds: float, takes_s: float) -> float:
    """Keeps the window full; each chunk takes as long. Returns the bytes a second."""
    now, sent = began, 0
    while now < began + seconds:
        chunks = []
        while window.is_open:
            chunks.append(window.chunk_bytes)
            window.read(chunks[-1], 1)
        now += takes_s
        for size_bytes in chunks:
            window.durable(size_bytes, now - takes_s, now, others_wait=False)
        sent += sum(chunks)
    return sent / (now - began)


def test_a_way_without_a_queue_is_filled_however_long_it_is() -> None:
    for takes_s in (0.001, 0.05):
        window = CatchUpWindow()
        passes(window, 10.0, 3.0, takes_s)
        assert window._allowed_bytes == MOST_BYTES
        assert window.chunk_bytes == CHUNK_BYTES


def test_less_is_sent_as_soon_as_chunks_queue_and_more_when_they_do_no_longer() -> None:
    window = CatchUpWindow()
    passes(window, 10.0, 1.0, 0.001)
    passes(window, 11.0, 0.2, 0.02)
    assert window._allowed_bytes == LEAST_BYTES
    assert window.chunk_bytes == LEAST_BYTES // 2
    passes(window, 11.5, 1.0, 0.001)
    assert window._allowed_bytes == MOST_BYTES


def test_chunks_that_queue_one_by_one_leave_as_much_time_to_others() -> None:
    window = CatchUpWindow()
    passes(window, 10.0, 1.0, 0.001)
    passes(window, 11.0, 0.3, 0.02)
    assert window._allowed_bytes == LEAST_BYTES
    window.read(LEAST_BYTES, 1)
    window.durable(LEAST_BYTES, sent_at=11.4, now=11.42, others_wait=False)
    assert window.rest_s(11.42) == pytest.approx(0.02)
    assert window.rest_s(11.43) == pytest.approx(0.01)
    assert window.rest_s(11.44) == 0.0
    window.read(LEAST_BYTES, 1)
    window.durable(LEAST_BYTES, sent_at=11.44, now=12.44, others_wait=False)
    assert window.rest_s(12.44) == pytest.approx(MOST_REST_S)


def test_chunks_that_do_not_queue_wait_for_nothing() -> None:
    window = CatchUpWindow()
    passes(window, 10.0, 1.0, 0.02)
    assert window.rest_s(11.0) == 0.0


def sends(window: CatchUpWindow, now: float, takes_s: float, others_wait: bool) -> float:
    """Sends one chunk, and returns for how long nothing may be sent then."""
    window.read(CHUNK_BYTES, 10)
    window.durable(CHUNK_BYTES, now - takes_s, now, others_wait=others_wait)
    return window.rest_s(now)


def test_three_quarters_of_the_time_are_left_to_others_who_wait() -> None:
    window = CatchUpWindow()
    assert sends(window, 10.0, 0.005, others_wait=True) == pytest.approx(0.015)
    assert sends(window, 10.1, 0.005, others_wait=False) == 0.0
    assert sends(window, 10.2, 0.5, others_wait=True) == pytest.approx(MOST_REST_S)


def test_a_small_chunk_is_followed_by_a_short_rest() -> None:
    window = CatchUpWindow()
    window.read(CHUNK_BYTES // 100, 1)
    window.durable(CHUNK_BYTES // 100, 10.0, 10.01, others_wait=True)
    assert window.rest_s(10.01) == pytest.approx(0.0003, rel=0.01)


def test_who_is_written_to_as_fast_as_it_catches_up_has_no_rests_until_it_gains() -> None:
    window, rests = CatchUpWindow(), list[float]()
    for second in range(10):  # ten records are sent in each, and eight more written
        window.lacks(lambda second=second: 1000 - 2 * second, 10.0 + second)
        rests.append(sends(window, 10.5 + second, 0.01, others_wait=True) / 0.01)
    assert rests[0] == pytest.approx(MOST_RESTS)
    assert rests == sorted(rests, reverse=True)
    assert rests[-1] == 0.0
    for second in range(10):  # and nothing is written any more
        window.lacks(lambda second=second: 900 - 10 * second, 20.0 + second)
        rests.append(sends(window, 20.5 + second, 0.01, others_wait=True) / 0.01)
    assert rests[10:] == sorted(rests[10:])
    assert rests[-1] == pytest.approx(MOST_RESTS)


def test_another_time_behind_is_not_measured_by_the_one_before() -> None:
    window = CatchUpWindow()
    window.lacks(lambda: 10, 10.0)
    window.lacks(lambda: 100_000, 100.0)
    assert sends(window, 100.0, 0.01, others_wait=True) == pytest.approx(0.03)


def test_a_way_that_has_become_slow_is_used_as_it_is_after_two_seconds() -> None:
    window = CatchUpWindow()
    passes(window, 10.0, 1.0, 0.001)
    passes(window, 11.0, 4.0, 0.02)
    assert window._allowed_bytes == MOST_BYTES


def test_what_nobody_waits_for_any_more_makes_room() -> None:
    window = CatchUpWindow()
    window.read(MOST_BYTES, 1)
    assert not window.is_open
    window.forgotten(MOST_BYTES)
    assert window.is_open
