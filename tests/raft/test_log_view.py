"""The view of the log against the plainest model of it: a list with the term of every offset."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.model.ids import DirectoryId, NodeId
from dohle.raft.log_view import LogView, TermStart
from dohle.raft.quorum import ReplicaKey, VoterSet

steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4), st.integers(0, 2)),
        st.tuples(st.just("truncate"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("durable"), st.integers(0, 30), st.integers(0, 3)),
        st.tuples(st.just("cut"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("start over"), st.integers(0, 30), st.integers(0, 9)),
    ),
    max_size=30,
)


@given(steps)
def test_it_agrees_with_a_list_of_terms(steps: list[tuple[str, int, int]]) -> None:
    view, terms, durable, generation, start = LogView((), 0, 0), [], 0, 0, 0
    for kind, a, b in steps:
        match kind:
            case "append":
                term = (terms[-1] if terms else 0) + b
                view.append(len(terms), len(terms) + a, term)
                terms += [term] * a
            case "truncate" if start <= a < len(terms):
                view.truncate(a)
                del terms[a:]
                durable, generation = min(durable, a), generation + 1
            case "durable" if a <= len(terms):
                moved = view.durable(a, b)
                assert moved == (b == generation and a > durable)
                durable = a if moved else durable
            case "cut" if start <= a <= len(terms):
                view.cut_below(a)
                start = a
            case "start over":
                view.start_over(a, b)
                terms, start, durable, generation = [b] * a, a, min(durable, a), generation + 1
                if not a:
                    view = LogView((), 0, 0)
                    generation = 0
        assert (view.start_offset, view.log_end_offset, view.durable_end_offset) == (start, len(terms), durable)
        assert view.last_term == (terms[-1] if terms else 0)
        assert [view.term_at(offset) for offset in range(start, len(terms) + 1)] == [0, *terms][start:]
        for term in range(max(terms, default=0) + 2):
            below = [t for t in terms if t <= term]
            known = below and len(below) >= start
            assert view.end_of_term(term) == ((below[-1], len(below)) if known else (0, 0))
            assert view.has(len(terms), term) == (term == view.last_term)
        again = LogView(view.term_starts, len(terms), durable, TermStart(view.start_term, start))
        assert again.term_starts == view.term_starts
        assert (again.start_term, again.last_term) == (view.start_term, view.last_term)


@pytest.mark.parametrize(("marks", "reached"), [([5], 5), ([5, 3, 9], 5), ([1, 0, 0], 0), ([9, 1, 7, 3, 5], 5)])
def test_a_majority_reaches_the_middle_mark(marks: list[int], reached: int) -> None:
    keys = [ReplicaKey(NodeId(i), DirectoryId(bytes(16))) for i in range(len(marks))]
    voters = VoterSet.of(keys)
    assert voters.reached_by_majority(dict(zip(keys, marks, strict=True))) == reached
    assert voters.has_majority(keys[: voters.majority])
    assert not voters.has_majority(keys[: voters.majority - 1])


def test_another_disk_of_a_voter_is_no_voter() -> None:
    voter = ReplicaKey(NodeId(1), DirectoryId(b"a" * 16))
    voters = VoterSet.of([voter])
    assert ReplicaKey(NodeId(1), DirectoryId(b"b" * 16)) not in voters
    assert not voters.has_majority([ReplicaKey(NodeId(1), DirectoryId(b"b" * 16))])
