"""Invariants of a running cluster, looked at again and again, with the eyes of one who sees all nodes at once.

Worded so that right code passes: a leader that does not know yet that it is deposed is one still, in its own epoch.
"""

from __future__ import annotations

from collections.abc import Iterator

from dohle.broker.leading import Leading
from dohle.broker.partition import Partition
from dohle.cluster.node import Node
from dohle.model.batch import split_batches
from dohle.model.ids import PartitionKey
from dohle.model.image import EMPTY_IMAGE, ClusterImage
from dohle.testing.process import NodeProcess
from dohle.testing.world import World

_READ_BYTES = 1 << 20


class Invariants:
    """Call `look` often. `violations` says what fell, in words."""

    def __init__(self, world: World) -> None:
        self.violations: list[str] = []
        self._world = world
        self._terms: dict[int, str] = {}
        self._epochs: dict[tuple[PartitionKey, int], str] = {}
        self._watermarks: dict[tuple[PartitionKey, int], int] = {}
        self._images: dict[int, ClusterImage] = {}
        self._compared: dict[str, ClusterImage] = {}
        self.newest = EMPTY_IMAGE

    def look(self) -> None:
        nodes = list(self._nodes())
        for process, node in nodes:
            self._controller(process, node)
        for process, node in nodes:
            self._leaders(process, node)
        self._in_sync([node for _, node in nodes])

    def _nodes(self) -> Iterator[tuple[NodeProcess, Node]]:
        for machine in self._world.machines.values():
            process = machine.process
            if process is not None and process.node is not None and not process.ending:
                yield process, process.node

    def _violated(self, what: str) -> None:
        self._world.say(f"VIOLATION {what}")
        self.violations.append(what)

    def _controller(self, process: NodeProcess, node: Node) -> None:
        part = node.controller
        if part is not None:
            if part.quorum.is_leader:
                leader = self._terms.setdefault(part.quorum.term, process.name)
                if leader != process.name:
                    self._violated(f"term {part.quorum.term} has two leaders: {leader} and {process.name}")
            self._image(f"controller of {process.name}", part.controller.committed)
        if node.broker is not None:
            self._image(f"broker of {process.name}", node.broker.image)

    def _image(self, whose: str, image: ClusterImage) -> None:
        if self._compared.get(whose) is image or not image.next_offset:
            return
        before = self._compared.get(whose, EMPTY_IMAGE)
        self._compared[whose] = image
        if before.next_offset > image.next_offset:
            self._violated(f"the {whose} went back from offset {before.next_offset} to {image.next_offset}")
        if self._images.setdefault(image.next_offset, image) != image:
            self._violated(f"the {whose} differs from another node's image at offset {image.next_offset}")
        if image.next_offset > self.newest.next_offset:
            self.newest = image

    def _leaders(self, process: NodeProcess, node: Node) -> None:
        for partition, leading in _led(node):
            epoch = (partition.key, leading.leader_epoch)
            leader = self._epochs.setdefault(epoch, process.name)
            if leader != process.name:
                self._violated(f"{partition.name} epoch {leading.leader_epoch}: {leader} led, and {process.name} leads")
            watermark = partition.log.high_watermark
            if watermark < self._watermarks.get(epoch, 0):
                self._violated(
                    f"{partition.name} epoch {leading.leader_epoch}: the watermark fell from"
                    f" {self._watermarks[epoch]} to {watermark}"
                )
            self._watermarks[epoch] = watermark

    def _in_sync(self, nodes: list[Node]) -> None:
        """What lies below any presumed leader's watermark is durable on every member of the committed ISR."""
        for leader in nodes:
            for partition, leading in _led(leader):
                committed = self.newest.partition(partition.key)
                if committed is None:
                    continue
                for member in nodes:
                    if member.config.node_id not in committed.in_sync_replicas or member.broker is None:
                        continue
                    replica = member.broker.replicas.partitions.get(partition.key)
                    if replica is None or replica.log.damage is not None:
                        continue
                    if replica.log.durable_end < partition.log.high_watermark:
                        self._violated(
                            f"{partition.name}: node {leader.config.node_id}, which leads epoch"
                            f" {leading.leader_epoch}, has its watermark at {partition.log.high_watermark}, and node"
                            f" {member.config.node_id}, in sync, only {replica.log.durable_end} durable"
                        )

    # after the storm

    def healthy(self) -> bool:
        """Whether all nodes are unfenced, and every partition has a leader and all its replicas in sync."""
        image = self.newest
        live = [broker for broker in image.brokers_in_order() if broker.active]
        return len(live) == len(self._world.machines) and all(
            partition.leader >= 0 and len(partition.in_sync_replicas) == len(partition.assigned_replicas)
            for topic in image.topics_in_order()
            for partition in topic.partitions
        )

    async def replicas_agree(self) -> None:
        """Compares the replicas byte for byte below their least watermark."""
        replicas: dict[PartitionKey, list[tuple[str, Partition]]] = {}
        for process, node in self._nodes():
            assert node.broker is not None
            for key, partition in sorted(node.broker.replicas.partitions.items()):
                replicas.setdefault(key, []).append((process.name, partition))
        for same in replicas.values():
            end = min(partition.log.high_watermark for _, partition in same)
            contents = [(name, await _content(partition, end)) for name, partition in same]
            first_name, first = contents[0]
            for name, content in contents[1:]:
                if content != first:
                    self._violated(f"{same[0][1].name}: the replicas of {first_name} and {name} differ below {end}")


def _led(node: Node) -> Iterator[tuple[Partition, Leading]]:
    if node.broker is not None:
        for partition in node.broker.replicas.partitions.values():
            if isinstance(partition.role, Leading):
                yield partition, partition.role


async def _content(partition: Partition, end: int) -> bytes:
    found = bytearray()
    offset = partition.log.log_start_offset
    while offset < end:
        batches = await partition.log.read(offset, _READ_BYTES, up_to=end)
        assert batches, f"{partition.name} has nothing at {offset}, below its watermark"
        found += batches
        for _, header in split_batches(batches):
            offset = header.next_offset
    return bytes(found)
