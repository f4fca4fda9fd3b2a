"""What the controllers that answer know, each by itself: all there is to tell while no majority confirms anything.

Nothing here is sure. It may be old, for a majority elsewhere may have gone on; and the end of a log may be taken back.
"""

from __future__ import annotations

from dohle.broker.broker import Broker
from dohle.model.errors import RequestTimedOut
from dohle.model.ids import NodeId
from dohle.rpc.v1 import admin_pb2

_ANSWERS_S = 3.0
_UNHEARD = -1


async def quorum_as_known(broker: Broker) -> admin_pb2.DescribeQuorumResponse:
    """Returns who votes by the furthest log of those that answer, and of each voter what it says of itself."""
    request = admin_pb2.DescribeQuorumRequest(as_known=True)
    told: dict[NodeId, admin_pb2.DescribeQuorumResponse]
    told = await broker.controller.ask_each("DescribeQuorum", request, timeout_s=_ANSWERS_S)
    if not told:
        return admin_pb2.DescribeQuorumResponse(leader_id=_UNHEARD, voters=_voters_known_to(broker))
    furthest = max(told.values(), key=lambda one: one.log_end)
    newest = max(told.values(), key=lambda one: one.term)
    itself = {
        (replica.node_id, replica.directory_id): replica
        for node_id, answer in told.items()
        for replica in answer.voters
        if replica.node_id == node_id
    }
    unheard = {"durable_end": _UNHEARD, "silent_ms": _UNHEARD}
    voters = [
        itself.get((one.node_id, one.directory_id))
        or admin_pb2.QuorumReplica(
            node_id=one.node_id, directory_id=one.directory_id, host=one.host, port=one.port, **unheard
        )
        for one in furthest.voters
    ]
    return admin_pb2.DescribeQuorumResponse(
        leader_id=newest.leader_id,
        term=newest.term,
        committed_end=max(one.committed_end for one in told.values()),
        log_end=furthest.log_end,
        voters=voters or _voters_known_to(broker),
    )


def _voters_known_to(broker: Broker) -> list[admin_pb2.QuorumReplica]:
    """Returns the voters by this broker's metadata, or by its configuration as long as it has none."""
    directories = {voter.node_id: voter.directory_id for voter in broker.image.voters}
    return [
        admin_pb2.QuorumReplica(
            node_id=node_id,
            directory_id=directories.get(node_id, b""),
            host=address.host,
            port=address.port,
            durable_end=_UNHEARD,
            silent_ms=_UNHEARD,
        )
        for node_id, address in broker.controller.voters.items()
        if node_id in directories or not directories
    ]


async def history_as_known(
    broker: Broker, request: admin_pb2.DescribePartitionHistoryRequest
) -> admin_pb2.DescribePartitionHistoryResponse:
    """Returns a partition's history by the furthest log of those that answer. Raises RequestTimedOut if none does."""
    told = await broker.controller.ask_each("DescribePartitionHistory", request, timeout_s=_ANSWERS_S)
    if not told:
        asked = ", ".join(map(str, broker.controller.voters))
        raise RequestTimedOut(f"none of the controllers {asked} answers node {broker.node_id}")
    answer: admin_pb2.DescribePartitionHistoryResponse = max(told.values(), key=lambda one: one.known_end)
    return answer
