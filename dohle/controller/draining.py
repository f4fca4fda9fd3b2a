"""Draining: a broker that is to be emptied gets no new replicas from now on (docs/decisions/0024).

The state belongs to the node id: it outlives the broker's restarts, and ends when it is cancelled or the broker is
unregistered. It is refused where the replicas that the broker has could not all be elsewhere, before anything changes.

What is not here: the moves, which whoever drains it asks for (`dohle.client.drain`); and who heeds the state: placing
new partitions (`topics`), reassignments (`reassignment`), and elections.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dohle.controller.decision import Decision, need_version
from dohle.model.errors import BrokerIdNotRegistered, InvalidReplicaAssignment
from dohle.model.ids import NodeId, PartitionKey
from dohle.model.image import ClusterImage, PartitionImage
from dohle.model.metadata import DRAINING_VERSION, BrokerDraining
from dohle.rpc.v1.admin_pb2 import DrainBrokerRequest, DrainBrokerResponse


def drain_broker(image: ClusterImage, request: DrainBrokerRequest) -> Decision[DrainBrokerResponse]:
    """Decides that a broker drains from now on, or no longer.

    Raises UnsupportedVersion, BrokerIdNotRegistered, and InvalidReplicaAssignment where brokers or racks are too few.
    """
    need_version(image, DRAINING_VERSION, "the draining state of a broker")
    node_id = NodeId(request.node_id)
    broker = image.brokers.get(node_id)
    if broker is None:
        known = ", ".join(str(broker.node_id) for broker in image.brokers_in_order())
        raise BrokerIdNotRegistered(f"there is no broker {node_id}: there are {known}")
    wanted = not request.cancel
    if wanted and not broker.draining:
        leaving = {node for node in image.brokers if node == node_id or image.is_draining(node)}
        for key, partition in image.replicas_of(node_id):
            if node_id in partition.target_replicas:
                _check_room(image, node_id, leaving, key, partition)
    changed = broker.draining != wanted
    records = (BrokerDraining(node_id, wanted),) if changed and not request.validate_only else ()
    return Decision(records, DrainBrokerResponse(changed=changed, replicas=image.replica_count(node_id)))


def _check_room(
    image: ClusterImage, node_id: NodeId, leaving: Collection[NodeId], key: PartitionKey, partition: PartitionImage
) -> None:
    """Raises InvalidReplicaAssignment if this partition could not be without the brokers that leave."""
    present = partition.target_replicas
    topic = image.topics[key.topic_id]
    name = f"{topic.name}-{key.partition}"
    staying = [node for node in present if node not in leaving]
    free = [one.node_id for one in image.brokers_in_order() if one.active and one.node_id not in {*leaving, *present}]
    others = sorted(node for node in leaving if node != node_id)
    also = f" (brokers {others} drain already)" if others else ""
    if len(staying) + len(free) < len(present):
        raise InvalidReplicaAssignment(
            f"{name} has {len(present)} replicas, and without broker {node_id} only {len(staying) + len(free)} brokers"
            f" are available, {sorted(staying + free)}{also}: start another one first, or give {name} fewer replicas"
        )
    spread = min(
        len(_racks(image, staying)) + len(present) - len(staying),
        len(_racks(image, [*staying, *free])),
    )
    if spread < min(topic.config.min_insync_replicas, len(_racks(image, present))):
        raise InvalidReplicaAssignment(
            f"broker {node_id} is the last one of its rack, {image.brokers[node_id].rack or 'none'}, that can have"
            f" {name}{also}: without it the replicas would be in {spread} racks, and min.insync.replicas is"
            f" {topic.config.min_insync_replicas}. Start another broker in that rack first"
        )


def _racks(image: ClusterImage, nodes: Sequence[NodeId]) -> set[str]:
    """Returns where these brokers stand; each without a rack stands alone."""
    return {image.brokers[node].rack or f"node {node}" for node in nodes}
