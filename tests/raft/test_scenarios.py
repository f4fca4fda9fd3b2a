"""Single nodes, input by input: the rules that random worlds seldom put to the test. Names follow etcd's testdata."""

from __future__ import annotations

from typing import TypeVar

import pytest

from dohle.model.ids import DirectoryId, NodeId
from dohle.raft.config import RaftConfig
from dohle.raft.effects import (
    Append,
    AppendNoOp,
    BecameFollower,
    BecameLeader,
    Committed,
    Effect,
    Fatal,
    LeaderReady,
    PersistVote,
    ReadEntries,
    ReadReady,
    ReadRefused,
    Send,
    Truncate,
)
from dohle.raft.log_view import LogView, TermStart
from dohle.raft.messages import (
    AppendAccepted,
    AppendRejected,
    AppendRequest,
    BatchSpan,
    Message,
    VoteRequest,
    VoteResponse,
)
from dohle.raft.node import RaftNode
from dohle.raft.quorum import ReplicaKey, VoterSet

ONE, TWO, THREE = (ReplicaKey(NodeId(i), DirectoryId(bytes([i]) * 16)) for i in (1, 2, 3))
VOTERS = VoterSet.of([ONE, TWO, THREE])
CONFIG = RaftConfig()
E = TypeVar("E")


class Middle:
    """A random source without surprises."""

    def uniform(self, a: float, b: float, /) -> float:
        return (a + b) / 2


def node(
    key: ReplicaKey = ONE,
    starts: tuple[tuple[int, int], ...] = (),
    end: int = 0,
    *,
    term: int = 0,
    voted_for: ReplicaKey | None = None,
    voters: VoterSet = VOTERS,
    damaged: bool = False,
) -> RaftNode:
    log = LogView([TermStart(*start) for start in starts], end, end)
    raft = RaftNode(key, voters, log, term, voted_for, Middle(), CONFIG, damaged=damaged)
    raft.start(0.0)
    return raft


def of(kind: type[E], effects: list[Effect]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def sent(effects: list[Effect]) -> list[Message]:
    return [effect.message for effect in of(Send, effects)]


def append(
    prev: tuple[int, int],
    *ends: int,
    term: int,
    batch_term: int | None = None,
    commit: int = 0,
    source: ReplicaKey = TWO,
    target: ReplicaKey = ONE,
    heartbeat_round: int = 0,
) -> AppendRequest:
    """An append after `prev` = (offset, term) of one batch up to each of `ends`, one byte an offset."""
    bases = (prev[0], *ends)
    spans = tuple(BatchSpan(a, b, batch_term or term, b - a) for a, b in zip(bases, ends, strict=False))
    data = bytes(range(prev[0], bases[-1]))
    return AppendRequest(source, target, term, *prev, spans, data, commit, heartbeat_round)


def elected(raft: RaftNode, now: float = 10.0) -> list[Effect]:
    """Lets `raft` (node 1) be elected with the vote of node 2; returns the effects of taking office."""
    raft.tick(now)
    term = raft.term + 1
    effects = raft.receive(now, VoteResponse(TWO, ONE, raft.term, term, True, True))
    assert of(PersistVote, effects) == [PersistVote(term, ONE)]
    assert sent(effects) == [], "asked for votes before its own was on disk"
    assert len(sent(raft.vote_persisted(now, term, ONE))) == 2
    effects = raft.receive(now, VoteResponse(TWO, ONE, term, term, False, True))
    assert of(BecameLeader, effects) == [BecameLeader(term)]
    return effects


def ready_leader(now: float = 10.0) -> RaftNode:
    raft = node()
    (no_op,) = of(AppendNoOp, elected(raft, now))
    for read in of(ReadEntries, raft.appended(now, no_op.base_offset, 1)):
        raft.entries_read(now, read.target, read.term, 0, [BatchSpan(0, 1, 1, 1)], b"x")
    raft.durable(now, 1, 0)
    effects = raft.receive(now, AppendAccepted(TWO, ONE, raft.term, 0, 1, 1))
    assert of(LeaderReady, effects) == [LeaderReady(1)]
    return raft


def test_async_storage_writes_append_aba_race() -> None:
    raft = node()
    raft.receive(1.0, append((0, 0), 1, term=1))
    raft.vote_persisted(1.0, 1, None)
    effects = raft.receive(1.1, append((0, 0), 1, term=2, source=THREE))
    assert of(Truncate, effects) == [Truncate(0, 1)]
    raft.vote_persisted(1.1, 2, None)
    assert sent(raft.durable(1.2, 1, 0)) == [], "an fsync from before the truncation proves nothing"
    assert raft.log.durable_end_offset == 0
    assert sent(raft.durable(1.3, 1, 1)) == [AppendAccepted(ONE, THREE, 2, 0, 1, 1)]


def test_an_acceptance_waits_for_the_fsync_and_a_heartbeat_does_not() -> None:
    raft = node()
    raft.receive(1.0, append((0, 0), term=1))
    raft.vote_persisted(1.0, 1, None)
    effects = raft.receive(1.1, append((0, 0), 2, 3, term=1))
    assert sent(effects) == []
    (appended,) = of(Append, effects)
    assert (len(appended.spans), appended.batches) == (2, b"\x00\x01\x02")
    assert sent(raft.receive(1.2, append((3, 1), term=1, heartbeat_round=4))) == [AppendAccepted(ONE, TWO, 1, 4, 3, 0)]
    assert sent(raft.durable(1.3, 3, 0)) == [AppendAccepted(ONE, TWO, 1, 4, 3, 3)]
    assert sent(raft.durable(1.3, 3, 0)) == []


def test_an_answer_waits_for_the_term_on_disk() -> None:
    raft = node()
    effects = raft.receive(1.0, append((0, 0), term=5))
    assert of(PersistVote, effects) == [PersistVote(5, None)]
    assert of(BecameFollower, effects) == [BecameFollower(5, TWO)]
    assert sent(effects) == []
    assert sent(raft.vote_persisted(1.0, 4, None)) == []
    assert sent(raft.vote_persisted(1.0, 5, None)) == [AppendAccepted(ONE, TWO, 5, 0, 0, 0)]


def test_a_vote_leaves_only_from_disk_and_survives_a_restart() -> None:
    raft = node()
    effects = raft.receive(1.0, VoteRequest(TWO, ONE, 1, False, 0, 0))
    assert of(PersistVote, effects) == [PersistVote(1, TWO)]
    assert sent(effects) == []
    assert sent(raft.vote_persisted(1.0, 1, TWO)) == [VoteResponse(ONE, TWO, 1, 1, False, True)]
    again = node(term=1, voted_for=TWO)
    assert sent(again.receive(1.0, VoteRequest(THREE, ONE, 1, False, 9, 9))) == [
        VoteResponse(ONE, THREE, 1, 1, False, False)
    ]
    assert sent(again.receive(1.0, VoteRequest(TWO, ONE, 1, False, 0, 0))) == [
        VoteResponse(ONE, TWO, 1, 1, False, True)
    ]


def test_batches_of_an_older_term_are_committed_only_with_one_of_the_present_term() -> None:
    """Figure 8 of the Raft paper."""
    raft = node(starts=((1, 0),), end=5, term=1)
    (no_op,) = of(AppendNoOp, elected(raft))
    assert no_op == AppendNoOp(2, 5)
    assert of(Committed, raft.receive(10.0, AppendAccepted(TWO, ONE, 2, 0, 5, 5))) == []
    raft.appended(10.0, 5, 6)
    assert of(Committed, raft.receive(10.0, AppendAccepted(TWO, ONE, 2, 0, 6, 6))) == [], "its own fsync is missing"
    effects = raft.durable(10.1, 6, 0)
    assert effects[:2] == [Committed(6), LeaderReady(2)]


def test_received_is_not_durable() -> None:
    raft = ready_leader()
    raft.appended(10.0, 1, 2)
    raft.durable(10.0, 2, 0)
    assert of(Committed, raft.receive(10.0, AppendAccepted(TWO, ONE, 1, 0, 2, 1))) == []
    assert of(Committed, raft.receive(10.0, AppendAccepted(TWO, ONE, 1, 0, 2, 2))) == [Committed(2)]


def test_a_single_voter_counts_itself_only_at_its_durable_end() -> None:
    raft = node(voters=VoterSet.of([ONE]))
    assert raft.role == "candidate"
    effects = raft.vote_persisted(0.0, 1, ONE)
    assert of(AppendNoOp, effects) == [AppendNoOp(1, 0)]
    assert raft.appended(0.0, 0, 1) == []
    assert raft.durable(0.1, 1, 0) == [Committed(1), LeaderReady(1)]
    assert raft.read(0.2, 7) == [ReadReady(7, 1)]
    assert raft.deadline is None


def test_a_follower_commits_only_what_this_request_has_proven() -> None:
    raft = node(starts=((1, 0),), end=10, term=1)
    assert of(Committed, raft.receive(1.0, append((4, 1), term=2, commit=8))) == [Committed(4)]


def test_what_stands_is_cut_only_where_terms_differ() -> None:
    raft = node(starts=((1, 0), (2, 4)), end=8, term=2)
    effects = raft.receive(1.0, append((2, 1), 4, term=3, batch_term=1))
    assert of(Truncate, effects) == of(Append, effects) == []
    assert raft.log.log_end_offset == 8
    request = append((2, 1), 4, 6, term=3)
    mixed = AppendRequest(TWO, ONE, 3, 2, 1, (BatchSpan(2, 4, 1, 2), BatchSpan(4, 6, 3, 2)), request.batches, 0, 0)
    effects = raft.receive(1.0, mixed)
    assert of(Truncate, effects) == [Truncate(4, 1)]
    assert of(Append, effects) == [Append((BatchSpan(4, 6, 3, 2),), b"\x04\x05")]


def test_a_cut_below_the_commit_index_is_fatal() -> None:
    raft = node(starts=((1, 0),), end=8, term=1)
    raft.receive(1.0, append((8, 1), term=2, commit=8))
    effects = raft.receive(1.0, append((4, 1), 6, term=2))
    assert "lost data" in of(Fatal, effects)[0].reason
    assert raft.log.log_end_offset == 8


def test_prevote_checkquorum() -> None:
    raft = node()
    raft.receive(1.0, append((0, 0), term=3))
    raft.vote_persisted(1.0, 3, None)
    for request in (VoteRequest(THREE, ONE, 9, True, 9, 9), VoteRequest(THREE, ONE, 9, False, 9, 9)):
        assert sent(raft.receive(1.9, request)) == [VoteResponse(ONE, THREE, 3, 9, request.pre_vote, False)]
        assert (raft.term, raft.leader) == (3, TWO), "a protected leader was disturbed"
    assert sent(raft.receive(2.1, VoteRequest(THREE, ONE, 4, True, 0, 0)))[0] == VoteResponse(
        ONE, THREE, 3, 4, True, True
    )
    assert raft.term == 3, "a PreVote has raised the term"


def test_a_leader_without_contact_to_a_majority_steps_down() -> None:
    raft = ready_leader(now=10.0)
    assert of(BecameFollower, raft.tick(11.4)) == []
    raft.read(11.4, 5)
    effects = raft.tick(11.5)
    assert of(ReadRefused, effects) == [ReadRefused(5)]
    assert of(BecameFollower, effects) == [BecameFollower(1, None)]


def test_one_that_is_stuck_in_a_higher_term_is_let_in_again() -> None:
    raft = node(term=9)
    answer = sent(raft.receive(1.0, append((0, 0), term=3)))[0]
    assert (type(answer), answer.term) == (AppendRejected, 9)
    leader = ready_leader()
    effects = leader.receive(10.0, AppendRejected(THREE, ONE, 9, 0, 0, 0, 0))
    assert of(BecameFollower, effects) == [BecameFollower(9, None)]
    prospect = node(term=3)
    prospect.tick(5.0)
    assert sent(raft.receive(1.0, VoteRequest(TWO, ONE, 4, True, 0, 0)))[0] == VoteResponse(ONE, TWO, 9, 4, True, False)
    prospect.receive(5.0, VoteResponse(TWO, ONE, 9, 4, True, False))
    assert prospect.term == 9


def test_a_leader_proven_gone_is_not_protected_and_soon_replaced() -> None:
    raft = node()
    raft.receive(1.0, append((0, 0), term=3))
    raft.vote_persisted(1.0, 3, None)
    assert raft.leader_gone(1.1, TWO.node_id, 2) == []
    assert raft.leader_gone(1.1, THREE.node_id, 3) == []
    assert raft.leader_gone(1.1, TWO.node_id, 3) == [BecameFollower(3, None)]
    assert raft.deadline is not None
    assert raft.deadline <= 1.1 + CONFIG.leader_gone_delay_max_ms / 1000
    assert sent(raft.receive(1.1, VoteRequest(THREE, ONE, 4, True, 0, 0)))[0] == VoteResponse(
        ONE, THREE, 3, 4, True, True
    )
    assert len(sent(raft.tick(raft.deadline))) == 2


def test_the_voters_that_are_left_take_turns_to_replace_a_leader_that_is_gone() -> None:
    deadlines = []
    for key in (ONE, THREE):
        raft = node(key)
        raft.receive(1.0, append((0, 0), term=3, target=key))
        raft.vote_persisted(1.0, 3, None)
        raft.leader_gone(1.1, TWO.node_id, 3)
        assert raft.deadline is not None
        deadlines.append(raft.deadline - 1.1)
    turn_s = CONFIG.leader_gone_turn_ms / 1000
    spread_s = CONFIG.leader_gone_delay_max_ms / 1000
    assert 0 <= deadlines[0] <= spread_s < turn_s <= deadlines[1] <= turn_s + spread_s


def test_a_wiped_disk_neither_votes_nor_stands_nor_accepts() -> None:
    wiped = ReplicaKey(ONE.node_id, DirectoryId(b"new" + bytes(13)))
    raft = node(wiped)
    assert raft.deadline is None
    assert raft.receive(1.0, VoteRequest(TWO, ONE, 1, False, 5, 5)) == []
    assert raft.receive(1.0, append((0, 0), 1, term=1)) == []
    assert raft.tick(1000.0) == []
    leader = ready_leader()
    leader.appended(10.0, 1, 2)
    leader.durable(10.0, 2, 0)
    assert leader.receive(10.0, AppendAccepted(wiped, ONE, 1, 0, 2, 2)) == [], "its word was counted"


def test_a_damaged_log_neither_votes_nor_leads_nor_vouches() -> None:
    raft = node(starts=((1, 0),), end=5, term=1, damaged=True)
    assert raft.deadline is None
    for pre_vote in (True, False):
        effects = raft.receive(1.0, VoteRequest(TWO, ONE, 2, pre_vote, 9, 9))
        answers = sent(effects) + sent(raft.vote_persisted(1.0, 2, None))
        assert [answer.granted for answer in answers] == [False]
    effects = raft.receive(1.0, append((5, 1), 6, term=2))
    assert sent(effects) == of(Append, effects) == []
    assert raft.leader == TWO


def test_a_read_waits_for_a_round_begun_after_it() -> None:
    raft = node()
    elected(raft)
    assert raft.read(10.0, 1) == [ReadRefused(1)], "no commit in this term yet"
    raft = ready_leader()
    heartbeats = sent(raft.read(10.0, 1))
    assert [heartbeat.round for heartbeat in heartbeats] == [1, 1]
    assert raft.read(10.0, 2) == [], "the round that is on its way does not cover it, and one at a time is enough"
    assert of(ReadReady, raft.receive(10.0, AppendAccepted(TWO, ONE, 1, 0, 1, 1))) == []
    effects = raft.receive(10.0, AppendAccepted(TWO, ONE, 1, 1, 1, 1))
    assert of(ReadReady, effects) == [ReadReady(1, 1)]
    assert [heartbeat.round for heartbeat in sent(effects)] == [2, 2]
    effects = raft.receive(10.0, AppendAccepted(THREE, ONE, 1, 2, 0, 0))
    assert of(ReadReady, effects) == [ReadReady(2, 1)]


@pytest.mark.parametrize(
    ("mine", "end", "round_trips"),
    [
        (((1, 0),), 500, 1),  # merely behind
        (((1, 0), (2, 900)), 2000, 2),  # batches of a term that the leader never saw
        (((1, 0), (2, 300), (3, 350)), 400, 3),
        ((), 0, 1),
    ],
)
def test_conflicts_are_backed_up_by_term(mine: tuple[tuple[int, int], ...], end: int, round_trips: int) -> None:
    """The leader has term 1 up to 1000, then term 4; whatever the other has, few round trips find where they part."""
    leader = node(starts=((1, 0), (4, 1000)), end=1100, term=4)
    follower = node(TWO, starts=mine, end=end, term=4)
    effects = elected(leader)
    (no_op,) = of(AppendNoOp, effects)
    messages = [message for message in sent(effects) if message.target == TWO]
    trips = 0
    while True:
        (request,) = messages
        answers = sent(follower.receive(10.0, request)) + sent(follower.vote_persisted(10.0, 5, None))
        if isinstance(answers[0], AppendAccepted):
            break
        trips += 1
        effects = leader.receive(10.0, answers[0])
        messages = sent(effects)
        reads = of(ReadEntries, effects)
        if reads:
            assert reads[0].from_offset <= min(end, 1000)
            break
    assert trips <= round_trips
    assert no_op.base_offset == 1100


def test_a_silent_voter_gets_no_more_than_a_window() -> None:
    raft = ready_leader()
    raft.receive(10.0, AppendAccepted(THREE, ONE, 1, 0, 1, 1))
    reads = 0
    for end in range(2, 50):
        for read in of(ReadEntries, raft.appended(10.0, end - 1, end)):
            if read.target == THREE:
                reads += 1
                span = BatchSpan(read.from_offset, end, 1, 1)
                assert len(sent(raft.entries_read(10.0, THREE, 1, read.from_offset, [span], b"x"))) == 1
    assert reads == CONFIG.max_in_flight_appends
    (read,) = of(ReadEntries, raft.receive(10.0, AppendAccepted(THREE, ONE, 1, 0, 5, 1)))
    assert read.from_offset == 5, "all that has gathered goes in one append"


def test_a_moved_commit_index_is_passed_on_at_once_and_once() -> None:
    raft = ready_leader()
    (message,) = sent(raft.receive(10.0, AppendAccepted(THREE, ONE, 1, 0, 1, 1)))
    assert (message.target, message.commit_offset) == (THREE, 1)
    raft.appended(10.0, 1, 2)
    for voter in (TWO, THREE):
        raft.entries_read(10.0, voter, 1, 1, [BatchSpan(1, 2, 1, 1)], b"x")
    raft.durable(10.0, 2, 0)
    effects = raft.receive(10.0, AppendAccepted(TWO, ONE, 1, 0, 2, 2))
    assert of(Committed, effects) == [Committed(2)]
    (message,) = sent(effects)
    assert (message.target, message.commit_offset, message.spans) == (TWO, 2, ())
    (message,) = sent(raft.receive(10.0, AppendAccepted(THREE, ONE, 1, 0, 2, 2)))
    assert (message.target, message.commit_offset) == (THREE, 2)
    assert sent(raft.receive(10.0, AppendAccepted(THREE, ONE, 1, 0, 2, 2))) == []


def test_two_leaders_in_one_term_are_fatal() -> None:
    raft = ready_leader()
    assert of(Fatal, raft.receive(10.0, append((0, 0), term=1)))
