"""Scenarios of replication: leaders that are deposed, followers that lag, and clients that are told too much."""

from __future__ import annotations

import asyncio

from dohle import Consumer
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.world.topology import NodePlan, Topology
from dohle.testing.world.world import DATA
from tests.simulation.mutations.stage import Stage, scenario, scenario_in

APART = Topology((NodePlan(1, True, False), *(NodePlan(number, False, True) for number in (2, 3, 4))), 3, 2)
"""A controller that is nothing else, and three brokers."""


@scenario
async def a_topic_is_made_again_while_a_node_is_down(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(5, b"old")
    down = stage.others(stage.controller())[0]
    stage.world.kill(down)
    await stage.asks(lambda admin: admin.delete_topic("t"))
    await stage.make_topic()
    await stage.written(3, b"new")
    stage.world.start(down)
    await comes_back(stage, down)
    topic_ids = {stage.log(node_id).topic_id for node_id in stage.world.machines}
    assert len(topic_ids) == 1, "the folder of a deleted topic serves the new one"
    names = stage.world.machines[down].disk.list(DATA)
    assert any(name.startswith("t-0.") and name.endswith("-stray") for name in names), "the old records are gone"


@scenario
async def a_replica_is_gone_from_its_disk(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "3"})  # so that nobody leaves over silence
    await stage.written(5)
    robbed = stage.follower()
    machine = stage.world.machines[robbed]
    stage.world.kill(robbed)
    folder = f"{machine.config.data_dir}/t-0"
    machine.disk.lose(folder)
    stage.world.start(robbed)
    while True:
        await stage.passes(0.001)
        process = machine.process
        assert process is not None
        if not stage.has_replicas(robbed):
            continue
        log = stage.log(robbed)
        assert log.durable_end == 5 or robbed not in stage.partition().in_sync_replicas, "an empty replica is in sync"
        if process.ready and robbed in stage.partition().in_sync_replicas:
            return


@scenario
async def the_minimum_is_raised_above_the_in_sync_set(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "1"}, replicas=2)
    await stage.written(1)
    leader = stage.partition().leader
    follower = next(node_id for node_id in stage.partition().in_sync_replicas if node_id != leader)
    stage.world.kill(follower)
    await stage.until(lambda: len(stage.partition().in_sync_replicas) == 1, "the follower has left")
    await stage.asks(lambda admin: admin.alter_configs("t", {"min.insync.replicas": "2"}))
    await stage.passes(0.5)
    receipts = await stage.writes(1)
    await stage.passes(5)
    assert stage.log(stage.partition().leader).high_watermark == 1, "one replica alone counts, of at least two"
    assert not receipts[0].done() or receipts[0].exception() is not None, "acknowledged by one of at least two"


@scenario
async def a_deposed_leader_has_acknowledgements_waiting(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1, client="loser")
    old = stage.partition().leader
    stage.cut(old, *stage.others(old))
    stage.cut("loser", *stage.others(old))  # else it would find the new leader, and write there again
    lost = await stage.writes(1, b"lost", client="loser")
    await stage.until(lambda: stage.log(old).log_end_offset == 2, "the old leader has it")
    await stage.until(lambda: stage.partition().leader != old, "another leads")
    for number in range(2):
        await stage.written(1, b"kept %d" % number)
    stage.mend(old, *stage.others(old))
    await stage.passes(5)
    assert not lost[0].done() or lost[0].exception() is not None or lost[0].result().offset != 1, (
        "what another leader has overwritten was acknowledged"
    )


@scenario
async def a_member_lost_what_it_counted_before_the_sync(stage: Stage) -> None:
    await stage.make_topic({"flush.messages": "1000", "min.insync.replicas": "3"})
    await stage.written(1)
    await loses_what_counts_unsynced(stage, stage.follower())


async def loses_what_counts_unsynced(stage: Stage, follower: int) -> None:
    await stage.written(5)
    end = stage.log(stage.partition().leader).log_end_offset
    await stage.until(lambda: stage.log(follower).log_end_offset == end, "the follower has all")
    machine = stage.world.machines[follower]
    machine.disk.faults.forgetful = True
    stage.world.lose_power(follower)
    leader = stage.partition().leader
    stage.detour(leader, follower, 0.2)  # it does not get them back at once
    stage.world.start(follower)
    while machine.process is None or not machine.process.ready:
        await stage.passes(0.001)
        if stage.has_replicas(follower):
            is_member = follower in stage.partition().in_sync_replicas
            assert stage.log(follower).log_end_offset == end or not is_member, "in sync, and it has lost records"
    stage.detour(leader, follower, 0)


@scenario
async def a_follower_comes_back_with_less_than_it_counted(stage: Stage) -> None:
    await stage.make_topic({"flush.messages": "1000"})
    await stage.written(5)
    leader, follower = stage.partition().leader, stage.follower()
    await stage.until(lambda: stage.log(follower).log_end_offset == 5, "the follower has all")
    known = stage.leading().replicas[follower]
    stage.world.machines[follower].disk.faults.forgetful = True
    stage.world.lose_power(follower)
    stage.detour(leader, follower, 0.5)  # what is pushed arrives long after the leader has seen the subscription
    stage.world.start(follower)
    await stage.at_once(lambda: stage.leading().replicas[follower] is not known, "the follower has subscribed")
    await stage.passes(0.3)
    assert stage.log(follower).log_end_offset == 0, "it has lost everything"
    assert follower not in stage.partition().in_sync_replicas, "in sync, and it has nothing"
    stage.detour(leader, follower, 0)
    await comes_back(stage, follower)


@scenario
async def an_acknowledgement_takes_longer_than_a_restart(stage: Stage) -> None:
    await stage.make_topic({"flush.messages": "1000"})
    await stage.written(1)
    leader, follower = stage.partition().leader, stage.follower()
    machines = stage.world.machines
    machines[follower].disk.faults.forgetful = True
    stage.detour(follower, leader, 2.0)
    await stage.writes(5)
    await stage.until(lambda: stage.log(follower).log_end_offset == 6, "the follower has all")
    known = stage.leading().replicas[follower]
    assert known.durable_end == 1, "its acknowledgement is on its way"
    stage.world.lose_power(follower)
    stage.detour(follower, leader, 0)
    stage.detour(leader, follower, 0.1)
    stage.world.start(follower)
    await stage.at_once(lambda: stage.leading().replicas[follower] is not known, "the follower has subscribed anew")
    assert stage.leading().replicas[follower].durable_end == 0, "it has nothing"
    stage.world.links.cut(machines[leader].name, machines[follower].name)
    await stage.passes(2.2)
    assert stage.log(follower).log_end_offset == 0, "it has got nothing either"
    assert follower not in stage.partition().in_sync_replicas, "in sync, and it has nothing"
    stage.mend(leader, follower)
    stage.detour(leader, follower, 0)
    await comes_back(stage, follower)


@scenario_in(Topology.combined(5, replication_factor=3))
async def a_leader_is_elected_that_knows_an_old_watermark(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(3)
    leader = stage.partition().leader
    await stage.passes(1)
    await stage.writes(3)
    await stage.at_once(lambda: stage.log(leader).high_watermark == 6, "three more are written")
    others = stage.followers()
    stage.world.pause(others[1])
    stage.world.kill(leader)
    await stage.until(lambda: stage.partition().leader == others[0], "another leads")
    ends: list[int] = []
    process = stage.world.client("reader")

    async def ask() -> None:
        async with Consumer([f"{stage.world.machines[others[0]].name}:7092"], **seams_of(process)) as consumer:
            await consumer.assign("t")
            ends.extend((await consumer.end_offsets(*consumer.assignment())).values())

    process.spawn(ask(), "ask")
    await stage.passes(1)
    stage.world.resume(others[1])
    await stage.until(lambda: bool(ends), "the reader has its answer")
    assert ends == [6], f"six records are acknowledged, and the end is told to be {ends[0]}"


@scenario
async def a_leader_syncs_more_slowly_than_its_followers(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    leader = stage.partition().leader
    stage.world.machines[leader].disk.faults.least_sync_s = 0.1
    receipts = await stage.writes(1)
    await stage.until(lambda: receipts[0].done(), "the record is acknowledged", 5)


@scenario
async def a_member_and_its_leader_do_not_reach_each_other(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    leader, follower = stage.partition().leader, stage.follower()
    machines = stage.world.machines
    stage.world.links.cut(machines[follower].name, machines[leader].name)
    await stage.until(lambda: stage.leading().replicas[follower].subscriber is None, "its subscription has ended")
    receipts = await stage.writes(1)
    await stage.until(lambda: receipts[0].done(), "it has left, and all others have the record", 20)


@scenario
async def a_follower_chases_the_leader(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    slow = stage.follower()
    stage.world.kill(slow)
    await stage.until(lambda: slow not in stage.partition().in_sync_replicas, "it has left")
    await stage.writes_steadily(0.0005)
    stage.world.machines[slow].disk.faults.least_sync_s = 0.03
    stage.world.start(slow)
    await stage.until(lambda: slow in stage.partition().in_sync_replicas, "a slower follower is in sync", 10)


@scenario
async def a_leader_is_deposed_with_a_short_tail(stage: Stage) -> None:
    await _deposed_with_tail(stage, 2, 6)


@scenario
async def a_leader_is_deposed_with_a_long_tail(stage: Stage) -> None:
    await _deposed_with_tail(stage, 5, 2)


async def _deposed_with_tail(stage: Stage, tail: int, kept: int, configs: dict[str, str] | None = None) -> int:
    """A leader has written what nobody else has, another one leads, and the first comes back. Returns the first."""
    old = await deposed(stage, tail, configs)
    await leads_elsewhere(stage, old, kept)
    stage.mend(old, *stage.others(old))
    await comes_back(stage, old)
    return old


async def deposed(stage: Stage, tail: int, configs: dict[str, str] | None = None) -> int:
    """Cuts a leader off, and has it write what nobody else has. Returns it."""
    await stage.make_topic(configs)
    await stage.written(1, client="loser")
    old = stage.partition().leader
    stage.cut(old, *stage.others(old))
    stage.cut("loser", *stage.others(old))  # else it would find the new leader, and write there again
    while (end := stage.log(old).durable_end) < 1 + tail:
        await stage.writes(1, b"lost" * 500, client="loser")
        await stage.until(lambda: stage.log(old).durable_end > end, "the old leader has it")
    return old


async def leads_elsewhere(stage: Stage, old: int, kept: int) -> None:
    await stage.until(lambda: stage.partition().leader != old, "another leads")
    await stage.written(kept, b"kept" * 500)


async def comes_back(stage: Stage, node_id: int) -> None:
    """Returns once the node is ready, and in sync."""

    def is_back() -> bool:
        process = stage.world.machines[node_id].process
        is_ready = process is not None and process.ready
        return is_ready and len(stage.partition().in_sync_replicas) == 3 and stage.partition().leader >= 0

    await stage.until(is_back, f"node {node_id} is back and in sync", 60)


@scenario
async def a_leader_is_deposed_and_hears_late_that_it_diverges(stage: Stage) -> None:
    old = await deposed(stage, 5)
    await leads_elsewhere(stage, old, 2)
    stage.detour(stage.partition().leader, old, 0.3)
    stage.mend(old, *stage.others(old))
    await comes_back(stage, old)


@scenario
async def a_deposed_leader_leads_again(stage: Stage) -> None:
    old = await _deposed_with_tail(stage, 1, 2)
    await _leads_again(stage, old, 5)


async def _leads_again(stage: Stage, old: int, end: int) -> None:
    """The client whose tail was cut writes it again, to the leader that once had it."""
    assert stage.partition().assigned_replicas[0] == old, "or another one would lead"
    stage.world.kill(stage.partition().leader)
    await stage.until(lambda: stage.partition().leader == old, "the old leader leads again")
    await stage.written(1, b"last", client="loser")
    assert stage.log(old).log_end_offset == end, "acknowledged as a duplicate of what was cut"


@scenario
async def a_deposed_leader_had_rolled_its_log(stage: Stage) -> None:
    old = await _deposed_with_tail(stage, 2, 2, {"segment.ms": "1"})
    stage.world.kill(old)
    await stage.until(lambda: old not in stage.partition().in_sync_replicas, "it has left")
    stage.world.start(old)
    await comes_back(stage, old)
    await _leads_again(stage, old, 6)


@scenario
async def a_follower_lags_too_long(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    stage.world.machines[stage.follower()].disk.faults.slowness = 1e5
    await stage.writes(1)
    await stage.passes(9.5)
    await stage.writes_steadily(0.002, acks=1)
    await stage.until(lambda: len(stage.partition().in_sync_replicas) == 2, "the follower has left")


@scenario
async def a_follower_returns_far_behind(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    follower = stage.follower()
    await stage.writes_steadily(0.005)
    stage.world.pause(follower)
    await stage.until(lambda: follower not in stage.partition().in_sync_replicas, "the follower has left")
    await stage.passes(0.5)
    stage.world.machines[follower].disk.faults.slowness = 300
    stage.world.resume(follower)
    await stage.passes(2)
    stage.world.machines[follower].disk.faults.slowness = 1
    await stage.until(lambda: follower in stage.partition().in_sync_replicas, "the follower is in sync again")


@scenario_in(APART)
async def a_follower_joins_slowly(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    leader, follower = stage.partition().leader, stage.follower()
    stage.world.kill(follower)
    await stage.until(lambda: follower not in stage.partition().in_sync_replicas, "the follower has left")
    await stage.writes_steadily(0.002)
    await stage.until(lambda: stage.log(leader).high_watermark > 10, "records flow")
    stage.detour(leader, stage.controller(), 1)
    stage.world.start(follower)
    await stage.at_once(lambda: _is_to_join(stage, follower), "the follower is to join")
    stage.world.machines[follower].disk.faults.least_sync_s = 3  # it has nothing new until long after it has joined
    await stage.until(lambda: follower in stage.partition().in_sync_replicas, "the follower is in sync again")
    stage.world.machines[follower].disk.faults.least_sync_s = 0
    await stage.passes(4)


def _is_to_join(stage: Stage, follower: int) -> bool:
    proposal = stage.leading().in_sync.proposal
    return proposal is not None and follower in proposal.members


@scenario_in(APART)
async def a_leader_does_not_hear_that_a_follower_has_joined(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    leader, follower = stage.partition().leader, stage.follower()
    stage.world.kill(follower)
    await stage.until(lambda: follower not in stage.partition().in_sync_replicas, "the follower has left")
    await stage.writes_steadily(0.002)
    stage.world.start(follower)
    await stage.at_once(
        lambda: follower in stage.partition().in_sync_replicas and stage.leading().in_sync.proposal is not None,
        "the follower is in sync again",
    )
    stage.cut(leader, stage.controller())
    stage.world.pause(follower)
    await stage.passes(5)


@scenario
async def all_others_are_gone(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "2"}, replicas=2)
    await stage.written(1)
    stage.world.kill(stage.followers()[0])
    await stage.passes(5)
    assert len(stage.partition().in_sync_replicas) == 2, "one alone is in sync, of at least two"


@scenario
async def a_reader_knows_the_old_leader_alone(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1, client="loser")
    old = stage.partition().leader
    read = _read(stage, old)
    stage.cut(old, *stage.others(old))
    for client in ("loser", "reader"):
        stage.cut(client, *stage.others(old))
    await stage.writes(1, b"lost", client="loser")
    await stage.passes(2)
    assert len(read) == 1, "a record was read that no other replica has"


def _read(stage: Stage, *node_ids: int) -> list[int]:
    """Has a consumer read, that knows these nodes; returns a list that offsets will be in."""
    process, read = stage.world.client("reader"), list[int]()

    async def poll() -> None:
        names = [f"{stage.world.machines[node_id].name}:7092" for node_id in node_ids]
        async with Consumer(names, **seams_of(process)) as consumer:
            await consumer.assign("t")
            async for record in consumer:
                read.append(record.offset)

    process.spawn(poll(), "read")
    return read


@scenario_in(Topology.combined(5, replication_factor=3))
async def a_reader_is_ahead_of_the_new_leaders_watermark(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "2"})  # the new leader alone moves no watermark
    read = _read(stage, *stage.world.machines)
    await stage.written(3)
    leader = stage.partition().leader
    await stage.passes(1)
    others = stage.followers()

    def late() -> None:
        for other in others:
            stage.detour(leader, other, 60.0)

    committed = stage.in_the_turn(lambda: stage.log(leader).high_watermark == 6, late, "three more are committed")
    await asyncio.gather(committed, stage.writes(3))
    await stage.at_once(lambda: len(read) == 6, "everything is read")
    stage.world.pause(others[1])
    stage.world.kill(leader)
    await stage.until(lambda: stage.partition().leader == others[0], "another leads")
    await stage.passes(12)
    assert stage.log(others[0]).high_watermark < 6, "the new leader's watermark does not lag any more"
    stage.world.resume(others[1])
    await stage.written(1)
    await stage.until(lambda: read[-1] == 6, "the last record is read")
    assert read == list(range(7)), f"the reader went back: {read}"


@scenario
async def a_request_is_repeated_while_nobody_follows(stage: Stage) -> None:
    await stage.make_topic()
    for client in ("writer", "impatient"):
        await stage.writes(1, client=client, request_timeout_ms=500)
    await stage.until(lambda: stage.log(stage.partition().leader).high_watermark == 2, "both are written")
    leader = stage.partition().leader
    stage.cut(leader, *stage.others(leader))
    receipts = await stage.writes(1, client="impatient")
    await stage.passes(2.5)
    assert not receipts[0].done() or receipts[0].exception() is not None, "acknowledged, and one replica has it"


@scenario_in(APART)
async def the_last_member_dies_beside_a_follower_that_lags(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "1"}, replicas=2)
    await stage.written(1)
    leader, follower = stage.partition().leader, stage.followers()[0]
    stage.cut(leader, follower)
    stage.world.pause(follower)
    await stage.until(lambda: follower not in stage.partition().in_sync_replicas, "the follower has left")
    await stage.written(5)
    stage.world.resume(follower)
    await stage.until(lambda: stage.is_active(follower), "it is unfenced")
    stage.world.kill(leader)
    await stage.passes(5)


@scenario_in(APART)
async def a_leader_is_back_before_anybody_knows(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    leader = stage.partition().leader
    stage.cut(leader, stage.controller())
    stage.world.kill(leader)
    stage.world.start(leader)
    await stage.passes(0.5)
    stage.mend(leader, stage.controller())
    await stage.passes(5)


@scenario
async def a_replica_is_opened_after_a_crash(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(2)
    follower = stage.follower()
    stage.world.kill(follower)
    stage.world.start(follower)
    await comes_back(stage, follower)
    assert len(stage.log(follower).producers) == 1, "it would not tell a repeated batch from a new one"


@scenario_in(Topology.combined(5, replication_factor=3))
async def a_follower_lags_behind_a_new_leaders_start(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "2"})
    await stage.written(3)
    leader, slow = stage.partition().leader, stage.followers()[1]
    stage.world.pause(slow)
    await stage.until(lambda: slow not in stage.partition().in_sync_replicas, "the follower has left")
    await stage.passes(1)
    await stage.writes(1)
    await stage.at_once(lambda: stage.log(leader).high_watermark == 4, "one more is written")
    stage.world.kill(leader)
    stage.world.machines[slow].disk.faults.slowness = 3000
    stage.world.resume(slow)
    await stage.until(lambda: stage.is_active(slow), "it is unfenced")
    await stage.passes(1)


@scenario_in(APART)
async def a_follower_is_ahead_of_the_next_leader(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    await stage.passes(1)
    leader, following, ahead = stage.partition().assigned_replicas
    machines = stage.world.machines
    machines[following].disk.faults.least_sync_s = 1
    await stage.writes(1)
    await stage.until(lambda: stage.log(following).log_end_offset == 2, "it has the second record")
    stage.world.links.cut(machines[leader].name, machines[following].name)
    await stage.writes(1)
    await stage.until(lambda: stage.log(ahead).durable_end == 3, "it has the third record")
    await stage.at_once(lambda: stage.log(leader).high_watermark == 2, "the second record is committed")
    assert stage.log(ahead).high_watermark == 1, "it does not know that yet"
    stage.world.kill(leader)
    machines[following].disk.faults.least_sync_s = 0
    await stage.until(lambda: stage.partition().leader == following, "the one that lacks the third record leads")
    await stage.passes(1)
