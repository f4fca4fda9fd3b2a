"""Eligible leader replicas: who may lead without being in sync (KIP-966; replication.md, rule 13).

While the ISR has fewer members than the effective min.insync.replicas the watermark stands still. Whoever leaves the
ISR in that time, with everything on its disk that it ever acknowledged, has all that lies below any watermark, and goes
on having it until the ISR is back at the minimum: until then it is remembered as eligible.

Kept: nobody is eligible who is in the ISR, whose data is missing or damaged, or who acknowledged what it had not
fsynced and then stopped uncleanly; nobody is while the ISR is at the minimum, nor after an unclean election, whose
leader may cut off what others have.

Members that are silent, slow or shut down do not leave an ISR that is below the minimum (decisions/0007), so here those
become eligible whom a doubt takes out of it: who cut a torn tail, though all that it had acknowledged was fsynced.
"""

from __future__ import annotations

from collections.abc import Collection

from dohle.controller.replica_sets import ReplicaSets
from dohle.model.ids import NO_NODE, NodeId, PartitionKey
from dohle.model.image import ClusterImage, PartitionImage
from dohle.model.metadata import Doubt

SINCE_METADATA_VERSION = 2


def remembers(image: ClusterImage) -> bool:
    """Whether the cluster's finalised metadata.version has eligible replicas and last known leaders."""
    return image.metadata_version >= SINCE_METADATA_VERSION


def eligible_after(
    image: ClusterImage,
    key: PartitionKey,
    candidates: Collection[NodeId],
    members: Collection[NodeId],
    replicas: ReplicaSets,
) -> tuple[NodeId, ...]:
    """Returns who is eligible beside these members: of the candidates, who have all that they acknowledged."""
    minimum = min(image.topics[key.topic_id].config.min_insync_replicas, len(replicas.assigned) - len(replicas.adding))
    if len(members) >= minimum or not remembers(image):
        return ()
    return tuple([node for node in replicas.assigned if node in candidates and node not in members])


def whole(
    before: PartitionImage, eligible: Collection[NodeId], doubts: tuple[Doubt, ...], proven: Collection[NodeId]
) -> list[NodeId]:
    """Returns which of the members and eligible replicas have all that they ever acknowledged."""
    doubtful = {doubt.node_id for doubt in doubts if doubt.lost or doubt.node_id not in proven}
    return [node for node in (*before.in_sync_replicas, *eligible) if node not in doubtful]


def last_known_leader(
    image: ClusterImage, before: PartitionImage, replicas: ReplicaSets, lost: Collection[NodeId]
) -> NodeId:
    """Returns who led last, for a partition that nobody can lead; NO_NODE where its data is lost, or it is none."""
    last = before.last_known_leader if before.leader == NO_NODE else before.leader
    return last if remembers(image) and last in replicas.assigned and last not in lost else NO_NODE


def proven_after(image: ClusterImage, doubts: tuple[Doubt, ...], proven: Collection[NodeId]) -> tuple[NodeId, ...]:
    """Returns which members with these doubts have fsynced all that they acknowledged."""
    return tuple([doubt.node_id for doubt in doubts if remembers(image) and doubt.node_id in proven and not doubt.lost])


def eligible_waits(image: ClusterImage, partition: PartitionImage) -> bool:
    """Whether nobody leads, though an eligible replica could: it waits for a member that has registered."""
    return partition.leader == NO_NODE and any(image.is_active(node) for node in partition.eligible_replicas)
