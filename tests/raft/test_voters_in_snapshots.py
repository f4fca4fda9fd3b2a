"""Where changes of the voters (rule 5) and snapshots (rule 8) meet: who votes once the log no longer says it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dohle.model.ids import NO_SNAPSHOT, SnapshotId
from dohle.raft.configurations import Configuration, Configurations
from dohle.raft.effects import FetchSnapshot, InstallSnapshot, ReadEntries
from dohle.raft.log_view import LogView, TermStart
from dohle.raft.messages import AppendAccepted, AppendRejected, SnapshotOffer, VoteRequest
from dohle.raft.node import RaftNode
from dohle.raft.quorum import NO_VOTERS, VoterSet
from tests.raft.test_membership import FOUR, WITH_FOUR, leader_changes, naming
from tests.raft.test_scenarios import CONFIG, ONE, THREE, TWO, VOTERS, Middle, append, node, of, sent

TAKEN = SnapshotId(100, 3)
WITHOUT_THREE = VoterSet.of([ONE, TWO, FOUR])


def joining() -> RaftNode:
    raft = RaftNode(FOUR, NO_VOTERS, LogView([], 0, 0), 0, None, Middle(), CONFIG)
    raft.start(0.0)
    return raft


def offer() -> SnapshotOffer:
    return SnapshotOffer(TWO, FOUR, 4, TAKEN, 7)


def test_a_learner_with_nothing_takes_a_snapshot_and_knows_the_voters_that_it_names() -> None:
    raft = joining()
    assert of(FetchSnapshot, raft.receive(1.0, offer())) == [FetchSnapshot(TWO, TAKEN)]
    assert raft.snapshot_fetched(TAKEN, VOTERS) == [InstallSnapshot(TAKEN, 1)]
    assert raft.voters == VOTERS
    assert raft.deadline is None, "it has no vote by them"
    raft.receive(1.1, naming(append((100, 3), 101, term=4, target=FOUR), WITH_FOUR))
    assert raft.voters == WITH_FOUR
    assert raft.deadline is not None


def test_a_change_above_an_installed_snapshot_is_taken_back_to_what_the_snapshot_names() -> None:
    raft = joining()
    raft.receive(1.0, offer())
    raft.snapshot_fetched(TAKEN, WITHOUT_THREE)
    raft.receive(1.1, naming(append((100, 3), 101, term=4, target=FOUR), WITH_FOUR))
    raft.receive(1.2, append((100, 3), 101, term=5, source=ONE, target=FOUR))
    assert raft.voters == WITHOUT_THREE


def test_an_installed_snapshot_takes_the_place_of_changes_that_the_log_had() -> None:
    raft = node(FOUR, voters=VOTERS)
    raft.receive(1.0, naming(append((0, 0), 1, term=1, target=FOUR), WITH_FOUR))
    raft.receive(1.1, offer())
    raft.snapshot_fetched(TAKEN, VOTERS)
    assert raft.voters == VOTERS
    assert raft.deadline is None, "it was removed meanwhile"


def test_a_voter_by_its_snapshot_alone_asks_those_that_the_snapshot_names() -> None:
    log = LogView([], 100, 100, TermStart(3, 100))
    raft = RaftNode(FOUR, WITH_FOUR, log, 3, None, Middle(), CONFIG, snapshot=TAKEN)
    raft.start(0.0)
    assert raft.deadline is not None
    asked = [message for message in sent(raft.tick(raft.deadline)) if isinstance(message, VoteRequest)]
    assert [message.target for message in asked] == [ONE, TWO, THREE]


def test_a_leader_goes_on_by_a_change_that_is_cut_off_its_log_and_may_change_again() -> None:
    raft = leader_changes(WITH_FOUR)
    for voter in (TWO, FOUR):
        raft.receive(10.0, AppendAccepted(voter, ONE, 1, 0, 2, 2))
    raft.snapshot_made(SnapshotId(2, 1))
    raft.log_cut(2)
    assert raft.voters == WITH_FOUR
    assert raft.may_change_voters
    raft.appended(10.1, 2, 3, VOTERS)
    assert raft.voters == VOTERS


def test_a_learner_behind_the_logs_start_is_offered_a_snapshot_and_goes_on_from_its_end() -> None:
    raft = leader_changes(VoterSet.of([ONE, TWO]))
    raft.receive(10.0, AppendAccepted(TWO, ONE, 1, 0, 2, 2))
    raft.snapshot_made(SnapshotId(2, 1))
    raft.log_cut(2)
    raft.add_learner(10.1, FOUR)
    offered = sent(raft.receive(10.1, AppendRejected(FOUR, ONE, 1, 0, 2, 0, 0)))
    assert offered == [SnapshotOffer(ONE, FOUR, 1, SnapshotId(2, 1), 0)]
    raft.appended(10.2, 2, 3)
    effects = raft.receive(10.3, AppendAccepted(FOUR, ONE, 1, 0, 2, 2))
    assert [(read.target, read.from_offset) for read in of(ReadEntries, effects)] == [(FOUR, 2)]


@given(st.lists(st.tuples(st.sampled_from(["append", "cut", "truncate", "install"]), st.integers(1, 5)), max_size=30))
def test_configurations_are_those_of_a_log_that_forgets_nothing(steps: list[tuple[str, int]]) -> None:
    """Beside a log from 0 on, with every change: a cut changes nothing, and a truncation goes no further down."""
    sets = (VOTERS, WITH_FOUR, WITHOUT_THREE)
    configurations = Configurations(NO_VOTERS)
    said: list[Configuration] = []
    start, end = NO_SNAPSHOT.end_offset, 0
    for step, by in steps:
        match step:
            case "append":
                end += by
                said.append(Configuration(end, sets[end % 3]))
                configurations.append(*said[-1])
            case "cut":
                start = min(start + by, end)
                configurations.cut_below(start)
            case "truncate":
                end = max(end - by, start)
                said = [change for change in said if change.end_offset <= end]
                configurations.truncate(end)
            case _:
                start = end = end + by
                said = [Configuration(end, sets[by % 3])]
                configurations.install(sets[by % 3])
        assert configurations.current == (said[-1].voters if said else NO_VOTERS)
        in_flight = bool(said) and said[-1].end_offset > start
        assert configurations.changed_at == (said[-1].end_offset if in_flight else 0)
