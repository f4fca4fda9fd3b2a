"""Who goes by himself, and for how long."""

from __future__ import annotations

from dohle.model.stragglers import APART_S, MOST_APART, PROMPT_TIMES, STRAGGLES_S, Stragglers


def turn(stragglers: Stragglers[str], others: str, began: float, took_s: float = 0.005) -> None:
    for one in others:
        stragglers.done(one, began, began + took_s)


def test_who_is_done_before_what_began_later_is_among_the_others_again() -> None:
    stragglers = Stragglers[str]()
    turn(stragglers, "bc", 0.0)
    assert stragglers.let_go("a", 0.02)
    assert stragglers.is_apart("a", 0.02)
    stragglers.done("a", 0.0, 0.022)
    assert not stragglers


def test_who_is_overtaken_goes_alone_until_he_is_as_quick_as_the_others_for_a_while() -> None:
    stragglers = Stragglers[str]()
    assert stragglers.let_go("a", 0.02)
    turn(stragglers, "bc", 0.02)
    assert stragglers.is_overtaken(0.0)
    stragglers.done("a", 0.0, 0.3)
    for number in range(1, PROMPT_TIMES):
        stragglers.done("a", number, number + 0.005)
        assert stragglers.is_apart("a", number + 0.005)
    stragglers.done("a", PROMPT_TIMES, PROMPT_TIMES + 0.005)
    assert not stragglers.is_apart("a", PROMPT_TIMES + 0.005)


def test_who_is_late_now_and_then_stays_alone() -> None:
    stragglers = Stragglers[str]()
    stragglers.late("a", 0.0)
    for number in range(1, 100):
        is_late = number % (PROMPT_TIMES - 1) == 0
        turn(stragglers, "b", number + 0.02)
        stragglers.done("a", number, number + (0.3 if is_late else 0.005))
        assert stragglers.is_apart("a", number + 0.3)


def test_who_takes_as_long_as_the_others_is_not_slow_however_long_that_is() -> None:
    stragglers = Stragglers[str]()
    stragglers.late("a", 0.0)
    for number in range(1, PROMPT_TIMES + 1):
        stragglers.done("a", number, number + 0.4)
        assert stragglers.is_apart("a", number + 0.4), "there is nobody yet to compare it with"
    for number in range(10, 10 + PROMPT_TIMES):
        turn(stragglers, "b", number - 0.1, 0.4)
        stragglers.done("a", number, number + 0.4)
    assert not stragglers


def test_those_that_go_alone_do_not_say_what_is_quick() -> None:
    stragglers = Stragglers[str]()
    stragglers.late("a", 0.0)
    stragglers.done("a", 1.0, 1.001)
    assert not stragglers.is_overtaken(0.0)


def test_more_than_a_few_are_not_slow_but_everything_is() -> None:
    stragglers = Stragglers[str]()
    many = "abcdefgh"[: MOST_APART + 1]
    assert not stragglers.let_go(many, 0.0)
    assert not stragglers
    assert stragglers.let_go(many[1:], 0.0)
    assert not stragglers.let_go(many[:1], 0.0)
    stragglers.late(many[0], 0.0)
    assert not stragglers.is_apart(many[0], 0.0)
    assert stragglers.let_go(many[:1], APART_S), "the places of those that were not seen since are free"
    assert stragglers.apart(APART_S) == set(many[:1])


def test_who_stays_slow_is_said_once() -> None:
    stragglers = Stragglers[str]()
    stragglers.let_go("a", 0.0)
    said = []
    for number in range(3 * PROMPT_TIMES):
        turn(stragglers, "b", number + STRAGGLES_S)
        said.append(stragglers.done("a", number, number + 0.3))
    assert [number for number, is_slow in enumerate(said) if is_slow] == [PROMPT_TIMES - 1]
