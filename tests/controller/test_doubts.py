"""Partitions whose in-sync members do not all come back after a crash of the whole cluster."""

from __future__ import annotations

import asyncio
import logging

import pytest

from dohle.controller.brokers import fence_brokers, heartbeat
from dohle.controller.doubts import DoubtfulElections
from dohle.controller.elections import settle_doubts
from dohle.controller.registration import register_broker
from dohle.model.ids import NO_NODE, NodeId
from dohle.rpc.v1.controller_pb2 import HeartbeatRequest
from dohle.runtime.clock import LoopClock
from tests.broker.virtual_time import in_virtual_time
from tests.controller.alone_quorum import AloneController
from tests.controller.decided_cluster import DecidedCluster

RELAXED = {"flush_messages": "1000"}


def killed_as_a_whole(**configs: str) -> DecidedCluster:
    cluster = DecidedCluster(brokers=3)
    cluster.topic("t", [1, 2, 3], **configs)
    cluster.fence(1, 2, 3)
    return cluster


def with_doubt(cluster: DecidedCluster, node_id: int, end: int, *, epoch: int = 4) -> None:
    held = cluster.held(cluster.key("t"), proven=False, last_epoch=epoch, durable_end=end)
    cluster.start(node_id, held=[held])


def settle(cluster: DecidedCluster) -> None:
    cluster.take(settle_doubts(cluster.image, [cluster.key("t")]))


# the decision


def test_of_those_that_are_back_the_one_that_reaches_furthest_leads_and_says_what_may_be_lost() -> None:
    cluster = killed_as_a_whole(**RELAXED)
    with_doubt(cluster, 1, 500)
    with_doubt(cluster, 2, 90, epoch=5)
    assert cluster.led("t") == (NO_NODE, 1, (1, 2, 3))
    settle(cluster)
    assert cluster.led("t") == (2, 2, (2,))
    assert cluster.partition("t").doubts == ()
    [alarm] = cluster.alarms
    assert alarm.startswith(
        "partition t-0: broker 2 leads from offset 90 of epoch 5, though brokers [1, 3] may have had"
    )
    assert alarm.endswith("lost, as flush.messages permits here")


def test_those_that_reach_as_far_as_the_furthest_stay() -> None:
    cluster = killed_as_a_whole(**RELAXED)
    with_doubt(cluster, 1, 90)
    with_doubt(cluster, 3, 90)
    settle(cluster)
    assert cluster.led("t") == (1, 2, (1, 3))


def test_one_that_registered_and_died_again_does_not_lead() -> None:
    cluster = killed_as_a_whole(**RELAXED)
    with_doubt(cluster, 1, 500)
    with_doubt(cluster, 2, 90)
    cluster.fence(1)
    settle(cluster)
    assert cluster.led("t") == (2, 2, (2,))


def test_a_topic_that_fsyncs_every_append_waits_for_as_long_as_it_takes() -> None:
    cluster = killed_as_a_whole()
    with_doubt(cluster, 1, 500)
    settle(cluster)
    assert cluster.led("t") == (NO_NODE, 1, (1, 2, 3))


def test_what_is_lost_never_leads_however_long_it_waits() -> None:
    cluster = killed_as_a_whole(**RELAXED)
    cluster.start(1, held=[cluster.held(cluster.key("t"), damaged=True)])
    cluster.directories[2] = b"another folder.."
    cluster.start(2)
    settle(cluster)
    assert cluster.led("t")[0] == NO_NODE


def test_without_a_doubt_there_is_nothing_to_settle() -> None:
    cluster = DecidedCluster(brokers=2)
    cluster.topic("t", [1, 2], **RELAXED)
    settle(cluster)
    assert cluster.led("t") == (1, 0, (1, 2))


# when it is due


class Watched:
    """A controller in office that watches, over a cluster which was killed as a whole."""

    def __init__(self, cluster: DecidedCluster) -> None:
        self.cluster = cluster
        self.alone = AloneController(cluster)
        self.failures: list[BaseException] = []
        self.elections = DoubtfulElections(self.alone.controller, clock=LoopClock(), on_failure=self.failures.append)

    async def start(self) -> None:
        await self.elections.start()
        await self.alone.take_office()
        await asyncio.sleep(0.1)

    async def close(self) -> None:
        await self.elections.close()
        assert not self.failures

    async def back(self, node_id: int, end: int) -> None:
        """The broker registers, with a doubt, and is unfenced."""
        cluster, controller = self.cluster, self.alone.controller
        held = cluster.held(cluster.key("t"), proven=False, last_epoch=4, durable_end=end)
        request = cluster.registration(node_id, held=[held], durable_metadata_offset=controller.pending.next_offset)
        answer = await controller.change(lambda image: register_broker(image, request, previous_gone=True))
        beat = HeartbeatRequest(broker_epoch=answer.broker_epoch, metadata_offset=answer.broker_epoch + 1)
        await controller.change(lambda image: heartbeat(image, NodeId(node_id), beat))

    async def gone(self, node_id: int) -> None:
        await self.alone.controller.change(lambda image: fence_brokers(image, [NodeId(node_id)]))

    @property
    def leader(self) -> int:
        partition = self.alone.controller.committed.partition(self.cluster.key("t"))
        assert partition is not None
        return partition.leader


@in_virtual_time
async def test_half_a_minute_after_the_first_one_is_back_those_that_are_decide() -> None:
    watched = Watched(killed_as_a_whole(**RELAXED))
    await watched.start()
    await asyncio.sleep(100)
    await watched.back(1, end=500)
    await asyncio.sleep(20)
    await watched.back(2, end=700)
    await asyncio.sleep(9.9)
    assert watched.leader == NO_NODE
    await asyncio.sleep(0.2)
    assert watched.leader == 2
    await watched.close()


@in_virtual_time
async def test_when_all_are_back_nobody_waits() -> None:
    watched = Watched(killed_as_a_whole(**RELAXED))
    await watched.start()
    for node_id, end in ((1, 5), (2, 7), (3, 6)):
        await watched.back(node_id, end)
    assert watched.leader == 2
    await asyncio.sleep(40)
    assert watched.leader == 2
    await watched.close()


@in_virtual_time
async def test_a_new_controller_counts_from_when_it_took_office() -> None:
    cluster = killed_as_a_whole(**RELAXED)
    with_doubt(cluster, 1, 500)
    watched = Watched(cluster)
    await watched.start()
    await asyncio.sleep(20)
    watched.alone.leave_office()
    await asyncio.sleep(1)
    await watched.alone.take_office()
    await asyncio.sleep(29.8)
    assert watched.leader == NO_NODE
    await asyncio.sleep(0.4)
    assert watched.leader == 1
    await watched.close()


@in_virtual_time
async def test_who_comes_back_after_the_half_minute_leads_at_once() -> None:
    watched = Watched(killed_as_a_whole(**RELAXED))
    await watched.start()
    await watched.back(1, end=500)
    await watched.gone(1)
    await asyncio.sleep(60)
    assert watched.leader == NO_NODE
    await watched.back(2, end=90)
    await asyncio.sleep(0.1)
    assert watched.leader == 2
    await watched.close()


@in_virtual_time
async def test_a_topic_that_fsyncs_every_append_costs_no_commit_while_it_waits() -> None:
    watched = Watched(killed_as_a_whole())
    await watched.start()
    await watched.back(1, end=500)
    before = watched.alone.quorum.commits
    await asyncio.sleep(300)
    assert watched.leader == NO_NODE
    assert watched.alone.quorum.commits == before
    await watched.close()


def test_the_loss_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    @in_virtual_time
    async def run() -> None:
        cluster = killed_as_a_whole(**RELAXED)
        with_doubt(cluster, 1, 500)
        watched = Watched(cluster)
        await watched.start()
        await asyncio.sleep(31)
        await watched.close()

    with caplog.at_level(logging.WARNING):
        run()
    [line] = [record for record in caplog.records if "t-0" in record.message]
    assert line.levelno == logging.WARNING
    assert "brokers [2, 3] may have had more" in line.message
