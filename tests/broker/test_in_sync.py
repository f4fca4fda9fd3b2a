"""Rule 7: the maximal set counts, one change is in flight, and only certainty takes one back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dohle.broker.in_sync import InSyncSet, Proposal
from dohle.model.ids import NodeId

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)


def in_sync(*members: int, epoch: int = 5) -> InSyncSet:
    return InSyncSet([NodeId(member) for member in members], epoch)


def test_a_growing_set_counts_at_once() -> None:
    members = in_sync(1)
    assert members.propose_join(TWO) == Proposal((ONE, TWO), 5)
    assert members.maximal == (ONE, TWO)
    assert members.committed == (ONE,)


def test_a_shrinking_set_counts_only_when_committed() -> None:
    members = in_sync(1, 2, 3)
    assert members.propose_leave([THREE], at_least=1) == Proposal((ONE, TWO), 5)
    assert len(members.maximal) == 3
    assert members.committed_as([ONE, TWO], 6)
    assert list(members.maximal) == [ONE, TWO]


def test_one_change_is_in_flight() -> None:
    members = in_sync(1, 2)
    assert members.propose_join(THREE) is not None
    assert members.propose_join(THREE) is None
    assert members.propose_leave([TWO], at_least=1) is None


def test_a_refusal_takes_its_own_proposal_back() -> None:
    members = in_sync(1)
    proposal = members.propose_join(TWO)
    assert proposal is not None
    members.refused(proposal)
    assert members.maximal == (ONE,)
    assert members.propose_join(TWO) is not None


def test_a_late_refusal_leaves_a_newer_proposal_alone() -> None:
    members = in_sync(1)
    early = members.propose_join(TWO)
    assert early is not None
    members.committed_as([ONE], 6)
    late = members.propose_join(TWO)
    members.refused(early)
    assert members.proposal is late


def test_a_stale_answer_is_ignored() -> None:
    members = in_sync(1, 2)
    proposal = members.propose_join(THREE)
    assert not members.committed_as([ONE], 5)
    assert not members.committed_as([ONE], 4)
    assert members.committed == (ONE, TWO)
    assert members.proposal is proposal


def test_news_from_the_controller_ends_the_change_in_flight() -> None:
    members = in_sync(1, 2)
    members.propose_join(THREE)
    assert members.committed_as([ONE], 6)
    assert members.proposal is None
    assert members.maximal == (ONE,)


def test_nobody_leaves_below_the_floor() -> None:
    members = in_sync(1, 2, 3)
    assert members.propose_leave([TWO, THREE], at_least=3) is None
    proposal = members.propose_leave([TWO, THREE], at_least=2)
    assert proposal is not None
    assert len(proposal.members) == 2


@given(
    st.sets(st.integers(1, 5), min_size=1),
    st.lists(st.integers(1, 5), unique=True),
    st.integers(1, 5),
)
def test_leaving_takes_as_many_as_the_floor_spares(committed: set[int], leaving: list[int], at_least: int) -> None:
    proposal = in_sync(*committed).propose_leave([NodeId(node) for node in leaving], at_least=at_least)
    out = committed - set(proposal.members) if proposal is not None else set()
    assert out <= committed & set(leaving)
    assert len(out) == min(len(committed & set(leaving)), max(0, len(committed) - at_least))
