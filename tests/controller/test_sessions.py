from __future__ import annotations

from dohle.controller.sessions import Sessions
from dohle.model.ids import NodeId

ONE, TWO = NodeId(1), NodeId(2)


def test_a_session_ends_one_timeout_after_the_last_heartbeat() -> None:
    sessions = Sessions(3.0)
    sessions.begin(ONE, 10.0)
    sessions.beat(ONE, 11.0, fenced=False)
    assert sessions.next_deadline(13.0) == 14.0
    assert list(sessions.expired(13.9)) == []
    assert list(sessions.expired(14.0)) == [ONE]


def test_the_next_look_is_half_a_timeout_away_since_a_session_may_begin_with_no_more_left() -> None:
    sessions = Sessions(3.0)
    assert sessions.next_deadline(5.0) == 6.5
    sessions.begin_silent(ONE, 0.0, 5.0)
    assert list(sessions.expired(6.5)) == [ONE]


def test_a_session_of_a_silent_one_began_with_its_last_sign_of_life() -> None:
    sessions = Sessions(3.0)
    sessions.begin_silent(ONE, 10.0, 11.2)
    assert list(sessions.expired(12.9)) == []
    assert list(sessions.expired(13.0)) == [ONE]
    sessions.beat(ONE, 12.0, fenced=False)
    assert list(sessions.expired(14.9)) == []


def test_a_long_silence_leaves_half_a_session_to_be_heard_in() -> None:
    sessions = Sessions(3.0)
    sessions.begin_silent(ONE, 0.0, 100.0)
    assert list(sessions.expired(101.4)) == []
    assert list(sessions.expired(101.5)) == [ONE]


def test_what_the_controller_slept_through_does_not_count() -> None:
    sessions = Sessions(3.0)
    sessions.begin(ONE, 0.0)
    sessions.begin(TWO, 0.0)
    sessions.forgive(2.0, 5.0)
    sessions.beat(TWO, 6.0, fenced=False)
    assert list(sessions.expired(6.9)) == []
    assert list(sessions.expired(7.0)) == [ONE]
    assert sessions.next_deadline(7.0) == 7.0


def test_what_the_controller_slept_through_before_a_session_ends_lengthens_it() -> None:
    sessions = Sessions(3.0)
    sessions.begin(ONE, 0.0)
    sessions.forgive(0.5, 2.0)
    assert sessions.next_deadline(2.0) == 3.5


def test_a_controller_that_stalls_again_and_again_forgives_one_session_in_all() -> None:
    sessions = Sessions(3.0)
    sessions.begin(ONE, 0.0)
    for _ in range(10):
        sessions.forgive(1.0, 1.0)
    assert list(sessions.expired(6.0)) == [ONE]


def test_after_an_early_fencing_a_second_of_steady_beats_is_due() -> None:
    sessions = Sessions(3.0)
    sessions.fenced_early(ONE, 7, 0.0)
    assert not sessions.may_unfence(ONE, 7, 0.1)
    for beat in range(6):
        assert sessions.may_unfence(ONE, 7, 1.0 + beat / 5) == (beat == 5)
        sessions.beat(ONE, 1.0 + beat / 5, fenced=True)


def test_a_gap_between_beats_starts_the_second_again() -> None:
    sessions = Sessions(3.0)
    sessions.fenced_early(ONE, 7, 0.0)
    sessions.beat(ONE, 1.0, fenced=True)
    sessions.beat(ONE, 1.5, fenced=True)
    assert not sessions.may_unfence(ONE, 7, 2.2)
    for beat in range(5):
        assert not sessions.may_unfence(ONE, 7, 2.2 + beat / 5)
        sessions.beat(ONE, 2.2 + beat / 5, fenced=True)
    assert sessions.may_unfence(ONE, 7, 3.2)


def test_a_heartbeat_of_a_fenced_broker_keeps_no_session() -> None:
    sessions = Sessions(3.0)
    sessions.begin(ONE, 0.0)
    sessions.beat(ONE, 1.0, fenced=True)
    assert list(sessions.expired(10.0)) == []


def test_repeated_early_fencings_back_off_until_a_quiet_minute_has_passed() -> None:
    sessions = Sessions(3.0)

    def steady_from(start: float) -> float:
        now = start
        while not sessions.may_unfence(ONE, 7, now):
            sessions.beat(ONE, now, fenced=True)
            now += 0.2
        return now - start

    sessions.fenced_early(ONE, 7, 0.0)
    sessions.fenced_early(ONE, 7, 10.0)
    assert 2.0 <= steady_from(10.0) < 2.5
    sessions.fenced_early(ONE, 7, 20.0)
    assert 4.0 <= steady_from(20.0) < 4.5
    sessions.fenced_early(ONE, 7, 100.0)
    assert 1.0 <= steady_from(100.0) < 1.5
    assert sessions.may_unfence(TWO, 7, 0.0)


def test_a_new_registration_does_not_wait_out_what_the_one_before_earned() -> None:
    sessions = Sessions(3.0)
    sessions.fenced_early(ONE, 7, 0.0)
    assert not sessions.may_unfence(ONE, 7, 0.1)
    assert sessions.may_unfence(ONE, 8, 0.1)


def test_each_registration_backs_off_by_its_own_fencings() -> None:
    sessions = Sessions(3.0)
    for epoch in (7, 8, 9):
        sessions.fenced_early(ONE, epoch, float(epoch))
    sessions.beat(ONE, 9.0, fenced=True)
    for beat in range(1, 6):
        assert sessions.may_unfence(ONE, 9, 9.0 + beat / 5) == (beat == 5)
        sessions.beat(ONE, 9.0 + beat / 5, fenced=True)
