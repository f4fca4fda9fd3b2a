from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from dohle.controller.decision import Decision
from dohle.controller.failure_detector import FailureDetector
from dohle.controller.metadata_stream import push_metadata
from dohle.model.errors import (
    BrokerNotAvailable,
    DuplicateBrokerRegistration,
    InvalidRequest,
    InvalidTopic,
    NotController,
)
from dohle.model.ids import NO_NODE
from dohle.model.image import EMPTY_IMAGE, BrokerImage, ClusterImage
from dohle.model.image_apply import apply_batch
from dohle.model.metadata import NoOp
from dohle.model.metadata_batch import decode_metadata
from dohle.rpc.probe import Verdict
from dohle.rpc.v1 import controller_pb2
from dohle.runtime.network import Lane
from tests.controller.cluster import METHODS, Cluster, TestBroker, TestVoter, new_topic, until


def no_op(_: ClusterImage) -> Decision[str]:
    return Decision((NoOp(),), "done")


def nothing(_: ClusterImage) -> Decision[str]:
    return Decision((), "seen")


def refused(_: ClusterImage) -> Decision[str]:
    raise InvalidTopic("no")


def close_followers_disks(cluster: Cluster, leader: TestVoter) -> list[TestVoter]:
    followers = [voter for voter in cluster.voters if voter is not leader]
    for follower in followers:
        follower.disk.gate.clear()
    return followers


async def test_what_lies_in_a_voters_own_log_is_waited_for_as_long_as_it_may_come(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    for _ in range(20):
        await leader.part.controller.change(no_op)
    await cluster.agreed()
    known = leader.part.controller.committed
    for voter in cluster.voters:
        await voter.kill()
    alone, second, _ = cluster.voters
    await alone.start()
    assert (await alone.part.controller.own_log_applied()).next_offset < known.next_offset, "a majority is away"
    waiting = asyncio.ensure_future(alone.part.controller.own_log_applied())
    await second.start()
    assert (await waiting).next_offset >= known.next_offset


class Opening:
    """The stream of a broker that says up to where it knows the metadata."""

    def __init__(self, broker: TestBroker, next_offset: int) -> None:
        self._request = controller_pb2.FollowMetadataRequest(hello=broker.identity.hello(), next_offset=next_offset)

    async def receive(self) -> controller_pb2.FollowMetadataRequest:
        return self._request

    async def send(self, message: controller_pb2.FollowMetadataResponse) -> None:
        raise AssertionError(f"nothing is to be sent: {message}")


async def test_a_controller_that_may_have_been_deposed_turns_no_broker_away_that_knows_more(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    assert leader.identity is not None
    broker = TestBroker(cluster, 1)
    ahead: Any = Opening(broker, leader.part.quorum.applied_offset + 1)
    with pytest.raises(InvalidRequest, match="belongs to another cluster"):
        await push_metadata(ahead, leader.part.controller, leader.identity, broker.tasks)
    cluster.world.silent.add(leader.name)
    cluster.world.break_streams(leader.name)
    assert leader.part.controller.is_active, "it does not know yet"
    with pytest.raises(NotController):
        await push_metadata(ahead, leader.part.controller, leader.identity, broker.tasks)


# commands


async def test_answers_wait_for_the_commit_of_all_that_they_rest_upon(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    controller = leader.part.controller
    followers = close_followers_disks(cluster, leader)
    waiting = [asyncio.ensure_future(controller.change(decide)) for decide in (no_op, nothing, refused)]
    with pytest.raises(TimeoutError):
        await until(lambda: any(answer.done() for answer in waiting), timeout_s=0.2)
    assert controller.pending.next_offset == controller.committed.next_offset + 1
    followers[0].disk.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert answers[:2] == ["done", "seen"]
    assert isinstance(answers[2], InvalidTopic)
    assert controller.pending is controller.committed
    followers[1].disk.gate.set()


async def test_a_controller_that_loses_its_office_drops_what_is_pending(cluster: Cluster) -> None:
    old = await cluster.start(3)
    controller = old.part.controller
    close_followers_disks(cluster, old)
    waiting = [asyncio.ensure_future(controller.change(decide)) for decide in (no_op, nothing, refused)]
    await asyncio.sleep(0)
    cluster.world.silent.add(old.name)
    cluster.world.break_streams(old.name)
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [NotController] * 3
    assert not controller.is_active
    with pytest.raises(NotController):
        await controller.change(nothing)


async def test_an_answer_that_rests_on_what_is_committed_comes_at_once(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    close_followers_disks(cluster, leader)
    assert await asyncio.wait_for(leader.part.controller.change(nothing), 0.1) == "seen"


# the metadata stream


async def follow(cluster: Cluster, voter: TestVoter, next_offset: int) -> Any:
    broker = cluster.brokers[0]
    stream = broker.network.stream(voter.address, METHODS["FollowMetadata"], lane=Lane.CONTROL)
    await stream.send(controller_pb2.FollowMetadataRequest(hello=broker.identity.hello(), next_offset=next_offset))
    return stream


async def test_the_committed_log_is_pushed_from_where_a_broker_asks(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    broker = TestBroker(cluster, 1)
    await broker.join()
    await broker.call("CreateTopics", new_topic("flights", partitions=6))
    stream = await follow(cluster, leader, 0)
    opening = await stream.receive()
    assert opening.hello.node_id == leader.node_id
    image = EMPTY_IMAGE
    pushed = 0
    while image.next_offset < opening.committed_end:
        for batch in decode_metadata((await stream.receive()).batches):
            image = apply_batch(image, batch.records, batch.base_offset)
            pushed += 1
    assert image == leader.part.controller.committed
    await broker.call("CreateTopics", new_topic("more"))
    [batch] = decode_metadata((await stream.receive()).batches)
    image = apply_batch(image, batch.records, batch.base_offset)
    assert image.topic_named("more") is not None

    later = await follow(cluster, leader, batch.base_offset)
    await later.receive()
    assert next(decode_metadata((await later.receive()).batches)).base_offset == batch.base_offset


async def test_what_is_not_committed_is_not_pushed(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    TestBroker(cluster, 1)
    stream = await follow(cluster, leader, leader.part.quorum.applied_offset)
    await stream.receive()
    followers = close_followers_disks(cluster, leader)
    waiting = asyncio.ensure_future(leader.part.controller.change(no_op))
    receiving = asyncio.ensure_future(stream.receive())
    with pytest.raises(TimeoutError):
        await until(receiving.done, timeout_s=0.2)
    followers[0].disk.gate.set()
    await waiting
    assert (await receiving).batches


async def test_only_the_active_controller_pushes_and_the_others_name_it(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    TestBroker(cluster, 1)
    other = next(voter for voter in cluster.voters if voter is not leader)
    refusal = await (await follow(cluster, other, 0)).receive()
    assert refusal.failure.code == NotController.code
    assert refusal.leader_id == leader.node_id

    stream = await follow(cluster, leader, leader.part.quorum.applied_offset)
    await stream.receive()
    cluster.world.silent.add(leader.name)  # but this stream is left alone
    cluster.world.break_streams(other.name)
    for voter in cluster.voters:
        if voter not in (leader, other):
            cluster.world.break_streams(voter.name)
    ending = await stream.receive()
    assert ending.failure.code == NotController.code


# brokers


async def test_a_broker_registers_and_is_unfenced_when_it_is_ready(cluster: Cluster) -> None:
    await cluster.start(3)
    broker = TestBroker(cluster, 1)
    await broker.join()
    assert broker.image.broker_epoch == broker.epoch
    assert broker.image.incarnation_id == broker.identity.incarnation_id


async def test_a_silent_broker_is_fenced_when_its_session_is_over(cluster: Cluster) -> None:
    cluster.session_timeout_ms = 300
    await cluster.start(1)
    broker = TestBroker(cluster, 1)
    await broker.join()
    with pytest.raises(TimeoutError):
        await until(lambda: broker.fenced, timeout_s=0.6)  # it beats
    broker.beating.clear()
    took_s = await until(lambda: broker.fenced)
    assert 0.2 <= took_s < 0.6


async def test_a_killed_broker_is_fenced_in_a_fraction_of_a_second(cluster: Cluster) -> None:
    await cluster.start(3)
    broker = TestBroker(cluster, 1)
    await broker.join()
    broker.kill()
    assert await until(lambda: broker.fenced) < 0.5


async def test_a_broker_whose_connections_break_is_not_fenced(cluster: Cluster) -> None:
    await cluster.start(3)
    broker = TestBroker(cluster, 1)
    await broker.join()
    for _ in range(3):
        cluster.world.break_streams(broker.name)
        with pytest.raises(TimeoutError):
            await until(lambda: broker.fenced, timeout_s=0.3)


async def test_a_broker_that_falls_silent_as_its_connections_break_keeps_its_session(cluster: Cluster) -> None:
    cluster.session_timeout_ms = 700
    await cluster.start(1)
    broker = TestBroker(cluster, 1)
    await broker.join()
    cluster.world.silent.add(broker.name)
    cluster.world.break_streams(broker.name)
    assert await until(lambda: broker.fenced) > 0.5
    cluster.world.silent.clear()


async def test_a_stalled_controller_fences_nobody(cluster: Cluster) -> None:
    cluster.session_timeout_ms = 400
    await cluster.start(1)
    brokers = [TestBroker(cluster, node_id) for node_id in (1, 2)]
    await asyncio.gather(*(broker.join() for broker in brokers))
    end_offset = cluster.voters[0].part.quorum.log_end_offset
    time.sleep(0.6)  # longer than a session; nothing of this process runs meanwhile
    with pytest.raises(TimeoutError):
        await until(lambda: cluster.voters[0].part.quorum.log_end_offset > end_offset, timeout_s=0.6)


async def test_after_an_early_fencing_a_second_of_steady_beats_is_due(cluster: Cluster) -> None:
    await cluster.start(1)
    broker = TestBroker(cluster, 1)
    await broker.join()
    broker.kill()
    await until(lambda: broker.fenced)
    await broker.listen()
    assert 0.9 < await until(lambda: not broker.fenced) < 2.0


async def test_a_voter_that_knows_no_active_controller_answers_no_beat_as_one(cluster: Cluster) -> None:
    await cluster.start(3)
    broker = TestBroker(cluster, 1)
    await broker.join()
    await cluster.agreed()
    left, *others = cluster.voters
    for voter in others:
        await voter.kill()
    await until(lambda: left.part.quorum.leader_id < 0)
    stream = broker.network.stream(left.address, METHODS["Heartbeat"], lane=Lane.CONTROL)
    beat = controller_pb2.HeartbeatRequest(
        hello=broker.identity.hello(), broker_epoch=broker.epoch, metadata_offset=broker.epoch + 1, wants_shutdown=True
    )
    await stream.send(beat)
    answer = await stream.receive()
    stream.close()
    assert answer is not None
    assert answer.failure.code == NotController.code, "the broker would believe that it has a session"


async def test_a_controller_that_takes_office_fences_whoever_died_with_the_last_one(cluster: Cluster) -> None:
    old = await cluster.start(3)
    brokers = [TestBroker(cluster, node_id) for node_id in (1, 2)]
    await asyncio.gather(*(broker.join() for broker in brokers))
    await cluster.agreed()
    brokers[0].kill()
    await old.kill()
    took_s = await until(lambda: brokers[0].fenced)
    assert took_s < 1.2
    assert not brokers[1].fenced
    brokers[1].answers.clear()
    await until(lambda: brokers[1].answers)
    assert not brokers[1].fenced


async def test_brokers_that_died_with_the_last_controller_are_fenced_in_one_batch(cluster: Cluster) -> None:
    old = await cluster.start(3)
    brokers = [TestBroker(cluster, node_id) for node_id in (1, 2, 3)]
    await asyncio.gather(*(broker.join() for broker in brokers))
    response = await brokers[0].call("CreateTopics", new_topic("t", partitions=3, replication_factor=3))
    topic_id = response.topics[0].topic_id
    await cluster.agreed()
    for broker in brokers:
        broker.kill()
    await old.kill()
    await until(lambda: cluster.active() and all(broker.fenced for broker in brokers))
    new = await cluster.leader()
    topic = new.part.controller.committed.topics[topic_id]
    assert [len(partition.in_sync_replicas) for partition in topic.partitions] == [3, 3, 3]
    assert {partition.partition_epoch for partition in topic.partitions} <= {1}


async def test_a_broker_that_is_silent_delays_the_fencing_of_no_other(cluster: Cluster) -> None:
    old = await cluster.start(3)
    brokers = [TestBroker(cluster, node_id) for node_id in (1, 2)]
    await asyncio.gather(*(broker.join() for broker in brokers))
    await cluster.agreed()
    cluster.world.silent.add(brokers[1].name)
    brokers[0].kill()
    await old.kill()
    assert await until(lambda: brokers[0].fenced) < 2.0, "its session is 3 s"
    assert not brokers[1].fenced
    cluster.world.silent.clear()


async def test_what_the_quorum_has_proven_of_the_last_leader_is_not_asked_again(cluster: Cluster) -> None:
    old = await cluster.start(3)
    broker = TestBroker(cluster, old.node_id)
    assert old.identity is not None
    broker.identity = old.identity  # one process: voter and broker
    broker.address = old.address
    await broker.register()
    broker.tasks.spawn(broker.beat(), "beat")
    await until(lambda: not broker.image.fenced)
    await cluster.agreed()
    incarnation = old.identity.incarnation_id
    asked: list[BrokerImage] = []
    for voter in cluster.voters:
        note_probes(voter.part.detector, asked)
    await old.kill()
    new = await cluster.leader()
    assert new.part.quorum.incarnations.has_ended(old.node_id, incarnation)
    assert not new.part.quorum.incarnations.has_ended(new.node_id, incarnation)
    await until(lambda: broker.fenced)
    assert asked == []


def note_probes(detector: FailureDetector, asked: list[BrokerImage]) -> None:
    probe = detector._probe

    async def noted(broker: BrokerImage) -> Verdict:
        asked.append(broker)
        return await probe(broker)

    detector._probe = noted  # type: ignore[method-assign]


async def test_a_registration_waits_until_those_who_died_are_fenced(cluster: Cluster) -> None:
    """Else the entry of one that is gone would count as a sound member that is back."""
    old = await cluster.start(3)
    brokers = [TestBroker(cluster, node_id) for node_id in (1, 2)]
    await asyncio.gather(*(broker.join() for broker in brokers))
    await cluster.agreed()
    for broker in brokers:
        broker.kill()
    await old.kill()
    brokers[0].restart()
    await brokers[0].listen()
    epoch = await brokers[0].register()
    new = await cluster.leader()
    assert new.part.controller.committed.brokers[brokers[0].node_id].broker_epoch == epoch
    assert brokers[1].fenced


async def test_a_controller_without_office_fences_nobody_and_says_nothing(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.session_timeout_ms = 100
    old = await cluster.start(3)
    broker = TestBroker(cluster, 1)
    await broker.join()
    await cluster.agreed()
    broker.beating.clear()
    cluster.world.silent.update(voter.name for voter in cluster.voters)  # nor may another take office, and fence
    cluster.world.break_streams(old.name)
    await until(lambda: not old.part.controller.is_active)
    caplog.clear()
    with pytest.raises(TimeoutError):
        await until(lambda: "fenced" in caplog.text, timeout_s=0.4)
    assert not old.part.detector.sessions._sessions
    cluster.world.silent.clear()


async def test_who_asks_during_an_election_is_answered_by_its_end(cluster: Cluster) -> None:
    old = await cluster.start(3)
    broker = TestBroker(cluster, 1)
    await broker.join()
    await cluster.agreed()
    voter = next(voter for voter in cluster.voters if voter is not old)
    await old.kill()
    await until(lambda: voter.part.quorum.leader_id == NO_NODE)
    opening = await (await follow(cluster, voter, 0)).receive()
    new = await cluster.leader()
    assert opening.leader_id == new.node_id
    assert (opening.failure.code == 0) == (voter is new)


async def test_without_a_majority_who_asks_hears_so_after_a_second(cluster: Cluster) -> None:
    await cluster.make(3)
    voter = cluster.voters[0]
    await voter.start()
    TestBroker(cluster, 1)
    opening = asyncio.ensure_future((await follow(cluster, voter, 0)).receive())
    assert 0.9 < await until(opening.done) < 2.0
    assert (await opening).failure.code == NotController.code


async def test_an_idle_broker_is_answered_about_once_a_second(cluster: Cluster) -> None:
    await cluster.start(1)
    broker = TestBroker(cluster, 1)
    await broker.join()
    broker.answers.clear()
    with pytest.raises(TimeoutError):
        await until(lambda: len(broker.answers) > 2, timeout_s=1.5)  # thirty beats
    assert broker.answers


async def test_a_live_incarnation_keeps_its_place(cluster: Cluster) -> None:
    await cluster.start(1)
    broker = TestBroker(cluster, 1)
    await broker.join()
    impostor = TestBroker(cluster, 1)
    impostor.address = impostor.address._replace(port=99)
    with pytest.raises(DuplicateBrokerRegistration, match="give this node an id of its own"):
        await impostor.register()


async def test_while_an_incarnation_is_silent_and_not_fenced_asking_again_for_its_place_helps(cluster: Cluster) -> None:
    await cluster.start(1)
    broker = TestBroker(cluster, 1)
    await broker.join()
    cluster.world.silent.add(broker.name)
    successor = TestBroker(cluster, 1)
    successor.network = cluster.world.network("elsewhere")
    with pytest.raises(BrokerNotAvailable, match="may still be running"):
        await successor.register()


async def test_a_restarted_broker_takes_its_place_at_once(cluster: Cluster) -> None:
    await cluster.start(1)
    broker = TestBroker(cluster, 1)
    await broker.join()
    before = broker.epoch
    broker.kill()
    broker.restart()
    await broker.listen()
    assert await broker.register() > before
    await until(lambda: not broker.fenced)


async def test_a_stale_epoch_gets_no_session(cluster: Cluster) -> None:
    await cluster.start(1)
    broker = TestBroker(cluster, 1)
    await broker.join()
    broker.epoch -= 1
    refusal = "broker 1 has registered again"  # after the answer to a beat that was on its way, perhaps
    await until(lambda: broker.answers and broker.answers[-1].failure.message.startswith(refusal))


async def test_topics_survive_the_loss_of_a_controller(cluster: Cluster) -> None:
    old = await cluster.start(3)
    broker = TestBroker(cluster, 1)
    await broker.join()
    response = await broker.call("CreateTopics", new_topic("flights", partitions=6))
    assert response.topics[0].failure.code == 0
    await old.kill()
    await cluster.leader()
    topic = (await cluster.leader()).part.controller.committed.topic_named("flights")
    assert topic is not None
    assert topic.topic_id == response.topics[0].topic_id
    await old.start()
    await cluster.agreed()


async def test_who_is_not_active_says_where_the_one_is_that_is(cluster: Cluster) -> None:
    leader = await cluster.start(3)
    broker = TestBroker(cluster, 1)
    await broker.join()
    other = next(voter for voter in cluster.voters if voter is not leader)
    refusal = await (await follow(cluster, other, 0)).receive()
    assert (refusal.failure.code, refusal.leader_id) == (NotController.code, leader.node_id)
    assert (refusal.leader_host, refusal.leader_port) == (leader.address.host, leader.address.port)
