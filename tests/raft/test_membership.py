"""Changes of the voters (rule 5), input by input. Names follow etcd's testdata and confchange."""

from __future__ import annotations

import pytest

from dohle.model.ids import DirectoryId, NodeId
from dohle.raft.configurations import Configuration
from dohle.raft.effects import BecameFollower, Committed, ReadEntries
from dohle.raft.log_view import LogView, TermStart
from dohle.raft.messages import (
    AppendAccepted,
    AppendRequest,
    BatchSpan,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
)
from dohle.raft.node import RaftNode
from dohle.raft.quorum import NO_VOTERS, ReplicaKey, VoterSet
from tests.raft.test_scenarios import CONFIG, ONE, THREE, TWO, VOTERS, Middle, append, node, of, ready_leader, sent

FOUR = ReplicaKey(NodeId(4), DirectoryId(bytes([4]) * 16))
WITH_FOUR = VoterSet.of([ONE, TWO, THREE, FOUR])
WITHOUT_ONE = VoterSet.of([TWO, THREE])


def naming(request: AppendRequest, voters: VoterSet) -> AppendRequest:
    """The same append, whose last batch names `voters`."""
    spans = (*request.spans[:-1], request.spans[-1]._replace(voters=voters))
    return AppendRequest(
        request.source,
        request.target,
        request.term,
        request.prev_offset,
        request.prev_term,
        spans,
        request.batches,
        request.commit_offset,
        request.round,
    )


def leader_changes(voters: VoterSet) -> RaftNode:
    """A leader of three that has appended a change, on its own disk too."""
    raft = ready_leader()
    for read in of(ReadEntries, raft.appended(10.0, 1, 2, voters)):
        raft.entries_read(10.0, read.target, 1, read.from_offset, [BatchSpan(1, 2, 1, 1)], b"x")
    raft.durable(10.0, 2, 0)
    return raft


def test_confchange_v1_add_single() -> None:
    """Of four voters three have to agree, from the append on."""
    raft = leader_changes(WITH_FOUR)
    assert raft.voters == WITH_FOUR
    assert of(Committed, raft.receive(10.0, AppendAccepted(TWO, ONE, 1, 0, 2, 2))) == []
    assert of(Committed, raft.receive(10.0, AppendAccepted(FOUR, ONE, 1, 0, 2, 2))) == [Committed(2)]
    assert raft.may_change_voters


def test_confchange_v1_remove_leader() -> None:
    """It leads on until its removal is committed, without counting itself, and has the furthest succeed it."""
    raft = leader_changes(WITHOUT_ONE)
    assert of(Committed, raft.receive(10.0, AppendAccepted(TWO, ONE, 1, 0, 2, 2))) == [], "it counted itself"
    effects = raft.receive(10.0, AppendAccepted(THREE, ONE, 1, 0, 2, 2))
    assert of(Committed, effects) == [Committed(2)]
    assert of(BecameFollower, effects) == [BecameFollower(1, None)]
    assert [type(message) for message in sent(effects) if isinstance(message, TimeoutNow)] == [TimeoutNow]
    assert raft.deadline is None, "who has no vote stands no more"
    assert raft.tick(1000.0) == []


def test_a_second_change_waits_for_the_first() -> None:
    raft = leader_changes(WITH_FOUR)
    assert not raft.may_change_voters
    with pytest.raises(AssertionError, match="one change at a time"):
        raft.appended(10.0, 2, 3, VOTERS)


def test_no_change_before_a_commit_in_the_present_term() -> None:
    """The bug of the single-server change, found in 2015: an older change may still be on its way."""
    raft = node()
    raft.tick(10.0)
    raft.receive(10.0, VoteResponse(TWO, ONE, 0, 1, True, True))
    raft.vote_persisted(10.0, 1, ONE)
    raft.receive(10.0, VoteResponse(TWO, ONE, 1, 1, False, True))
    assert raft.is_leader
    raft.appended(10.0, 0, 1)
    assert not raft.may_change_voters


def test_more_than_one_voter_at_a_time_is_a_bug() -> None:
    raft = ready_leader()
    with pytest.raises(AssertionError, match="more than one voter"):
        raft.appended(10.0, 1, 2, VoterSet.of([TWO, FOUR]))


def test_a_follower_counts_by_what_it_appended_and_by_what_was_before_once_that_is_cut() -> None:
    raft = node()
    raft.receive(1.0, append((0, 0), 1, term=1))
    raft.receive(1.0, naming(append((1, 1), 2, term=1), WITH_FOUR))
    assert raft.voters == WITH_FOUR
    raft.receive(1.1, append((1, 1), 2, term=2, source=THREE))
    assert raft.voters == VOTERS


def test_a_start_finds_the_last_change_of_the_log() -> None:
    log = LogView([TermStart(1, 0)], 5, 5)
    raft = RaftNode(FOUR, VOTERS, log, 1, None, Middle(), CONFIG, changes=[Configuration(3, WITH_FOUR)])
    raft.start(0.0)
    assert raft.voters == WITH_FOUR
    assert raft.deadline is not None, "a voter stands"


def test_a_learner_takes_the_log_and_neither_stands_nor_counts() -> None:
    learner = RaftNode(FOUR, NO_VOTERS, LogView([], 0, 0), 0, None, Middle(), CONFIG)
    learner.start(0.0)
    assert learner.deadline is None
    learner.receive(1.0, append((0, 0), 1, term=1, source=ONE, target=FOUR))
    learner.vote_persisted(1.0, 1, None)
    assert sent(learner.durable(1.0, 1, 0)) == [AppendAccepted(FOUR, ONE, 1, 0, 1, 1)]
    assert learner.tick(1000.0) == []
    leader = ready_leader()
    assert [message.target for message in sent(leader.add_learner(10.0, FOUR))] == [FOUR]
    leader.appended(10.0, 1, 2)
    leader.durable(10.0, 2, 0)
    assert of(Committed, leader.receive(10.0, AppendAccepted(FOUR, ONE, 1, 0, 2, 2))) == []
    leader.forget_learner(FOUR)
    assert leader.receive(10.0, AppendAccepted(FOUR, ONE, 1, 0, 2, 2)) == []
    leader.forget_learner(TWO)
    assert TWO in leader.progress, "a voter is never forgotten"


def test_what_was_read_for_a_learner_before_it_went_is_nothing_to_it_once_it_is_back() -> None:
    """Its connection is reset while the leader's disk hangs, and it is greeted anew."""
    leader = ready_leader()
    leader.add_learner(10.0, FOUR)
    leader.appended(10.0, 1, 2)
    leader.forget_learner(FOUR)
    leader.add_learner(10.1, FOUR)
    span = BatchSpan(1, 2, 1, 1)
    assert sent(leader.entries_read(10.2, FOUR, 1, 1, [span], b"x")) == []
    effects = leader.appended(10.3, 2, 3)
    assert [(read.target, read.from_offset) for read in of(ReadEntries, effects) if read.target == FOUR] == [(FOUR, 2)]
    assert sent(leader.entries_read(10.4, FOUR, 1, 1, [span], b"x")) == []
    assert len(sent(leader.entries_read(10.4, FOUR, 1, 2, [BatchSpan(2, 3, 1, 1)], b"x"))) == 1


def test_a_voter_whose_log_lags_votes_for_one_that_it_does_not_know() -> None:
    """Else {3, 4, 5}, with 3 asleep while 1 and 2 went and 4 and 5 came, could not do without 4."""
    raft = node(THREE)
    raft.receive(1.0, VoteRequest(FOUR, THREE, 1, False, 9, 9))
    assert sent(raft.vote_persisted(1.0, 1, FOUR)) == [VoteResponse(THREE, FOUR, 1, 1, False, True)]


def test_a_removed_voter_that_has_not_heard_of_it_disturbs_nobody() -> None:
    raft = leader_changes(VoterSet.of([ONE, TWO]))
    raft.receive(10.0, AppendAccepted(TWO, ONE, 1, 0, 2, 2))
    for pre_vote in (True, False):
        (answer,) = sent(raft.receive(10.5, VoteRequest(THREE, ONE, 2, pre_vote, 1, 1)))
        assert isinstance(answer, VoteResponse)
        assert not answer.granted
    assert (raft.is_leader, raft.term) == (True, 1)


def test_who_becomes_a_voter_by_an_append_stands_when_its_leader_is_silent() -> None:
    raft = node(FOUR, voters=VOTERS)
    raft.receive(1.0, naming(append((0, 0), 1, term=1, target=FOUR), WITH_FOUR))
    raft.vote_persisted(1.0, 1, None)
    assert raft.deadline is not None
    assert [message.target for message in sent(raft.tick(raft.deadline))] == [ONE, TWO, THREE]
