"""Metadata at size: what an image costs to apply and to keep, and what its snapshot costs the event loop.

    python -m bench.metadata [PARTITIONS]

Topics of 100 partitions with three replicas, 10,000 partitions by default. A pause is the longest time in which the
loop did not come back to another task, by the CPU time of this process, which a busy machine does not spoil.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
import tracemalloc

from dohle.controller.snapshot_files import SnapshotFiles
from dohle.model.ids import ClusterId, DirectoryId, IncarnationId, NodeId, TopicId
from dohle.model.image import EMPTY_IMAGE, ClusterImage
from dohle.model.image_apply import apply_batch
from dohle.model.metadata import (
    Endpoint,
    MetadataRecord,
    Partition,
    PartitionChange,
    RegisterBroker,
    Topic,
    Voter,
    Voters,
)
from dohle.model.metadata_batch import decode_metadata, encode_metadata
from dohle.runtime.clock import LoopClock
from dohle.runtime.files import RealDisk

PARTITIONS_A_TOPIC = 100
NODES = tuple(NodeId(number) for number in (1, 2, 3))


def changes(partitions: int) -> list[tuple[MetadataRecord, ...]]:
    """The batches that make a cluster of so many partitions."""
    voter = Voter(NODES[0], DirectoryId(bytes(16)), "here", 7092)
    batches: list[tuple[MetadataRecord, ...]] = [(Voters(ClusterId("c" * 22), (voter,)),)]
    for node in NODES:
        door = Endpoint("GRPC", "here", 7092, "PLAINTEXT")
        batches.append((RegisterBroker(node, IncarnationId(bytes(16)), DirectoryId(bytes(16)), (door,), "", ()),))
    for number in range(partitions // PARTITIONS_A_TOPIC):
        topic_id = TopicId(number.to_bytes(16, "big"))
        replicas = [NODES[at % 3 :] + NODES[: at % 3] for at in range(PARTITIONS_A_TOPIC)]
        made = [Partition(topic_id, at, nodes, nodes, nodes[0]) for at, nodes in enumerate(replicas)]
        batches.append((Topic(topic_id, f"topic-{number}"), *made))
    return batches


def applied(encoded: list[bytes]) -> ClusterImage:
    image = EMPTY_IMAGE
    for batches in encoded:
        for batch in decode_metadata(batches):
            image = apply_batch(image, batch.records, batch.base_offset)
    return image


def encode(batches: list[tuple[MetadataRecord, ...]], offset: int = 0) -> list[bytes]:
    encoded = []
    for records in batches:
        encoded.append(encode_metadata(records, metadata_version=1, base_offset=offset, term=1, timestamp_ms=0))
        offset += len(records)
    return encoded


def measure_changes(image: ClusterImage) -> float:
    """Returns the CPU seconds of one change of one partition, a batch of its own."""
    topics = list(image.topics_in_order())
    records = [
        (PartitionChange(topic.topic_id, 0, NODES[1], 1, 1, topic.partitions[0].assigned_replicas, ()),)
        for topic in topics
    ]
    encoded = encode(list(records), image.next_offset)
    began = time.process_time()
    for batches in encoded:
        for batch in decode_metadata(batches):
            image = apply_batch(image, batch.records, batch.base_offset)
    return (time.process_time() - began) / len(records)


class Pauses:
    """A task that does nothing but look how long it was kept from it."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._last = time.process_time()

    async def watch(self) -> None:
        while True:
            now = time.process_time()
            self.longest_s, self._last = max(self.longest_s, now - self._last), now
            await asyncio.sleep(0)


async def measure_snapshot(image: ClusterImage) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = SnapshotFiles(RealDisk(), LoopClock(), folder)
        for what in ("written", "read"):
            gc.collect()
            pauses = Pauses()
            watching = asyncio.ensure_future(pauses.watch())
            began, cpu = time.monotonic(), time.process_time()
            if what == "written":
                snapshot = await files.write(image, 1)
            else:
                assert await files.read(snapshot) == image
            took, cpu = time.monotonic() - began, time.process_time() - cpu
            watching.cancel()
            pause = f"longest pause of the loop {pauses.longest_s * 1000:.1f} ms"
            print(f"snapshot {what}: {files.newest_size_bytes} bytes, {took:.2f} s, {cpu:.2f} s CPU, {pause}")


def main() -> None:
    partitions = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    encoded = encode(changes(partitions))
    began = time.process_time()
    image = applied(encoded)
    seconds = time.process_time() - began
    print(
        f"{partitions} partitions: applied in {seconds:.2f} s CPU, {seconds / image.next_offset * 1e6:.1f} us a record"
    )
    print(f"one change of one partition of {PARTITIONS_A_TOPIC}: {measure_changes(image) * 1e6:.0f} us")
    asyncio.run(measure_snapshot(image))
    del image
    gc.collect()
    tracemalloc.start()
    image = applied(encoded)
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0]
    assert image.next_offset, "it is kept until here"
    print(f"the image keeps {kept / 1e6:.1f} MB, {kept / partitions:.0f} bytes a partition (Python's part)")


if __name__ == "__main__":
    main()
