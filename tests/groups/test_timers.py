"""Timers by name, against a dictionary that is searched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dohle.groups.outcome import NOTHING, Moment, Outcome
from dohle.groups.timers import Timers

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from("abc"), st.integers(0, 20)),
        st.tuples(st.just("cancel"), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.just("take"), st.just(""), st.integers(0, 20)),
    )
)


def nothing(_moment: Moment) -> Outcome:
    return NOTHING


@given(STEPS)
def test_what_is_due_is_taken_once_and_in_order(steps: list[tuple[str, str, int]]) -> None:
    timers, expected = Timers(), dict[str, int]()
    for step, name, at in steps:
        match step:
            case "set":
                timers.set(name, at, nothing)
                expected[name] = at
            case "cancel":
                timers.cancel(name)
                expected.pop(name, None)
            case _:
                first = min(expected.values(), default=at + 1)
                assert (timers.take(at) is not None) == (first <= at)
                taken = [one for one in expected if one not in timers]
                assert [expected.pop(one) for one in taken] == [first] * (first <= at)
        assert timers.next_s() == (min(expected.values()) if expected else None)
