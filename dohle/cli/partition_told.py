"""What there is to say of a partition: what a majority of the controllers confirms, or what those that answer know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dohle.cli.as_known import NoMajority, cluster_as_known, confirmed, no_majority_words
from dohle.cli.moves import replicas_by_node
from dohle.cli.output import age, time_text
from dohle.cli.shortages import shortages_of
from dohle.model.errors import DohleError, UnknownTopicOrPartition
from dohle.model.ids import TopicPartition

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.partition_changes import PartitionHistory
    from dohle.client.values import ClusterDescription, PartitionDescription, QuorumDescription, ReplicaDescription


@dataclass(frozen=True, slots=True)
class PartitionTold:
    """What there is to say of a partition.

    Where no majority of the controllers confirms it, `quorum` says who of them answers, and `cluster` is None if no
    broker knows that either.
    """

    history: PartitionHistory
    described: PartitionDescription
    replicas: dict[int, ReplicaDescription]
    cluster: ClusterDescription | None
    quorum: QuorumDescription | None
    waiting: dict[int, str]  # for room, by broker: why

    def as_of(self) -> str:
        """Returns from when it is, as far as that is known."""
        history = self.history
        if history.known_at_ms:
            ago = age((history.now_ms - history.known_at_ms) / 1000)
            return (
                f"what was known up to metadata offset {history.known_end}, last changed {ago} ago, at"
                f" {time_text(history.known_at_ms)}"
            )
        offset = history.known_end if self.cluster is None else self.cluster.metadata_offset
        return f"what was known up to metadata offset {offset}"


async def ask_of_partition(
    bootstrap: str, timeout_s: float, topic: str, partition: int, most_changes: int
) -> PartitionTold:
    """Asks for one partition, its newest `most_changes` among it. Raises UnknownTopicOrPartition."""
    from dohle.client.admin import Admin

    async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-explain") as admin:
        quorum: QuorumDescription | None = None
        cluster: ClusterDescription | None
        try:
            asked = admin.describe_partition_history(topic, partition, most_changes=most_changes)
            history = await confirmed(admin, asked)
        except NoMajority as error:
            quorum = error.quorum
            history = await _history_as_known(admin, topic, partition, most_changes)
            cluster = await cluster_as_known(admin)
            described = await _as_known(admin, topic, partition, history, cluster, quorum)
        else:
            described = await _in_the_image(admin, topic, partition)
            cluster = await admin.describe_cluster()
        # who runs is not known without the cluster
        held = await replicas_by_node(admin, described.assigned_replicas if cluster is not None else ())
        name = TopicPartition(topic, partition)
        replicas = {node: partitions[name] for node, partitions in held.items() if name in partitions}
        shortages = await shortages_of(admin, [node for node in held if node not in replicas])
        waiting = {node: shortage.waiting[name] for node, shortage in shortages.items() if name in shortage.waiting}
        return PartitionTold(history, described, replicas, cluster, quorum, waiting)


async def _in_the_image(admin: Admin, topic: str, partition: int) -> PartitionDescription:
    found = await admin.describe_topic(topic)
    described = next((one for one in found.partitions if one.partition == partition), None)
    if described is None:
        raise UnknownTopicOrPartition(f"topic {topic} has no partition {partition}")
    return described


async def _history_as_known(admin: Admin, topic: str, partition: int, most_changes: int) -> PartitionHistory:
    from dohle.client.partition_changes import PartitionHistory

    try:
        return await admin.describe_partition_history(topic, partition, most_changes=most_changes, as_known=True)
    except DohleError:  # no controller answers, or none that does has heard of it
        return PartitionHistory((), 0, 0)


async def _as_known(
    admin: Admin,
    topic: str,
    partition: int,
    history: PartitionHistory,
    cluster: ClusterDescription | None,
    quorum: QuorumDescription,
) -> PartitionDescription:
    """Returns how the partition is by its last known step, or else by a broker's image."""
    from dohle.client.values import PartitionDescription

    if history.steps and history.steps[-1].assigned_replicas:
        step = history.steps[-1]
        return PartitionDescription(
            partition=partition,
            leader=step.leader,
            leader_epoch=step.leader_epoch,
            partition_epoch=step.partition_epoch,
            assigned_replicas=step.assigned_replicas,
            in_sync_replicas=step.in_sync_replicas,
            eligible_replicas=step.eligible_replicas,
            last_known_leader=step.last_known_leader,
        )
    unknown = f"{no_majority_words(quorum)}; the nodes that answer know of no partition {topic}-{partition}"
    if cluster is None:
        raise UnknownTopicOrPartition(unknown)
    try:
        return await _in_the_image(admin, topic, partition)
    except DohleError as error:
        raise UnknownTopicOrPartition(unknown) from error
