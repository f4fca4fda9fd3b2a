"""Eligible: who may lead without being in sync, and who has led without that, as images of the metadata tell (rule 13).

Kept: nobody is eligible beside an in-sync set that is at its minimum, nor beside another minimum than the one by which
it became so, nor after an unclean election; who leads was in sync or eligible, or comes in sync in that very change, or
its topic allows to lose records; and it was not fenced. That the eligible ones have all that is committed,
`partition_watch` sees on their disks.

Worded for images that may have skipped a few: only a change right after the one before proves anything about both.
"""

from __future__ import annotations

from collections.abc import Iterator

from dohle.model.ids import NO_NODE
from dohle.model.image import ClusterImage, PartitionImage, TopicImage


def eligible_wrongly(topic: TopicImage, number: int, before: TopicImage) -> Iterator[str]:
    """Says who is eligible and must not be."""
    partition, minimum = topic.partitions[number], topic.effective_min_insync(number)
    members, eligible = partition.in_sync_replicas, partition.eligible_replicas
    if not eligible:
        return
    if len(members) >= minimum:
        yield f"nodes {list(eligible)} are eligible beside {list(members)} in sync, of which {minimum} are enough"
    is_same = partition.partition_epoch == before.partitions[number].partition_epoch
    if is_same and topic.config.min_insync_replicas != before.config.min_insync_replicas:
        yield (
            f"nodes {list(eligible)} are eligible, and have become so when min.insync.replicas was"
            f" {before.config.min_insync_replicas}"
        )


def led_wrongly(
    partition: PartitionImage, topic: TopicImage, before: PartitionImage, image: ClusterImage, earlier: ClusterImage
) -> Iterator[str]:
    """Says what is wrong with a new leader."""
    leader, is_next = partition.leader, partition.partition_epoch == before.partition_epoch + 1
    if not is_next or leader in (NO_NODE, before.leader):
        return
    if image.brokers[leader].fenced and image.brokers[leader] is earlier.brokers.get(leader):
        yield f"node {leader} leads, and is fenced"
    alone = partition.in_sync_replicas == (leader,) and not before.is_reassigning
    if leader in before.eligible_replicas or (leader not in before.in_sync_replicas and not alone):
        return
    left_out = [
        node
        for node in before.in_sync_replicas
        if node not in partition.in_sync_replicas
        and before.doubt_about(node) is None
        and node in image.brokers
        and image.brokers[node].broker_epoch == earlier.brokers[node].broker_epoch
    ]
    if leader not in before.in_sync_replicas or (before.doubt_about(leader) is not None and left_out):
        may_lose = topic.config.unclean_leader_election_enable or topic.config.flush_messages > 1
        if not may_lose:
            yield f"node {leader} leads, which may lack what nodes {list(before.in_sync_replicas)} have"
        if partition.eligible_replicas:
            yield f"nodes {list(partition.eligible_replicas)} are eligible after an unclean election"
