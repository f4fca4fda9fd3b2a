"""Recovery: what a cluster owes to its users once just enough of it is healed (simulation.md's liveness phase).

What is dead for good is not waited for. Topics that ask for fewer copies than the topology's own may have lost their
last one with a node that was expendable, and are not judged.
"""

from __future__ import annotations

from dohle.model.ids import NodeId
from dohle.model.image import ClusterImage, TopicImage
from dohle.testing.world.world import World


def what_is_missing(world: World, image: ClusterImage) -> str:
    """Returns what is not in order yet; empty if everything is: all that live serve, lead, and are in sync."""
    living = {node_id for node_id, machine in world.machines.items() if not machine.lost}
    for node_id in sorted(living):
        process = world.machines[node_id].process
        if process is None or not process.ready:
            return f"node {node_id} is not ready"
        if world.topology.node(node_id).is_broker and not image.is_active(NodeId(node_id)):
            return f"broker {node_id} is fenced"
    for topic in image.topics_in_order():
        missing = _what_is_missing_of(topic, living, world.topology.min_in_sync_replicas)
        if missing:
            return missing
    return ""


def _what_is_missing_of(topic: TopicImage, living: set[int], min_in_sync: int) -> str:
    for number, partition in enumerate(topic.partitions):
        if topic.effective_min_insync(number) < min_in_sync:
            continue
        if partition.leader not in living:
            return f"{topic.name}-{number} has no leader; in sync: {list(partition.in_sync_replicas)}"
        late = [n for n in partition.assigned_replicas if n in living and n not in partition.in_sync_replicas]
        if late:
            return f"{topic.name}-{number}: nodes {late} are not in sync"
        if partition.is_reassigning and living.issuperset(partition.target_replicas):
            return f"{topic.name}-{number} is still on its way to {list(partition.target_replicas)}"
    return ""
