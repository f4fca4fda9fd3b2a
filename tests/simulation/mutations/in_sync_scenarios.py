"""Scenarios of the in-sync set: what its leader and the controller make of requests and answers that come late."""

from __future__ import annotations

from collections.abc import Callable

from dohle import Producer
from dohle.model.errors import DohleError, InvalidRequest, NotController, StaleBrokerEpoch
from dohle.rpc.v1.controller_pb2 import AlterPartition, AlterPartitionsRequest, IsrMember
from dohle.storage.log_folder import METADATA_OFFSET_FILE as METADATA_OFFSET
from dohle.storage.single_log import METADATA_LOG
from dohle.testing.clients.sim_client import seams_of
from dohle.testing.world.world import DATA
from tests.simulation.mutations.late_disk import LateDisk
from tests.simulation.mutations.replication_scenarios import APART
from tests.simulation.mutations.stage import Stage, scenario_in
from tests.simulation.mutations.wire import arrive, overhear


async def _joins_again(stage: Stage) -> tuple[AlterPartitionsRequest, int, int]:
    """Returns the request by which a leader has taken a follower in, the leader, and the follower."""
    await stage.make_topic()
    await stage.written(1)
    leader, follower = stage.partition().leader, stage.follower()
    stage.world.kill(follower)
    await stage.until(lambda: follower not in stage.partition().in_sync_replicas, "the follower has left")
    heard = overhear(stage, leader)
    stage.world.start(follower)
    await stage.until(lambda: follower in stage.partition().in_sync_replicas, "the follower is in sync again")
    return heard[-1], leader, follower


@scenario_in(APART)
async def a_request_to_join_arrives_a_second_time(stage: Stage) -> None:
    """When the follower has left again, alive and behind."""
    request, leader, follower = await _joins_again(stage)
    stage.cut(leader, follower)
    await stage.writes_steadily(0.01)
    await stage.until(lambda: follower not in stage.partition().in_sync_replicas, "the follower has left again")
    await stage.passes(1)
    await arrive(stage, "AlterPartitions", request)
    await stage.passes(1)


@scenario_in(APART)
async def a_deposed_leaders_request_arrives_late(stage: Stage) -> None:
    """When another leads, and the former leader is alive and behind."""
    request, old, _ = await _joins_again(stage)
    stage.cut(old, *stage.others(old))
    await stage.until(lambda: stage.partition().leader != old, "another leads")
    stage.mend(old, stage.controller())
    await stage.until(lambda: stage.is_active(old), "the old leader is unfenced")
    await stage.written(3)
    await arrive(stage, "AlterPartitions", request)
    await stage.passes(1)


@scenario_in(APART)
async def a_broker_is_told_late_of_what_it_asked_for(stage: Stage) -> None:
    """Two followers join by answers; the metadata says so when the second is cut off, one after the other."""
    await stage.make_topic({"min.insync.replicas": "1"})
    await stage.written(1)
    leader, (first, second) = stage.partition().leader, stage.followers()
    stage.cut(leader, first, second)
    receipts = await stage.writes(1)
    await stage.until(lambda: len(stage.partition().in_sync_replicas) == 1, "both followers have left")
    await stage.until(receipts[0].done, "everything is acknowledged")
    disk = LateDisk(stage.world.machines[leader].disk)
    disk.withheld = ["/u-0", METADATA_OFFSET]  # whose folders it makes before it looks at anything else
    await _is_known(stage, "u")
    stage.mend(leader, first)
    await stage.until(lambda: first in stage.partition().in_sync_replicas, "the first has joined")
    await _is_known(stage, "v")
    stage.mend(leader, second)
    await stage.until(lambda: second in stage.partition().in_sync_replicas, "the second has joined")
    await stage.until(lambda: second in stage.leading().in_sync.committed, "the leader knows that")
    stage.cut(leader, second)
    await stage.until(lambda: _is_gone(stage, second), "the second is heard of no more")
    disk.withheld = ["/v-0"]
    await stage.until(lambda: "u-0" in _names(stage, leader), "the first topic's folder is made")
    await stage.writes(1)
    await stage.passes(1)
    disk.withheld = []
    await stage.passes(1)


async def _is_known(stage: Stage, topic: str) -> None:
    stage.tells(lambda admin: admin.create_topic(topic, partitions=1, replication_factor=3))
    await stage.until(lambda: topic in {known.name for known in stage.topics()}, "the topic is committed")


def _is_gone(stage: Stage, follower: int) -> bool:
    return next(r.subscriber is None for node_id, r in stage.leading().replicas.items() if node_id == follower)


def _names(stage: Stage, node_id: int) -> list[str]:
    return [str(partition.log.name) for partition in stage.broker(node_id).replicas.partitions.values()]


@scenario_in(APART)
async def two_followers_join_at_once(stage: Stage) -> None:
    """While the controller's disk takes its time over the first."""
    await stage.make_topic({"min.insync.replicas": "1"})
    await stage.written(1)
    leader, followers = stage.partition().leader, stage.followers()
    stage.cut(leader, *followers)
    await stage.writes(1)
    await stage.until(lambda: len(stage.partition().in_sync_replicas) == 1, "both followers have left")
    disk = LateDisk(stage.world.machines[stage.controller()].disk)
    disk.withheld = [METADATA_LOG]
    stage.mend(leader, followers[0])
    await stage.until(lambda: stage.leading().in_sync.proposal is not None, "one is to join")
    stage.mend(leader, followers[1])
    replicas = stage.leading().replicas
    await stage.until(lambda: all(replicas[n].durable_end == 2 for n in replicas), "both have caught up")
    await stage.passes(0.1)
    asked = stage.leading().in_sync.proposal
    assert asked is not None, "nobody was asked for"
    assert len(asked.members) == 2, f"before the first was answered, {asked} was asked for"
    disk.withheld = []
    await stage.until(lambda: len(stage.partition().in_sync_replicas) == 3, "both have joined")


@scenario_in(APART)
async def a_join_is_answered_by_a_refusal_of_its_repetition(stage: Stage) -> None:
    """The answer is lost, the metadata is late, and the follower has fallen silent."""
    await stage.make_topic()
    await stage.written(1)
    await stage.writes_steadily(0.01)
    leader, follower, controller = stage.partition().leader, stage.follower(), stage.controller()
    stage.cut(leader, follower)
    await stage.until(lambda: follower not in stage.partition().in_sync_replicas, "the follower has left")
    disk = LateDisk(stage.world.machines[leader].disk)
    disk.withheld = ["/u-0"]
    await _is_known(stage, "u")

    def cut_off() -> None:
        stage.cut(leader, controller)
        stage.world.pause(follower)

    stage.mend(leader, follower)
    await stage.in_the_turn(lambda: follower in stage.partition().in_sync_replicas, cut_off, "it has joined again")
    await stage.passes(2.1)  # by then the leader has given the answer up, and asks again
    stage.mend(leader, controller)
    await stage.passes(0.3)
    stage.world.resume(follower)
    disk.withheld = []
    await stage.passes(1)


@scenario_in(APART)
async def an_emptied_broker_is_back_and_its_leader_has_not_noticed(stage: Stage) -> None:
    """The last incarnation's subscription, which has everything, seems to live on while links are cut."""
    await stage.make_topic()
    await stage.written(5)
    leader, robbed = stage.partition().leader, stage.follower()
    machine = stage.world.machines[robbed]
    stage.world.lose_power(robbed)
    stage.cut(robbed, leader)
    machine.disk.lose(f"{machine.config.data_dir}/t-0")
    stage.world.start(robbed)
    await stage.until(lambda: robbed not in stage.partition().in_sync_replicas, "it has left, since it is empty")
    await stage.until(lambda: stage.is_active(robbed), "it is unfenced")
    assert not _is_gone(stage, robbed), "the leader has noticed: no scenario"
    for _ in range(100):
        await stage.passes(0.02)
        assert robbed not in stage.partition().in_sync_replicas, "an empty replica is in sync"


@scenario_in(APART)
async def the_only_follower_lags(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "2"}, replicas=2)
    await stage.written(1)
    leader, follower = stage.partition().leader, stage.followers()[0]
    stage.cut(leader, follower)
    await stage.writes_steadily(0.1, acks=1)
    await stage.passes(13)
    assert len(stage.partition().in_sync_replicas) == 2, "one alone is in sync, of at least two"


@scenario_in(APART)
async def a_follower_has_everything_and_no_more_comes(stage: Stage) -> None:
    """Another follows and lags, or its leader would have no reason to look."""
    await stage.make_topic({"min.insync.replicas": "1"})
    await stage.written(1)
    stage.world.machines[stage.follower()].disk.faults.slow_logs[f"{DATA}/t-0"] = 60.0
    await stage.written(1)
    assert len(stage.partition().in_sync_replicas) == 2, "who has everything was taken out with the one that lags"
    for _ in range(150):
        await stage.passes(0.1)
        assert len(stage.partition().in_sync_replicas) == 2, "who has everything was taken out as if it lagged"


@scenario_in(APART)
async def a_follower_is_slow_to_find_the_new_leader(stage: Stage) -> None:
    await stage.make_topic({"min.insync.replicas": "1"})
    await stage.written(1)
    await stage.passes(12)
    leader, (_, slow) = stage.partition().leader, stage.followers()
    stage.world.pause(slow)
    stage.world.kill(leader)
    await stage.until(lambda: stage.partition().leader != leader, "another leads")
    await stage.passes(1)
    assert slow in stage.partition().in_sync_replicas, "who lacks nothing was taken out for what is long past"
    stage.world.resume(slow)
    await stage.passes(1)


@scenario_in(APART)
async def a_record_is_for_the_leader_alone(stage: Stage) -> None:
    await stage.make_topic()
    await stage.written(1)
    leader = stage.partition().leader
    disk = LateDisk(stage.world.machines[leader].disk)
    disk.withheld = ["/t-0"]
    acknowledged: list[int] = []
    process = stage.world.client("hasty")

    async def write() -> None:
        async with Producer(stage.world.bootstrap, acks=1, **seams_of(process)) as producer:
            await producer.send_and_wait("t", b"x")
            acknowledged.append(stage.log(leader).durable_end)

    process.spawn(write(), "write")
    await stage.until(lambda: stage.log(leader).log_end_offset == 2, "the leader has it")
    await stage.passes(1)
    disk.withheld = []
    await stage.until(lambda: bool(acknowledged), "it is acknowledged")
    assert acknowledged == [2], "acknowledged before the leader had synced it"


@scenario_in(APART)
async def the_controller_is_asked_for_what_it_must_refuse(stage: Stage) -> None:
    """By a leader that knows more than it, by one of another incarnation, and for sets that no leader asks for."""
    await stage.make_topic(replicas=2)
    await stage.written(1)
    before = stage.partition()
    epochs = {node_id: stage.broker(node_id).membership.broker_epoch for node_id in (2, 3, 4)}
    stranger = next(node_id for node_id in epochs if node_id not in before.assigned_replicas)
    follower = stage.followers()[0]

    def asked(change: Callable[[AlterPartition], None], *, broker_epoch: int = 0) -> AlterPartitionsRequest:
        members = [IsrMember(broker_id=n, broker_epoch=epochs[n]) for n in before.in_sync_replicas]
        partition = AlterPartition(
            topic_id=stage.topic_id(),
            leader_epoch=before.leader_epoch,
            partition_epoch=before.partition_epoch,
            in_sync_replicas=members,
        )
        change(partition)
        return AlterPartitionsRequest(
            broker_id=before.leader, broker_epoch=epochs[before.leader] + broker_epoch, partitions=[partition]
        )

    def with_stranger(partition: AlterPartition) -> None:
        partition.in_sync_replicas.add(broker_id=stranger, broker_epoch=epochs[stranger])

    def ahead_by_epoch(partition: AlterPartition) -> None:
        partition.leader_epoch += 1

    def ahead_by_change(partition: AlterPartition) -> None:
        partition.partition_epoch += 1

    def without_leader(partition: AlterPartition) -> None:
        del partition.in_sync_replicas[:]
        partition.in_sync_replicas.add(broker_id=follower, broker_epoch=epochs[follower])

    cases = {
        "of a leader epoch that it does not know": (asked(ahead_by_epoch), NotController),
        "of a partition epoch that it does not know": (asked(ahead_by_change), NotController),
        "of an incarnation that is gone": (asked(lambda _: None, broker_epoch=-1), StaleBrokerEpoch),
        "for a set with a broker that is no replica": (asked(with_stranger), InvalidRequest),
        "for a set without the leader": (asked(without_leader), InvalidRequest),
    }
    answers = await arrive(stage, "AlterPartitions", *[request for request, _ in cases.values()])
    for (what, (_, refusal)), answer in zip(cases.items(), answers, strict=True):
        code = answer.code if isinstance(answer, DohleError) else answer.partitions[0].failure.code
        assert code == refusal.code, f"the controller has answered a request {what} with {code}"
