"""Members: who may be in an in-sync set, as the images of the metadata and the brokers' own state tell.

Only brokers that have acted on their own registration are unfenced; only unfenced ones join an in-sync set; and its
leader counts everyone whom the controller has in it, or the watermark would not wait for one that may lead next (rules
7, 8 and 12 of replication). Worded for images that may have skipped a few: what has changed in between proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from dohle.broker.leading import Leading
from dohle.model.image import ClusterImage, PartitionImage
from dohle.testing.world.world import World


def unfit_to_join(
    before: PartitionImage, partition: PartitionImage, earlier: ClusterImage, image: ClusterImage
) -> Iterator[str]:
    """Says who has joined, and was fenced or shutting down all the while."""
    for node_id in partition.in_sync_replicas:
        broker = image.brokers[node_id]
        if node_id not in before.in_sync_replicas and broker is earlier.brokers.get(node_id) and not broker.active:
            yield f"node {node_id} has joined the in-sync set, and is fenced or leaving"


def not_counted(partition: PartitionImage, role: Leading | None) -> Iterator[str]:
    """Says whom the leader of the partition's epoch has forgotten."""
    if role is None or role.leader_epoch != partition.leader_epoch:
        return
    forgotten = [node_id for node_id in partition.in_sync_replicas if node_id not in role.in_sync.maximal]
    if forgotten:
        yield (
            f"the leader of epoch {role.leader_epoch} does not count nodes {forgotten}, which are in the in-sync set"
            f" {list(partition.in_sync_replicas)}"
        )


def placed_while_draining(image: ClusterImage) -> Iterator[str]:
    """Says which replicas were placed on a broker that had been draining before, and does."""
    for broker in image.brokers_in_order():
        for key, partition in image.replicas_of(broker.node_id) if broker.draining else ():
            placed_at = partition.assigned_at[partition.assigned_replicas.index(broker.node_id)]
            if placed_at > broker.draining_since:
                name = f"{image.topics[key.topic_id].name}-{key.partition}"
                yield (
                    f"{name} was placed on node {broker.node_id} at offset {placed_at}, which has been draining since"
                    f" {broker.draining_since}"
                )


def unfenced_too_soon(world: World, earlier: ClusterImage, image: ClusterImage) -> Iterator[str]:
    """Says who is active since `image`, and does not do yet what the metadata says."""
    for broker in image.brokers_in_order():
        before, process = earlier.brokers.get(broker.node_id), world.machines[broker.node_id].process
        if not broker.active or (before is not None and before.active) or process is None or process.ending:
            continue
        there = None if process.node is None else process.node.broker
        if there is not None and there.membership.broker_epoch == broker.broker_epoch and not there._active:
            yield f"{process.name} is unfenced, and has not acted on its registration yet"
