"""Scenarios of the quorum: what Raft's rules promise when voters are cut off, paused, or lose their power."""

from __future__ import annotations

import contextlib

from dohle.controller.quorum import metadata_folder
from dohle.controller.vote_file import read_vote
from dohle.model.errors import DohleError
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
    stage.world.pause(other)
    stage.world.kill(leader)
    stage.mend(lagging, other)
    await stage.passes(2)
    stage.world.resume(other)
    await stage.until(lambda: any(map(stage.leads_quorum, (lagging, other))), "one of the two leads")
    assert stage.leads_quorum(other), "who lacks what is committed was elected"


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
