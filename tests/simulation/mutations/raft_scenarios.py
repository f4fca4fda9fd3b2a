"""Scenarios of the quorum: what Raft's rules promise when voters are cut off, paused, or lose their power."""

from __future__ import annotations

import contextlib

from dohle.controller.quorum import Quorum, metadata_folder
from dohle.controller.raft_wire import checked_spans
from dohle.controller.vote_file import VOTE_FILE, read_vote
from dohle.model.errors import DohleError
from dohle.model.metadata import NoOp
from dohle.model.metadata_batch import encode_metadata
from dohle.raft.messages import AppendRequest
from dohle.storage.segment import LOG_SUFFIX
from tests.simulation.mutations.late_disk import LateDisk
from tests.simulation.mutations.stage import Stage, quorum_of, scenario


@scenario
async def a_voter_that_was_cut_off_returns(stage: Stage) -> None:
    leader = stage.controller()
    term, away = stage.term(leader), stage.others(leader)[0]
    stage.cut(away, *stage.others(away))
    await stage.passes(6)
    stage.world.links.mend_all()
    await stage.passes(3)
    assert (stage.controller(), stage.term(leader)) == (leader, term), "who was cut off has deposed the leader"


@scenario
async def the_leader_is_cut_off(stage: Stage) -> None:
    leader = stage.controller()
    stage.cut(leader, *stage.others(leader))
    await stage.passes(5)
    assert not stage.leads_quorum(leader), "a leader that reaches nobody still leads"


@scenario
async def a_voter_does_not_hear_the_leader(stage: Stage) -> None:
    leader = stage.controller()
    term, deaf = stage.term(leader), stage.others(leader)[0]
    stage.cut(leader, deaf)
    await stage.passes(8)
    assert (stage.controller(), stage.term(leader)) == (leader, term), "a leader that a majority hears was deposed"


@scenario
async def a_voter_is_stuck_in_a_higher_term(stage: Stage) -> None:
    leader = stage.controller()
    term = stage.term(leader)
    stage.world.pause(leader)
    while not (stuck := [node_id for node_id in stage.others(leader) if stage.term(node_id) > term]):
        await stage.passes(0.0001)
    stage.cut(stuck[0], *stage.others(stuck[0]))
    stage.world.resume(leader)
    await stage.passes(2)
    stage.world.links.mend_all()
    await stage.passes(6)
    terms = {stage.term(node_id) for node_id in stage.world.machines}
    assert len(terms) == 1, f"a voter never came back from its higher term: {terms}"


@scenario
async def the_controller_is_cut_off_and_asked(stage: Stage) -> None:
    asked = stage.controller()
    stage.cut(asked, *stage.others(asked))
    try:
        await stage.asks(lambda admin: admin.create_topic("t"), asked)
    except DohleError:
        return
    await stage.passes(3)
    stage.world.links.mend_all()
    await stage.passes(3)
    topics = await stage.asks(lambda admin: admin.list_topics())
    assert [topic.name for topic in topics] == ["t"], "a topic that was made is gone"


@scenario
async def two_voters_are_left_in_different_terms(stage: Stage) -> None:
    """The one in the higher term lags, so it cannot be elected; the other must hear of that term to be."""
    leader = stage.controller()
    term = stage.term(leader)
    stage.world.pause(leader)
    others = stage.others(leader)

    def ahead() -> list[int]:
        return [node_id for node_id in others if stage.term(node_id) > term]

    def cut_off() -> None:
        stage.cut(ahead()[0], *stage.others(ahead()[0]))

    await stage.in_the_turn(lambda: bool(ahead()), cut_off, "one stands")
    lagging = ahead()[0]
    stage.world.resume(leader)
    other = next(node_id for node_id in others if node_id != lagging)
    await stage.until(lambda: _leads_one_of(stage, leader, other), "the other two have a leader")
    await stage.asks(lambda admin: admin.create_topic("t"), leader, other)
    leading = next(node_id for node_id in (leader, other) if stage.leads_quorum(node_id))
    left = next(node_id for node_id in (leader, other) if node_id != leading)
    await stage.until(lambda: _reaches(stage, left) == _reaches(stage, leading), "both have everything")
    assert stage.term(left) < stage.term(lagging), "the one that was cut off has the highest term"
    stage.world.kill(leading)
    stage.mend(lagging, left)
    await stage.until(lambda: stage.leads_quorum(left), "the one that has everything leads", 10)


def _leads_one_of(stage: Stage, *node_ids: int) -> bool:
    return any(map(stage.leads_quorum, node_ids))


@scenario
async def a_voter_loses_its_power_at_its_vote(stage: Stage) -> None:
    first = stage.controller()
    for node_id in stage.others(first):
        stage.world.machines[node_id].disk.faults.slowness = 50
    stage.world.kill(first)
    while not (elected := [node_id for node_id in stage.others(first) if stage.leads_quorum(node_id)]):
        await stage.passes(0.0001)
    term, voter = stage.term(elected[0]), 6 - first - elected[0]
    stage.world.lose_power(voter)
    machine = stage.world.machines[voter]
    vote = await read_vote(machine.disk, metadata_folder(machine.config.data_dir))
    assert (vote.term, vote.voted_for) == (term, quorum_of(stage.node(elected[0])).key), (
        f"who elected term {term} forgot it"
    )


@scenario
async def a_voter_that_lags_asks_for_votes(stage: Stage) -> None:
    leader = stage.controller()
    lagging, other = stage.others(leader)
    stage.cut(lagging, leader, other)
    await stage.asks(lambda admin: admin.create_topic("t"), leader)
    await stage.until(lambda: _reaches(stage, other) == _reaches(stage, leader) > _reaches(stage, lagging), "it lags")
    stage.world.kill(leader)
    stage.world.kill(other)
    stage.world.machines[other].clock_rate = 0.02  # it is in no haste to stand itself
    stage.world.start(other)
    stage.mend(lagging, other)
    await stage.until(lambda: any(map(stage.leads_quorum, (lagging, other))), "one of the two leads")
    assert stage.leads_quorum(other), "who lacks what is committed was elected"


def _reaches(stage: Stage, node_id: int) -> int:
    return quorum_of(stage.node(node_id)).log_end_offset


@scenario
async def a_controller_is_deposed_with_changes_of_its_own(stage: Stage) -> None:
    leader = stage.controller()
    stage.cut(leader, *stage.others(leader))
    with contextlib.suppress(DohleError):
        await stage.asks(lambda admin: admin.create_topic("lost"), leader)
    await stage.until(lambda: any(map(stage.leads_quorum, stage.others(leader))), "another leads")
    await stage.passes(1)
    stage.mend(leader, *stage.others(leader))
    await stage.make_topic()
    await stage.passes(2)
    ends = {quorum_of(stage.node(node_id)).log_end_offset for node_id in stage.world.machines}
    assert len(ends) == 1, f"the logs of the metadata end at {sorted(ends)}"


@scenario
async def controllers_with_many_changes_are_cut_off(stage: Stage) -> None:
    for attempt in range(3):  # by chance a change that was cut off has reached another voter
        leader = stage.controller()
        for number in range(30):
            name = f"t{attempt}-{number}"
            stage.tells(lambda admin, name=name: admin.create_topic(name), leader)  # type: ignore[misc]
        quorum = quorum_of(stage.node(leader))
        begun = quorum.commit_offset
        await stage.at_once(lambda: begun + 4 < quorum.commit_offset < quorum.log_end_offset, "some are committed")  # noqa: B023 - awaited here
        stage.cut(leader, *stage.others(leader))
        await stage.until(lambda: any(map(stage.leads_quorum, stage.others(leader))), "another leads")  # noqa: B023
        stage.mend(leader, *stage.others(leader))
        await stage.passes(3)


@scenario
async def a_new_leader_is_cut_off_with_its_no_op(stage: Stage) -> None:
    """It comes back with an entry of a term that no other voter has ever heard of."""
    first = stage.controller()
    stage.world.kill(first)
    others = stage.others(first)

    def cut_off() -> None:
        elected = stage.controller()
        stage.cut(elected, *stage.others(elected))

    await stage.in_the_turn(lambda: any(map(stage.leads_quorum, others)), cut_off, "another is elected")
    alone = stage.controller()
    stage.world.start(first)
    rest = stage.others(alone)
    await stage.until(lambda: any(map(stage.leads_quorum, rest)), "a third is elected")
    await stage.until(lambda: not stage.leads_quorum(alone), "the one that is cut off has given up")
    await stage.asks(lambda admin: admin.create_topic("t"), *rest)
    await stage.passes(6)  # what was sent first is dropped: the first that it hears comes from beyond its log's end
    stage.mend(alone, *rest)
    await stage.until(lambda: len({_reaches(stage, node_id) for node_id in stage.world.machines}) == 1, "all agree")
    await stage.passes(1)


@scenario
async def a_voters_disk_is_late_with_its_vote(stage: Stage) -> None:
    """The next term, or the one after, begins before the disk has told of the last."""
    voter = stage.others(stage.controller())[0]
    disk, term = LateDisk(stage.world.machines[voter].disk), stage.term(voter)
    disk.withheld = [VOTE_FILE]
    while stage.term(voter) < term + 2:
        leader = stage.controller()
        before = stage.term(voter)
        stage.world.kill(leader)
        await stage.passes(0.5)
        stage.world.start(leader)
        await stage.until(lambda: stage.term(voter) > before and _leads_one_of(stage, *stage.others(voter)), "another")  # noqa: B023 - awaited here
    disk.withheld = []
    await stage.passes(1)


@scenario
async def a_deposed_leaders_disk_answers_late(stage: Stage) -> None:
    """What it appended as the leader is synced in the moment between the decision to cut it off and its going."""
    old = stage.controller()
    rest = stage.others(old)
    disk = LateDisk(stage.world.machines[old].disk)
    stage.cut(old, *rest)
    disk.reads_wait, disk.withheld = True, [LOG_SUFFIX]
    begun = _reaches(stage, old)
    stage.tells(lambda admin: admin.create_topic("lost"), old)
    await stage.until(lambda: _reaches(stage, old) > begun, "the old leader has a change of its own")
    await stage.until(lambda: any(map(stage.leads_quorum, rest)), "another leads")
    await stage.asks(lambda admin: admin.create_topic("t"), *rest)
    stage.mend(old, *rest)
    view = quorum_of(stage.node(old))._node.log
    await stage.until(lambda: view.generation > 0 and view.log_end_offset > _reaches(stage, old), "it is to be cut off")
    disk.withheld = []
    await stage.passes(0.1)
    disk.reads_wait = False
    await stage.until(lambda: len({_reaches(stage, node_id) for node_id in stage.world.machines}) == 1, "all agree")


@scenario
async def the_controller_is_stopped_cleanly(stage: Stage) -> None:
    leader = stage.controller()
    others, term = stage.others(leader), stage.term(leader)
    process = stage.world.machines[leader].process
    assert process is not None
    process.stop(lambda: None)
    await stage.at_once(lambda: any(map(stage.leads_quorum, others)), "another leads", 0.2)
    assert max(map(stage.term, others)) == term + 1, "more than one election"


@scenario
async def the_controller_hands_over_to_one_that_lags(stage: Stage) -> None:
    leader = stage.controller()
    lagging = stage.others(leader)[0]
    key = quorum_of(stage.node(lagging)).key
    stage.world.pause(lagging)
    for number in range(8):  # more than the leader sends without an answer
        await stage.asks(lambda admin, name=f"t{number}": admin.create_topic(name), leader)  # type: ignore[misc]
    stage.world.resume(lagging)
    outcome = stage.hands_over(leader, key)
    await stage.until(lambda: bool(outcome), "the transfer is over")
    assert outcome == [True], "the office was not handed over"
    await stage.passes(0.2)
    assert stage.leads_quorum(lagging), "another leads than who was named"


@scenario
async def the_controller_hands_over_and_is_asked_meanwhile(stage: Stage) -> None:
    leader = stage.controller()
    for node_id in stage.others(leader):
        stage.world.machines[node_id].disk.faults.slowness = 50
    outcome = stage.hands_over(leader)
    made = stage.tells(lambda admin: admin.create_topic("t"), leader)
    await stage.until(lambda: bool(outcome), "the transfer is over")
    assert outcome == [True], "the office was not handed over"
    await stage.until(lambda: bool(made), "the topic is made")
    assert not isinstance(made[0], DohleError), made[0]


@scenario
async def nobody_takes_over_from_the_controller(stage: Stage) -> None:
    leader = stage.controller()
    dead = stage.others(leader)[0]
    key = quorum_of(stage.node(dead)).key
    stage.world.kill(dead)
    outcome = stage.hands_over(leader, key)
    await stage.passes(1.5)
    assert outcome == [False], f"the transfer to a voter that hears nothing came to {outcome}"
    assert stage.leads_quorum(leader), "it leads no longer"
    await stage.make_topic(replicas=2)


@scenario
async def the_controller_is_cut_off_and_asked_what_it_knows(stage: Stage) -> None:
    await stage.make_topic()
    asked = stage.controller()
    stage.cut(asked, *stage.others(asked))
    answer = stage.tells(lambda admin: admin.create_topic("t"), asked)
    await stage.passes(1)
    assert not answer, "a controller that reaches nobody has answered from what it knew"


@scenario
async def an_append_comes_again(stage: Stage) -> None:
    """A follower is handed once more what it has, as after a connection that broke."""
    leader = stage.controller()
    await stage.make_topic()
    await stage.passes(1)
    end = _quorum_of_follower(stage).log_end_offset
    batches = await _quorum_of_follower(stage)._log.read(0, 1 << 20, up_to=end)
    await _delivers(stage, leader, prev_offset=0, prev_term=0, batches=batches, commit_offset=end)


@scenario
async def an_append_of_another_history_comes(stage: Stage) -> None:
    """Its batch fits the follower's log by its offset alone: what comes before it there is of another term."""
    leader = stage.controller()
    await stage.make_topic()
    await stage.passes(1)
    term, end = stage.term(leader), _quorum_of_follower(stage).log_end_offset
    batch = encode_metadata([NoOp()], metadata_version=1, base_offset=end, term=term, timestamp_ms=0)
    await _delivers(stage, leader, prev_offset=end, prev_term=term - 1, batches=batch, commit_offset=0)
    assert _quorum_of_follower(stage).log_end_offset == end, "it was taken"


def _quorum_of_follower(stage: Stage) -> Quorum:
    return quorum_of(stage.node(stage.others(stage.controller())[0]))


async def _delivers(
    stage: Stage, leader: int, *, prev_offset: int, prev_term: int, batches: bytes, commit_offset: int
) -> None:
    process = stage.world.machines[stage.others(leader)[0]].process
    sender, receiver = quorum_of(stage.node(leader)), _quorum_of_follower(stage)
    assert process is not None

    async def deliver() -> None:
        spans = checked_spans(batches, prev_offset)
        request = (sender.key, receiver.key, sender.term, prev_offset, prev_term, spans, batches, commit_offset, 0)
        receiver.receive(AppendRequest(*request))

    process.spawn(deliver(), "deliver")
    await stage.passes(1)
    assert process.ended is None, f"the follower has ended: {process.ended}"


@scenario
async def two_voters_are_removed_at_once(stage: Stage) -> None:
    leader = stage.controller()
    for machine in stage.world.machines.values():
        machine.disk.faults.slowness = 50
    first, second = (
        stage.tells(lambda admin, node_id=node_id: admin.remove_voter(node_id), leader)  # type: ignore[misc]
        for node_id in stage.others(leader)
    )
    await stage.until(lambda: bool(first and second), "both are answered")
    assert any(isinstance(one[0], DohleError) for one in (first, second)), "two changes of the voters were in flight"


@scenario
async def the_controller_is_removed(stage: Stage) -> None:
    leader = stage.controller()
    await stage.asks(lambda admin: admin.remove_voter(leader))
    assert not stage.leads_quorum(leader), "who has no vote leads on"
    await stage.at_once(lambda: any(map(stage.leads_quorum, stage.others(leader))), "another leads", 1.0)
    await stage.make_topic()


@scenario
async def a_voter_is_added_that_lags(stage: Stage) -> None:
    leader = stage.controller()
    lagging, other = stage.others(leader)
    await stage.asks(lambda admin: admin.remove_voter(lagging), leader)
    await stage.until(lambda: lagging in stage.learners(leader), "it follows as a learner")
    stage.world.pause(lagging)
    for number in range(8):
        await stage.asks(lambda admin, name=f"t{number}": admin.create_topic(name, replication_factor=1), leader)  # type: ignore[misc]
    stage.tells(lambda admin: admin.add_voter(lagging), leader)
    await stage.passes(1)
    assert stage.voters(leader) == sorted([leader, other]), "who lacks something was given a vote"


@scenario
async def a_voter_is_removed_that_is_needed(stage: Stage) -> None:
    leader = stage.controller()
    dead, needed = stage.others(leader)
    stage.world.kill(dead)
    await stage.passes(2)
    outcome = stage.tells(lambda admin: admin.remove_voter(needed), leader)
    await stage.passes(2)
    assert isinstance(outcome[0] if outcome else None, DohleError), "the vote that a majority needs was taken away"
    await stage.make_topic(replicas=2)


@scenario
async def a_change_of_the_voters_is_taken_back(stage: Stage) -> None:
    leader = stage.controller()
    stays, goes = stage.others(leader)
    stage.cut(leader, stays, goes)
    stage.removes_voter(leader, goes)  # asked there alone: a client would ask the next leader again
    await stage.until(lambda: stage.voters(leader) == sorted([leader, stays]), "it has appended the change")
    await stage.until(lambda: any(map(stage.leads_quorum, (stays, goes))), "another leads")
    stage.mend(leader, stays, goes)
    await stage.until(lambda: stage.term(leader) == stage.term(stays), "it follows")
    await stage.passes(1)
    assert len(stage.voters(leader)) == 3, "it counts by what nobody committed"
