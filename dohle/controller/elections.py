"""Who leads a partition and who is in its ISR, given which brokers live: the one place where leaders are chosen.

`Revisions` looks at partitions in an image where the brokers' own changes have already taken effect, and gathers the
records that set them right. Every decision that touches an existing partition goes through it.

- Leaders come from the ISR: the present one if it can stay, else the first active one in the assigned order. Only
  where the topic says `unclean.leader.election.enable`, and nobody in sync can lead, the first active replica does,
  loudly, as the only member: an unclean election.
- A leader that shuts down stays while nobody else can lead; a fenced one never does. Without a leader the ISR stays.
- A change of leader is a new leader epoch; every change is a new partition epoch.
- Members with a doubt (`dohle.model.metadata.Doubt`) do not lead beside one without. As soon as a member without one
  has come back they leave the ISR. When every member has one, the highest (last epoch, end) leads, and whoever has not
  the same end leaves. A lost replica leaves as soon as another member remains; the last one stays, and never leads.
- A reassignment ends in the change by which the last of its targets comes in sync (replication.md, rule 14); whatever
  else that change says, says it of the targets alone. Where a replica goes, a new leader epoch begins.
- Where appends were acknowledged before they were fsynced, members that do not come back are not waited for without
  end: `settle_doubts` lets the highest end of the doubtful ones that are back lead, as the topic chose. When that is
  due, `doubts` says.

What is not here: eligible leader replicas (replication.md, rule 13).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

from dohle.controller.decision import Decision
from dohle.controller.replica_sets import ReplicaSets, replica_sets
from dohle.model.ids import NO_NODE, NodeId, PartitionKey
from dohle.model.image import ClusterImage, PartitionImage
from dohle.model.metadata import Doubt, PartitionChange, ReplicasChange

AnyChange: TypeAlias = PartitionChange | ReplicasChange


class Revisions:
    """What one decision changes about partitions: gathers the records, and what a person should hear of."""

    def __init__(self, image: ClusterImage, *, present: NodeId = NO_NODE) -> None:
        """`image` has the brokers' own changes already; `present` is one that is registering: back, though fenced."""
        self.changes: list[AnyChange] = []
        self.alarms: list[str] = []
        self._image = image
        self._present = present

    def revise(
        self,
        key: PartitionKey,
        before: PartitionImage,
        *,
        isr: Collection[NodeId] | None = None,
        doubts: tuple[Doubt, ...] | None = None,
        replicas: ReplicaSets | None = None,
    ) -> AnyChange | None:
        """Notes and returns what has to change about a partition, None if nothing; once a partition.

        `isr`, `doubts` and `replicas` replace what the partition has.
        """
        replicas = replica_sets(before) if replicas is None else replicas
        isr = before.in_sync_replicas if isr is None else isr
        members = tuple([node for node in replicas.assigned if node in isr])
        doubts = before.doubts if doubts is None else doubts
        if doubts:
            members, doubts = _without_settled(self._image, members, doubts, self._present)
        leader = _leader(self._image, before, members, doubts)
        if doubts and leader != NO_NODE:
            members = _with_highest_end(members, doubts)
            doubts = ()
            self._alarm(key, f"broker {leader} leads, since no member of the ISR is known to have all its data")
        if replicas.moves and self._all_in_sync(replicas.targets, members, doubts):
            successor = _leader(self._image, before, replicas.targets, ())
            if self._image.is_active(successor):
                leader, members, replicas = successor, replicas.targets, ReplicaSets(replicas.targets)
        allowed = self._image.topics[key.topic_id].config.unclean_leader_election_enable
        if leader == NO_NODE and allowed and (unclean := may_lead_uncleanly(self._image, before)) != NO_NODE:
            leader, members, doubts = unclean, (unclean,), ()
            self._alarm_unclean(key, before, unclean)
        return self._note(key, before, leader, members, doubts, replicas)

    def elect(self, key: PartitionKey, before: PartitionImage, leader: NodeId) -> None:
        """Has this replica lead, which the caller has found able to; one that is not in sync is alone then."""
        if leader in before.in_sync_replicas and before.doubt_about(leader) is None:
            self._note(key, before, leader, before.in_sync_replicas, (), replica_sets(before))
        else:
            self._alarm_unclean(key, before, leader)
            self._note(key, before, leader, (leader,), (), replica_sets(before))

    def _alarm_unclean(self, key: PartitionKey, before: PartitionImage, leader: NodeId) -> None:
        self._alarm(
            key,
            f"unclean election: broker {leader} leads, which was not in sync; acknowledged records that only brokers"
            f" {list(before.in_sync_replicas)} had are lost, as unclean.leader.election.enable permits here",
        )

    def _all_in_sync(self, targets: tuple[NodeId, ...], members: tuple[NodeId, ...], doubts: tuple[Doubt, ...]) -> bool:
        return not doubts and all(node in members and not self._image.brokers[node].fenced for node in targets)

    def settle(self, key: PartitionKey, before: PartitionImage) -> AnyChange | None:
        """Has the doubtful member that is back and reaches furthest lead, whoever else may have more."""
        back = tuple([doubt for doubt in before.doubts if self._image.is_active(doubt.node_id)])
        members = _with_highest_end(before.in_sync_replicas, back)
        if not members:
            return None
        missing = [node for node in before.in_sync_replicas if node not in members]
        best = next(doubt for doubt in back if doubt.node_id == members[0])
        self._alarm(
            key,
            f"broker {best.node_id} leads from offset {best.durable_end} of epoch {best.last_epoch}, though brokers "
            f"{missing} may have had more: records that only they had are lost, as flush.messages permits here",
        )
        return self._note(key, before, best.node_id, members, (), replica_sets(before))

    def _note(
        self,
        key: PartitionKey,
        before: PartitionImage,
        leader: NodeId,
        members: tuple[NodeId, ...],
        doubts: tuple[Doubt, ...],
        replicas: ReplicaSets,
    ) -> AnyChange | None:
        moved = replicas != replica_sets(before)
        if not moved and leader == before.leader and members == before.in_sync_replicas and doubts == before.doubts:
            return None
        for doubt in doubts:
            if doubt.lost and doubt not in before.doubts:
                self._alarm(key, f"offline: the last in-sync replica, on broker {doubt.node_id}, is missing or damaged")
        gone = any(node not in replicas.assigned for node in before.assigned_replicas)
        leader_epoch = before.leader_epoch + (leader != before.leader or gone)
        partition_epoch = before.partition_epoch + 1
        change: AnyChange
        if moved:
            change = ReplicasChange(
                topic_id=key.topic_id,
                partition=key.partition,
                assigned_replicas=replicas.assigned,
                adding_replicas=replicas.adding,
                removing_replicas=replicas.removing,
                leader=leader,
                leader_epoch=leader_epoch,
                partition_epoch=partition_epoch,
                in_sync_replicas=members,
                doubts=doubts,
            )
        else:
            change = PartitionChange(
                topic_id=key.topic_id,
                partition=key.partition,
                leader=leader,
                leader_epoch=leader_epoch,
                partition_epoch=partition_epoch,
                in_sync_replicas=members,
                doubts=doubts,
            )
        self.changes.append(change)
        return change

    def _alarm(self, key: PartitionKey, text: str) -> None:
        self.alarms.append(f"partition {self._image.topics[key.topic_id].name}-{key.partition}: {text}")


def settle_doubts(image: ClusterImage, keys: Collection[PartitionKey]) -> Decision[None]:
    """Decides on partitions whose doubtful members have waited long enough for the others (replication.md, rule 13)."""
    revisions = Revisions(image)
    for key in sorted(keys):
        partition = image.partition(key)
        if partition is not None and may_settle(image, key, partition):
            revisions.settle(key, partition)
    return Decision(tuple(revisions.changes), None, tuple(revisions.alarms))


def may_settle(image: ClusterImage, key: PartitionKey, partition: PartitionImage) -> bool:
    """Whether members that are missing need not be waited for without end: some that are back have doubts, and appends
    were acknowledged before they were fsynced."""
    relaxed = image.topics[key.topic_id].config.flush_messages > 1
    return relaxed and any(not doubt.lost for doubt in partition.doubts)


def enough_remain(image: ClusterImage, key: PartitionKey, members: Collection[NodeId]) -> bool:
    """Whether an ISR may shrink to these members because others are silent, slow or shut down."""
    topic = image.topics[key.topic_id]
    partition = topic.partitions[key.partition]
    active = sum(image.is_active(node) and partition.doubt_about(node) is None for node in members)
    return active >= topic.effective_min_insync(key.partition)


def may_lead_uncleanly(image: ClusterImage, partition: PartitionImage) -> NodeId:
    """Returns the active replica, if there is one, that loses least by leading though it may lack records.

    Members of the ISR come first, those with the highest end before the others; lost ones never lead.
    """
    back = tuple([doubt for doubt in partition.doubts if image.is_active(doubt.node_id)])
    lost = [doubt.node_id for doubt in partition.doubts if doubt.lost]
    active = [node for node in partition.assigned_replicas if image.is_active(node) and node not in lost]
    members = _with_highest_end(partition.in_sync_replicas, back)
    return next(iter([*members, *active]), NO_NODE)


def another_can_lead(image: ClusterImage, partition: PartitionImage) -> bool:
    """Whether some member other than the leader could lead now."""
    doubtful = {doubt.node_id for doubt in partition.doubts}
    return any(
        node != partition.leader and node not in doubtful and image.is_active(node)
        for node in partition.in_sync_replicas
    )


def _without_settled(
    image: ClusterImage, members: tuple[NodeId, ...], doubts: tuple[Doubt, ...], present: NodeId
) -> tuple[tuple[NodeId, ...], tuple[Doubt, ...]]:
    """Returns ISR and doubts without the members whose doubts are settled against them."""
    doubts = tuple([doubt for doubt in doubts if doubt.node_id in members])
    doubtful = {doubt.node_id for doubt in doubts}
    back = [n for n in members if n not in doubtful and (n == present or not image.brokers[n].fenced)]
    leaving = doubtful if back else {doubt.node_id for doubt in doubts if doubt.lost}
    if len(leaving) == len(members):
        return members, doubts
    return (
        tuple([node for node in members if node not in leaving]),
        tuple([doubt for doubt in doubts if doubt.node_id not in leaving]),
    )


def _leader(
    image: ClusterImage, before: PartitionImage, members: tuple[NodeId, ...], doubts: tuple[Doubt, ...]
) -> NodeId:
    doubtful = {doubt.node_id for doubt in doubts}
    sound = [node for node in members if node not in doubtful]
    incumbent = before.leader if before.leader in sound else NO_NODE
    if image.is_active(incumbent):
        return incumbent
    for node in sound:
        if image.is_active(node):
            return node
    if incumbent != NO_NODE and not image.brokers[incumbent].fenced:
        return incumbent
    if sound:
        return NO_NODE
    return next((node for node in _with_highest_end(members, doubts) if image.is_active(node)), NO_NODE)


def _with_highest_end(members: tuple[NodeId, ...], doubts: tuple[Doubt, ...]) -> tuple[NodeId, ...]:
    """Returns the members, all of them doubtful, whose logs reach furthest."""
    ends = {doubt.node_id: (doubt.last_epoch, doubt.durable_end) for doubt in doubts if not doubt.lost}
    highest = max(ends.values(), default=None)
    return tuple([node for node in members if node in ends and ends[node] == highest])
