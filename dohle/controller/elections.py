"""Who leads a partition and who is in its ISR, given which brokers live: the one place where leaders are chosen.

`Revisions` looks at partitions in an image where the brokers' own changes have already taken effect, and gathers the
records that set them right. Every decision that touches an existing partition goes through it.

- Leaders come from the ISR: the present one if it can stay, else the first active one in the assigned order, of brokers
  that are being drained last. Where nobody there can lead, the first active eligible replica does (`eligible`), and
  joins the members that have no doubt; not in the change by which such a member registers, for that one is about to
  serve.
  Only where the topic says `unclean.leader.election.enable`, and none of these can lead, another replica does, loudly,
  as the only member: an unclean election. The last known leader comes first then.
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
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from dohle.controller.decision import Decision
from dohle.controller.eligible import eligible_after, eligible_waits, last_known_leader, proven_after, whole
from dohle.controller.replica_sets import ReplicaSets, replica_sets
from dohle.model.ids import NO_NODE, NodeId, PartitionKey, TopicId
from dohle.model.image import ClusterImage, PartitionImage
from dohle.model.metadata import Doubt, PartitionChange, ReplicasChange

AnyChange: TypeAlias = PartitionChange | ReplicasChange


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a partition is to be: who leads, who is in sync, and what is known of those who cannot lead."""

    leader: NodeId
    members: tuple[NodeId, ...]
    doubts: tuple[Doubt, ...]
    proven: tuple[NodeId, ...]
    eligible: tuple[NodeId, ...]
    last_known_leader: NodeId
    replicas: ReplicaSets

    @staticmethod
    def of(partition: PartitionImage) -> _Outcome:
        """What the partition is."""
        return _Outcome(
            partition.leader,
            partition.in_sync_replicas,
            partition.doubts,
            partition.proven_replicas,
            partition.eligible_replicas,
            partition.last_known_leader,
            replica_sets(partition),
        )


class _Asked(NamedTuple):
    """All of a partition, and of what is said of it, that decides what it is to be."""

    topic_id: TopicId
    leader: NodeId
    in_sync_replicas: tuple[NodeId, ...]
    doubts_before: tuple[Doubt, ...]
    proven_before: tuple[NodeId, ...]
    eligible_before: tuple[NodeId, ...]
    last_known_leader: NodeId
    assigned_replicas: tuple[NodeId, ...]
    adding_replicas: tuple[NodeId, ...]
    removing_replicas: tuple[NodeId, ...]
    replicas: ReplicaSets | None
    isr: tuple[NodeId, ...]
    doubts: tuple[Doubt, ...]
    proven: tuple[NodeId, ...]
    eligible: tuple[NodeId, ...]
    lost: frozenset[NodeId]


_Answer: TypeAlias = tuple[_Outcome | None, tuple[str, ...]]


class Revisions:
    """What one decision changes about partitions: gathers the records, and what a person should hear of.

    A decision may be about thousands of partitions, most of which are alike: each kind of them is thought about once.
    """

    def __init__(self, image: ClusterImage, *, present: NodeId = NO_NODE) -> None:
        """`image` has the brokers' own changes already; `present` is one that is registering: back, though fenced."""
        self.changes: list[AnyChange] = []
        self.alarms: list[str] = []
        self._image = image
        self._present = present
        self._answers: dict[_Asked, _Answer] = {}
        self._lack_some = [broker.node_id for broker in image.brokers_in_order() if broker.offline_replicas]

    def revise(
        self,
        key: PartitionKey,
        before: PartitionImage,
        *,
        isr: Collection[NodeId] | None = None,
        doubts: tuple[Doubt, ...] | None = None,
        proven: Collection[NodeId] | None = None,
        eligible: Collection[NodeId] | None = None,
        lost: Collection[NodeId] = (),
        replicas: ReplicaSets | None = None,
    ) -> AnyChange | None:
        """Notes and returns what has to change about a partition, None if nothing; once a partition.

        `isr`, `doubts`, `proven`, `eligible` and `replicas` replace what the partition has. `lost` are replicas whose
        data is missing or damaged, whatever they are: none of them is eligible, or the last known leader.
        """
        offline = [node for node in self._lack_some if self._image.is_offline(node, key)]
        asked = _Asked(
            key.topic_id,
            before.leader,
            before.in_sync_replicas,
            before.doubts,
            before.proven_replicas,
            before.eligible_replicas,
            before.last_known_leader,
            before.assigned_replicas,
            before.adding_replicas,
            before.removing_replicas,
            replicas,
            before.in_sync_replicas if isr is None else tuple(isr),
            before.doubts if doubts is None else doubts,
            before.proven_replicas if proven is None else tuple(proven),
            before.eligible_replicas if eligible is None else tuple(eligible),
            frozenset([*lost, *offline]),
        )
        if (answer := self._answers.get(asked)) is None:
            answer = self._answers[asked] = self._outcome(key, before, asked)
        outcome, alarms = answer
        for text in alarms:
            self._alarm(key, text)
        return None if outcome is None else self._note(key, before, outcome)

    def _outcome(self, key: PartitionKey, before: PartitionImage, asked: _Asked) -> _Answer:
        """Returns what becomes of this partition, None if it stays as it is, and what a person should hear of it."""
        alarms: list[str] = []
        replicas = replica_sets(before) if asked.replicas is None else asked.replicas
        doubts, proven = asked.doubts, asked.proven
        members = tuple([node for node in replicas.assigned if node in asked.isr])
        lost = asked.lost | {doubt.node_id for doubt in doubts if doubt.lost}
        candidates = [node for node in whole(before, asked.eligible, doubts, proven) if node not in lost]
        if doubts:
            members, doubts = _without_settled(self._image, members, doubts, self._present)
        leader = _leader(self._image, before, members, doubts)
        if doubts and leader != NO_NODE:
            members = _with_highest_end(members, doubts)
            doubts = ()
            alarms.append(f"broker {leader} leads, since no member of the ISR is known to have all its data")
        if replicas.moves and self._all_in_sync(replicas.targets, members, doubts):
            successor = _leader(self._image, before, replicas.targets, ())
            if self._image.is_active(successor):
                leader, members, replicas = successor, replicas.targets, ReplicaSets(replicas.targets)
        eligible = eligible_after(self._image, key, candidates, members, replicas)
        sound = _sound(members, doubts)
        waits = self._present in sound
        if leader == NO_NODE and not waits and (successor := self._first_active(eligible)) != NO_NODE:
            sound.append(successor)
            alarms.append(_eligible_leads(successor, members))
            leader, members, doubts = successor, tuple([node for node in replicas.assigned if node in sound]), ()
            eligible = eligible_after(self._image, key, candidates, members, replicas)
        last = last_known_leader(self._image, before, replicas, lost) if leader == NO_NODE else NO_NODE
        proven = proven_after(self._image, doubts, proven)
        outcome = _Outcome(leader, members, doubts, proven, eligible, last, replicas)
        allowed = self._image.topics[key.topic_id].config.unclean_leader_election_enable
        barred = lost | {node for node in before.assigned_replicas if node not in replicas.assigned}  # it goes
        if leader == NO_NODE and allowed and (unclean := may_lead_uncleanly(self._image, before, barred)) != NO_NODE:
            alarms.append(_leads_uncleanly(before, unclean))
            outcome = self._alone(outcome, unclean)
        return (None if outcome == _Outcome.of(before) else outcome), tuple(alarms)

    def elect(self, key: PartitionKey, before: PartitionImage, leader: NodeId) -> None:
        """Has this replica lead, which the caller has found able to; one that is not in sync is alone then."""
        outcome = _Outcome.of(before)
        if leader in before.in_sync_replicas and before.doubt_about(leader) is None:
            outcome = replace(outcome, leader=leader, doubts=(), proven=(), last_known_leader=NO_NODE)
        else:
            self._alarm(key, _leads_uncleanly(before, leader))
            outcome = self._alone(outcome, leader)
        self._note(key, before, outcome)

    def _alone(self, outcome: _Outcome, leader: NodeId) -> _Outcome:
        """Returns what an unclean election makes of it: nobody is eligible, for whoever follows may be cut."""
        return _Outcome(leader, (leader,), (), (), (), NO_NODE, outcome.replicas)

    def _first_active(self, nodes: tuple[NodeId, ...]) -> NodeId:
        return next((node for node in nodes if self._image.is_active(node)), NO_NODE)

    def _all_in_sync(self, targets: tuple[NodeId, ...], members: tuple[NodeId, ...], doubts: tuple[Doubt, ...]) -> bool:
        return not doubts and all(node in members and not self._image.brokers[node].fenced for node in targets)

    def settle(self, key: PartitionKey, before: PartitionImage) -> AnyChange | None:
        """Has an eligible replica lead, if there is one; else the doubtful member that is back and reaches furthest,
        whoever else may have more."""
        if eligible_waits(self._image, before):
            return self.revise(key, before)
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
        # nobody stays eligible: whoever follows may be cut to what this one has
        return self._note(key, before, _Outcome(best.node_id, members, (), (), (), NO_NODE, replica_sets(before)))

    def _note(self, key: PartitionKey, before: PartitionImage, outcome: _Outcome) -> AnyChange | None:
        if outcome == _Outcome.of(before):
            return None
        for doubt in outcome.doubts:
            if doubt.lost and doubt not in before.doubts:
                what = "in a failed directory" if self._image.is_offline(doubt.node_id, key) else "missing or damaged"
                self._alarm(key, f"offline: the last in-sync replica, on broker {doubt.node_id}, is {what}")
        replicas = outcome.replicas
        gone = any(node not in replicas.assigned for node in before.assigned_replicas)
        same = PartitionChange(
            topic_id=key.topic_id,
            partition=key.partition,
            leader=outcome.leader,
            leader_epoch=before.leader_epoch + (outcome.leader != before.leader or gone),
            partition_epoch=before.partition_epoch + 1,
            in_sync_replicas=outcome.members,
            doubts=outcome.doubts,
            eligible_replicas=outcome.eligible,
            last_known_leader=outcome.last_known_leader,
            proven_replicas=outcome.proven,
        )
        change = same if replicas == replica_sets(before) else _with_replicas(same, replicas)
        self.changes.append(change)
        return change

    def _alarm(self, key: PartitionKey, text: str) -> None:
        self.alarms.append(f"partition {self._image.topics[key.topic_id].name}-{key.partition}: {text}")


def _with_replicas(change: PartitionChange, replicas: ReplicaSets) -> ReplicasChange:
    return ReplicasChange(
        topic_id=change.topic_id,
        partition=change.partition,
        assigned_replicas=replicas.assigned,
        adding_replicas=replicas.adding,
        removing_replicas=replicas.removing,
        leader=change.leader,
        leader_epoch=change.leader_epoch,
        partition_epoch=change.partition_epoch,
        in_sync_replicas=change.in_sync_replicas,
        doubts=change.doubts,
        eligible_replicas=change.eligible_replicas,
        last_known_leader=change.last_known_leader,
        proven_replicas=change.proven_replicas,
    )


def _eligible_leads(leader: NodeId, members: tuple[NodeId, ...]) -> str:
    return (
        f"broker {leader} leads, an eligible replica: it has all that was acknowledged with acks=all, and none of the"
        f" in-sync ones, {list(members)}, can lead"
    )


def _leads_uncleanly(before: PartitionImage, leader: NodeId) -> str:
    who = "the last known leader" if leader == before.last_known_leader else "not the last known leader"
    return (
        f"unclean election: broker {leader} leads, which was not in sync and is {who}; acknowledged records that"
        f" only brokers {list(before.in_sync_replicas)} had are lost, as unclean.leader.election.enable permits here"
    )


def settle_doubts(image: ClusterImage, keys: Collection[PartitionKey]) -> Decision[None]:
    """Decides on partitions whose doubtful members have waited long enough for the others (replication.md, rule 13)."""
    revisions = Revisions(image)
    for key in sorted(keys):
        partition = image.partition(key)
        if partition is not None and may_settle(image, key, partition):
            revisions.settle(key, partition)
    return Decision(tuple(revisions.changes), None, tuple(revisions.alarms))


def may_settle(image: ClusterImage, key: PartitionKey, partition: PartitionImage) -> bool:
    """Whether members that are missing need not be waited for without end: an eligible replica can lead, or some that
    are back have doubts, and appends were acknowledged before they were fsynced."""
    if eligible_waits(image, partition):
        return True
    relaxed = image.topics[key.topic_id].config.flush_messages > 1
    return relaxed and any(not doubt.lost for doubt in partition.doubts)


def enough_remain(image: ClusterImage, key: PartitionKey, members: Collection[NodeId]) -> bool:
    """Whether an ISR may shrink to these members because others are silent, slow or shut down."""
    topic = image.topics[key.topic_id]
    partition = topic.partitions[key.partition]
    active = sum(image.is_active(node) and partition.doubt_about(node) is None for node in members)
    return active >= topic.effective_min_insync(key.partition)


def may_lead_uncleanly(image: ClusterImage, partition: PartitionImage, lost: Collection[NodeId] = ()) -> NodeId:
    """Returns the active replica, if there is one, that loses least by leading though it may lack records.

    Members of the ISR come first, those with the highest end before the others; then the last known leader; then
    whoever is there. Lost ones never lead, nor do those that the caller knows to be.
    """
    back = tuple([doubt for doubt in partition.doubts if image.is_active(doubt.node_id)])
    lost = [*lost, *(doubt.node_id for doubt in partition.doubts if doubt.lost)]
    active = [node for node in partition.assigned_replicas if image.is_active(node) and node not in lost]
    members = [node for node in _with_highest_end(partition.in_sync_replicas, back) if node not in lost]
    last = [node for node in active if node == partition.last_known_leader]
    return next(iter([*members, *last, *active]), NO_NODE)


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
    sound = _sound(members, doubts)
    incumbent = before.leader if before.leader in sound else NO_NODE
    if image.is_active(incumbent):
        return incumbent
    for node in sorted(sound, key=image.is_draining):
        if image.is_active(node):
            return node
    if incumbent != NO_NODE and not image.brokers[incumbent].fenced:
        return incumbent
    if sound:
        return NO_NODE
    return next((node for node in _with_highest_end(members, doubts) if image.is_active(node)), NO_NODE)


def _sound(members: tuple[NodeId, ...], doubts: tuple[Doubt, ...]) -> list[NodeId]:
    doubtful = {doubt.node_id for doubt in doubts}
    return [node for node in members if node not in doubtful]


def _with_highest_end(members: tuple[NodeId, ...], doubts: tuple[Doubt, ...]) -> tuple[NodeId, ...]:
    """Returns the members, all of them doubtful, whose logs reach furthest."""
    ends = {doubt.node_id: (doubt.last_epoch, doubt.durable_end) for doubt in doubts if not doubt.lost}
    highest = max(ends.values(), default=None)
    return tuple([node for node in members if node in ends and ends[node] == highest])
