"""A broker with two directories, one of which fails at each operation of its disk in turn: the other goes on."""

from __future__ import annotations

import contextlib

import pytest

from dohle.broker.leading import ACKS_ALL
from dohle.model.errors import DohleError
from dohle.model.ids import PartitionKey, TopicId, TopicPartition
from tests.broker.brokers import Cluster, Node, until
from tests.broker.logs import TOPIC_ID, batch
from tests.broker.virtual_time import in_virtual_time
from tests.storage.fault_disk import FailingDirectory

PATHS = SOUND, BROKEN = ("one", "two")
PARTITIONS = 4
OF_A_START = 40
"""So many operations are those of a start at most, which depends on the stop before it."""
LATER_ID = TopicId(b"a later one of 1")


class Written:
    """How many records of each partition are acknowledged."""

    def __init__(self, node: Node) -> None:
        self.counts: dict[PartitionKey, int] = {}
        self._node = node

    async def more(self) -> None:
        """Writes one record to each partition; what lies in the sound directory is led before, and all taken."""
        broker = self._node.broker
        await until(lambda: all(self._node.leading(key) for key in broker.replicas.partitions if self._is_sound(key)))
        for key, partition in list(broker.replicas.partitions.items()):
            sound = self._is_sound(key)
            try:
                future = await broker.produce(key, batch(), ACKS_ALL, 2.0)
                assert future is not None
                produced = await future
            except DohleError:
                assert not sound, f"{partition.name} is refused"
            else:
                self.counts[key] = produced.base_offset + 1

    def _is_sound(self, key: PartitionKey) -> bool:
        return self._node.log(key).folder.startswith(f"{SOUND}/")


async def moves(node: Node, number: int, path: str) -> None:
    """Asks for a move, and waits until it is over, however it ends."""
    with contextlib.suppress(DohleError):
        node.broker.dir_moves.begin(TopicPartition("t", number), path)
    await until(lambda: not node.broker.dir_moves.under_way)


def acts(node: Node) -> bool:
    return node.running is not None and node.running.acting_at is not None


@in_virtual_time
async def lives(first: int, struck: list[bool], *, clean: bool, stays: bool) -> None:
    """Adds whether the disk has failed; it does not if nothing was left to do at its `first` operation."""
    cluster = await Cluster.started(1, paths=PATHS)
    node = cluster.nodes[1]
    cluster.controller.topic(TOPIC_ID, [[1]] * PARTITIONS)
    await until(lambda: len(node.broker.replicas.partitions) == PARTITIONS)
    written = Written(node)
    await written.more()
    await (node.stop() if clean else node.kill())
    disk = FailingDirectory(node.disk, BROKEN, first, stays=stays)

    await node.start()
    await until(lambda: acts(node) and len(node.broker.replicas.partitions) >= PARTITIONS // 2)
    await written.more()
    cluster.controller.topic(LATER_ID, [[1], [1]], name="later")
    await until(lambda: all(PartitionKey(LATER_ID, number) in node.broker.replicas.partitions for number in (0, 1)))
    await moves(node, 0, BROKEN)
    await moves(node, 1, SOUND)
    await written.more()
    assert SOUND in [folder.path for folder in node.broker.log_dirs.online]
    assert not cluster.failures
    await node.stop()

    node.disk.fault = lambda *_: None
    await node.start()
    await until(lambda: len(node.broker.replicas.partitions) == PARTITIONS + 2)
    for key, count in written.counts.items():
        assert node.log(key).log_end_offset >= count, key
        assert sum(node.log(key).key in folder.logs for folder in node.broker.log_dirs.folders) == 1
    assert not node.broker.log_dirs.offline
    assert not cluster.failures
    await node.stop()
    struck.append(disk.struck)


@pytest.mark.parametrize("clean", [True, False])
def test_a_broker_goes_on_with_the_other_directory_wherever_one_fails(clean: bool) -> None:
    first, struck = 1, [True]
    while struck[-1]:
        lives(first, struck, clean=clean, stays=first % 4 < 2)
        first += 1 if first <= OF_A_START else 3
    assert first > 2 * OF_A_START
