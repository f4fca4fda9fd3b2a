"""What controllers tell while no majority of them confirms anything: each what it knows by itself."""

from __future__ import annotations

from typing import Any

import pytest

from dohle.controller.controller_service import CONTROLLER
from dohle.model.errors import NotController, UnknownTopicOrPartition
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import admin_pb2
from dohle.runtime.network import Lane
from tests.controller.cluster import Cluster, TestBroker, TestVoter, new_topic

METHODS = methods_of(CONTROLLER)


async def ask(voter: TestVoter, method: str, request: Any) -> Any:
    network = voter.cluster.world.network("asking")
    return await network.call(voter.address, METHODS[method], request, lane=Lane.CONTROL, timeout_s=20)


async def history(voter: TestVoter, topic: str, *, as_known: bool = True) -> admin_pb2.DescribePartitionHistoryResponse:
    request = admin_pb2.DescribePartitionHistoryRequest(topic=topic, partition=0, as_known=as_known)
    answer: admin_pb2.DescribePartitionHistoryResponse = await ask(voter, "DescribePartitionHistory", request)
    return answer


async def test_a_voter_alone_tells_what_it_knows_also_after_a_restart(cluster: Cluster) -> None:
    await cluster.start(3)
    broker = TestBroker(cluster, 1)
    await broker.join()
    await broker.call("CreateTopics", new_topic("flights"))
    confirmed = await history(await cluster.leader(), "flights", as_known=False)
    await cluster.agreed()
    survivor, *others = cluster.voters
    for voter in others:
        await voter.kill()
    with pytest.raises(NotController):
        await history(survivor, "flights", as_known=False)
    for _ in ("as it runs", "after a restart"):
        known = await history(survivor, "flights")
        assert list(known.steps) == list(confirmed.steps), known
        assert known.known_end >= confirmed.known_end
        assert known.known_at_ms > 0
        assert (await history(survivor, "trains")).failure.code == UnknownTopicOrPartition.code
        quorum = await ask(survivor, "DescribeQuorum", admin_pb2.DescribeQuorumRequest(as_known=True))
        ends = {voter.node_id: (voter.durable_end, voter.silent_ms) for voter in quorum.voters}
        assert ends == {1: (survivor.part.quorum.durable_end, 0), 2: (-1, -1), 3: (-1, -1)}
        await survivor.stop()
        await survivor.start()


async def test_of_a_voter_that_a_new_leader_has_not_heard_nothing_is_claimed(cluster: Cluster) -> None:
    first = await cluster.start(3)
    await cluster.agreed()
    await first.kill()
    leader = await cluster.leader()
    quorum = await ask(leader, "DescribeQuorum", admin_pb2.DescribeQuorumRequest())
    ends = {voter.node_id: voter.durable_end for voter in quorum.voters}
    assert ends.pop(first.node_id) == -1
    assert min(ends.values()) > 0
