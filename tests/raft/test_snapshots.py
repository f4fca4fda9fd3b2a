"""Snapshots in the quorum (rule 8), input by input: who is offered one, who takes it, and what becomes of the log."""

from __future__ import annotations

from dohle.model.ids import NO_SNAPSHOT, SnapshotId
from dohle.raft.effects import Append, Committed, FetchSnapshot, InstallSnapshot, ReadEntries
from dohle.raft.log_view import LogView, TermStart
from dohle.raft.messages import AppendAccepted, AppendRejected, SnapshotOffer
from dohle.raft.node import RaftNode
from tests.raft.test_scenarios import CONFIG, ONE, THREE, TWO, VOTERS, Middle, append, of, ready_leader, sent

TAKEN = SnapshotId(100, 3)


def follower(end: int = 0, term: int = 4, start: int = 0, snapshot: SnapshotId = NO_SNAPSHOT) -> RaftNode:
    starts = [TermStart(3, start)] if end > start else []
    log = LogView(starts, end, end, TermStart(snapshot.term if start else 0, start))
    raft = RaftNode(ONE, VOTERS, log, term, None, Middle(), CONFIG, snapshot=snapshot)
    raft.start(0.0)
    return raft


def offer(snapshot: SnapshotId = TAKEN, heartbeat_round: int = 7) -> SnapshotOffer:
    return SnapshotOffer(TWO, ONE, 4, snapshot, heartbeat_round)


def test_who_lacks_what_is_offered_fetches_it_and_answers_as_to_a_heartbeat() -> None:
    raft = follower(end=10)
    effects = raft.receive(1.0, offer())
    assert of(FetchSnapshot, effects) == [FetchSnapshot(TWO, TAKEN)]
    assert sent(effects) == [AppendAccepted(ONE, TWO, 4, 7, 0, 0)]
    assert raft.deadline is not None
    assert raft.deadline > 1.0 + CONFIG.election_timeout_min_ms / 1000


def test_an_installed_snapshot_is_the_log_and_counts_once_it_is_durable() -> None:
    raft = follower(end=10)
    raft.receive(1.0, offer())
    effects = raft.snapshot_fetched(TAKEN, VOTERS)
    assert effects == [InstallSnapshot(TAKEN, 1)]
    assert (raft.log.start_offset, raft.log.log_end_offset, raft.log.last_term, raft.commit_offset) == (
        100,
        100,
        3,
        100,
    )
    assert sent(raft.durable(1.1, 10, 0)) == [], "an fsync of the log that was"
    assert sent(raft.durable(1.2, 100, 1)) == [AppendAccepted(ONE, TWO, 4, 7, 100, 100)]
    effects = raft.receive(1.3, append((100, 3), 101, term=4, commit=101))
    assert len(of(Append, effects)) == 1
    assert of(Committed, effects) == [Committed(101)]


def test_a_snapshot_that_came_too_late_changes_nothing() -> None:
    raft = follower(end=10)
    raft.receive(1.0, offer())
    raft.receive(1.1, append((10, 3), 100, term=4, batch_term=3, commit=100))
    assert raft.snapshot_fetched(TAKEN, VOTERS) == []
    assert raft.log.start_offset == 0


def test_whoever_has_it_all_takes_no_snapshot() -> None:
    effects = follower(end=120).receive(1.0, offer())
    assert of(FetchSnapshot, effects) == []
    assert of(Committed, effects) == [Committed(100)]
    assert sent(effects) == [AppendAccepted(ONE, TWO, 4, 7, 100, 100)]


def test_a_tail_that_contradicts_the_snapshot_is_given_up_for_it() -> None:
    raft = follower(end=120)
    other = SnapshotId(100, 4)
    assert of(FetchSnapshot, raft.receive(1.0, offer(other))) == [FetchSnapshot(TWO, other)]
    raft.snapshot_fetched(other, VOTERS)
    assert (raft.log.log_end_offset, raft.log.last_term) == (100, 4)


def test_appends_from_before_the_logs_start_are_equal_as_far_as_it() -> None:
    raft = follower(end=120, start=100, snapshot=TAKEN)
    effects = raft.receive(1.0, append((40, 1), 70, 100, 120, 130, term=4, batch_term=3, commit=130))
    (appended,) = of(Append, effects)
    assert [span.base_offset for span in appended.spans] == [120]
    assert sent(raft.receive(1.1, append((40, 1), term=4)))[-1] == AppendAccepted(ONE, TWO, 4, 0, 130, 120)


def test_an_offer_of_an_older_term_is_refused() -> None:
    raft = follower(end=10, term=5)
    effects = raft.receive(1.0, offer())
    assert of(FetchSnapshot, effects) == []
    assert sent(effects) == [AppendRejected(ONE, TWO, 5, 7, 100, 0, 0)]


def cut_leader() -> RaftNode:
    """Leads term 1; its log begins at offset 1, which both others were sent all before."""
    raft = ready_leader()
    raft.snapshot_made(SnapshotId(1, 1))
    raft.log_cut(1)
    return raft


def test_whoever_is_behind_the_logs_start_is_offered_the_newest_snapshot_and_goes_on_from_its_end() -> None:
    raft = cut_leader()
    offered = SnapshotOffer(ONE, THREE, 1, SnapshotId(1, 1), 0)
    assert sent(raft.receive(10.1, AppendRejected(THREE, ONE, 1, 0, 1, 0, 0))) == [offered]
    assert sent(raft.receive(10.2, AppendAccepted(THREE, ONE, 1, 0, 0, 0))) == [], "it knows already"
    assert offered in sent(raft.tick(10.5)), "the next heartbeat says it again"
    raft.appended(10.5, 1, 2)
    effects = raft.receive(10.6, AppendAccepted(THREE, ONE, 1, 0, 1, 1))
    assert [(read.target, read.from_offset) for read in of(ReadEntries, effects)] == [(THREE, 1)]


def test_a_read_that_the_cut_overtook_is_answered_with_nothing_and_ends_in_an_offer() -> None:
    raft = ready_leader()
    (read,) = of(ReadEntries, raft.receive(10.1, AppendRejected(THREE, ONE, 1, 0, 1, 0, 0)))
    assert read.from_offset == 0
    raft.snapshot_made(SnapshotId(1, 1))
    raft.log_cut(1)
    effects = raft.entries_read(10.2, THREE, 1, 0, (), b"")
    assert sent(effects) == [SnapshotOffer(ONE, THREE, 1, SnapshotId(1, 1), 0)]
