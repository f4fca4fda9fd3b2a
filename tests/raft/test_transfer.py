"""Leadership transfer (rule 6), input by input. Names follow etcd's testdata and raft_test.go."""

from __future__ import annotations

from dohle.raft.effects import (
    BecameFollower,
    Committed,
    PersistVote,
    ReadEntries,
    ReadReady,
    TransferFailed,
)
from dohle.raft.messages import AppendAccepted, BatchSpan, TimeoutNow, VoteRequest, VoteResponse
from tests.raft.test_scenarios import CONFIG, ONE, THREE, TWO, append, node, of, ready_leader, sent


def test_leader_transfer_to_up_to_date_node() -> None:
    raft = ready_leader()
    assert sent(raft.transfer(10.0, TWO)) == [TimeoutNow(ONE, TWO, 1)]
    assert raft.is_transferring
    effects = raft.receive(10.0, VoteRequest(TWO, ONE, 2, False, 1, 1, True))
    assert of(BecameFollower, effects) == [BecameFollower(2, None)]
    assert sent(raft.vote_persisted(10.0, 2, TWO)) == [VoteResponse(ONE, TWO, 2, 2, False, True)]
    assert not raft.is_transferring


def test_leader_transfer_to_slow_follower() -> None:
    """Who lacks something, on its disk too, is told to stand only when it has that."""
    raft = ready_leader()
    for read in of(ReadEntries, raft.appended(10.0, 1, 2)):
        raft.entries_read(10.0, read.target, 1, 1, [BatchSpan(1, 2, 1, 1)], b"x")
    raft.durable(10.0, 2, 0)
    assert of(TransferFailed, raft.transfer(10.0, TWO)) == []
    assert raft.is_transferring
    assert not of(TransferFailed, raft.receive(10.1, AppendAccepted(TWO, ONE, 1, 0, 2, 1)))
    effects = raft.receive(10.1, AppendAccepted(TWO, ONE, 1, 0, 2, 2))
    assert of(Committed, effects) == [Committed(2)]
    assert TimeoutNow(ONE, TWO, 1) in sent(effects)


def test_leader_transfer_timeout() -> None:
    """Given up after an election time-out, and then the leader works on."""
    raft = ready_leader()
    raft.transfer(10.0, TWO)
    end = 10.0 + CONFIG.election_timeout_min_ms / 1000
    assert raft.deadline is not None
    assert raft.deadline <= end
    raft.receive(end - 0.01, AppendAccepted(TWO, ONE, 1, 0, 1, 1))
    assert of(TransferFailed, raft.tick(end - 0.001)) == []
    assert of(TransferFailed, raft.tick(end)) == [TransferFailed()]
    assert not raft.is_transferring
    raft.appended(end, 1, 2)


def test_a_lost_timeout_now_is_repeated_with_the_next_answer() -> None:
    raft = ready_leader()
    raft.transfer(10.0, TWO)
    assert sent(raft.receive(10.2, AppendAccepted(TWO, ONE, 1, 0, 1, 1))) == [TimeoutNow(ONE, TWO, 1)]


def test_leader_transfer_without_a_name_goes_to_the_furthest_in_touch() -> None:
    raft = ready_leader()
    raft.receive(10.5, AppendAccepted(THREE, ONE, 1, 0, 0, 0))
    assert sent(raft.transfer(10.6, None)) == [TimeoutNow(ONE, TWO, 1)]


def test_leader_transfer_to_one_that_is_silent_fails_at_once() -> None:
    raft = ready_leader()
    raft.receive(11.4, AppendAccepted(THREE, ONE, 1, 0, 1, 1))
    assert raft.transfer(11.4, TWO) == [TransferFailed()]
    assert not raft.is_transferring


def test_leader_transfer_to_self_or_by_a_follower_fails_at_once() -> None:
    assert ready_leader().transfer(10.0, ONE) == [TransferFailed()]
    assert node().transfer(10.0, TWO) == [TransferFailed()]


def test_a_read_is_answered_during_a_transfer() -> None:
    raft = ready_leader()
    raft.transfer(10.0, TWO)
    raft.read(10.0, 7)
    assert of(ReadReady, raft.receive(10.0, AppendAccepted(TWO, ONE, 1, 1, 1, 1))) == [ReadReady(7, 1)]


def test_who_is_told_stands_at_once_without_a_pre_vote() -> None:
    raft = node()
    raft.receive(1.0, append((0, 0), term=3))
    raft.vote_persisted(1.0, 3, None)
    assert raft.receive(1.1, TimeoutNow(THREE, ONE, 3)) == [], "not its leader"
    assert raft.receive(1.1, TimeoutNow(TWO, ONE, 2)) == [], "its leader of an older term"
    assert of(PersistVote, raft.receive(1.1, TimeoutNow(TWO, ONE, 3))) == [PersistVote(4, ONE)]
    assert sent(raft.vote_persisted(1.1, 4, ONE)) == [
        VoteRequest(ONE, voter, 4, False, 0, 0, transfer=True) for voter in (TWO, THREE)
    ]


def test_a_protected_leader_is_given_up_at_its_own_wish_alone() -> None:
    raft = node()
    raft.receive(1.0, append((0, 0), term=3))
    raft.vote_persisted(1.0, 3, None)
    raft.receive(1.1, VoteRequest(THREE, ONE, 4, False, 0, 0))
    assert raft.term == 3
    raft.receive(1.1, VoteRequest(THREE, ONE, 4, False, 0, 0, transfer=True))
    assert sent(raft.vote_persisted(1.1, 4, THREE)) == [VoteResponse(ONE, THREE, 4, 4, False, True)]


def test_a_damaged_log_takes_no_office_over() -> None:
    raft = node(starts=((1, 0),), end=5, term=1, damaged=True)
    raft.receive(1.0, append((5, 1), term=1))
    assert raft.receive(1.1, TimeoutNow(TWO, ONE, 1)) == []
    assert raft.term == 1
