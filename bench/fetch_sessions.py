"""What a fetch costs a broker where one of many partitions has data, with a fetch session (KIP-227) and without one.

    python -m bench.fetch_sessions [PARTITIONS] [ROUNDS]

One broker in memory, and two consumers, each of a topic of its own with so many partitions. A fetch is what the
listener does: a request's bytes decoded, answered, and encoded again. The figures are CPU time a fetch, the least of
the rounds; both consumers take turns in each round, and the ratio is the median of the rounds'. Also said: what a fetch
costs that begins a session, and the memory that a session takes.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
import tracemalloc
from random import Random

from dohle.cli.output import print_table
from dohle.kafka.framing import decode_request, decode_response, encode_request, encode_response
from dohle.kafka.messages.fetch import FetchRequest, FetchResponse
from dohle.listeners.byte_budget import ByteBudget
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.fetch import Fetching
from dohle.listeners.kafka.fetch_sessions import FetchSessions
from dohle.listeners.kafka.topics_known import TopicsKnown
from dohle.model.ids import PartitionKey, TopicId
from dohle.runtime.network import Address
from tests.broker.brokers import Cluster, Node
from tests.broker.logs import batch
from tests.broker.virtual_time import in_virtual_time

FETCHES = 20
_VERSION = 18
_HERE = Address("memory", 9092)
_Wanted = FetchRequest.Topic.Partition


class Consumer:
    """Reads one topic; `epoch` -1: without a session."""

    def __init__(self, node: Node, topic_id: TopicId, partitions: int, epoch: int) -> None:
        self._node, self._topic_id = node, topic_id
        self._offsets = dict.fromkeys(range(partitions), 0)
        self._moved: dict[int, int] = {}
        self._number, self._epoch = 0, epoch
        known = TopicsKnown(node.broker, told_as_reached=())
        sessions = FetchSessions(10, node.broker.now, Random(1))
        self._fetching = Fetching(node.broker, known, ByteBudget(1 << 30), sessions)

    async def write(self, partition: int) -> None:
        key = PartitionKey(self._topic_id, partition)
        future = await self._node.broker.produce(key, batch(), 1, 5.0)
        assert future is not None
        await future

    async def fetch(self) -> tuple[float, list[int]]:
        """Returns the CPU time in seconds that it took the broker, and which partitions had data."""
        named = self._moved if self._epoch > 0 else self._offsets
        wanted = [_Wanted(partition=p, fetch_offset=o, partition_max_bytes=1 << 20) for p, o in named.items()]
        request = FetchRequest(
            max_wait_ms=0,
            min_bytes=1,
            max_bytes=50 << 20,
            session_id=self._number,
            session_epoch=self._epoch,
            topics=[FetchRequest.Topic(topic_id=self._topic_id, partitions=wanted)] if wanted else [],
        )
        frame = memoryview(b"".join(encode_request(request, _VERSION, 1, "bench")))[4:]
        began = time.process_time()
        client, decoded = decode_request(FetchRequest, _VERSION, frame)
        answer = encode_response(
            await self._fetching.fetch(decoded, Caller(client, _VERSION, _HERE, _HERE)), _VERSION, 1
        )
        took = time.process_time() - began
        _, told = decode_response(FetchResponse, _VERSION, memoryview(b"".join(answer))[4:])
        assert told.error_code == 0
        if self._epoch >= 0:
            assert told.session_id, "there is a place for it"
            self._number, self._epoch = told.session_id, self._epoch + 1
        parts = [one for topic in told.responses for one in topic.partitions if any(one.records or [])]
        self._moved = {one.partition_index: one.high_watermark for one in parts}
        self._offsets |= self._moved
        return took, list(self._moved)

    def begins_anew(self) -> None:
        self._epoch = 0  # in place of the session that it has


async def _round(consumer: Consumer, partitions: int, random: Random) -> float:
    spent = 0.0
    for _ in range(FETCHES):
        partition = random.randrange(partitions)
        await consumer.write(partition)
        took, found = await consumer.fetch()
        assert found == [partition], f"{found} have data, and {partition} has"
        spent += took
    return spent / FETCHES


@in_virtual_time
async def measure(partitions: int, rounds: int) -> None:
    cluster = await Cluster.started(1)
    topics = [TopicId(bytes([number]) * 16) for number in (1, 2)]
    for number, topic in enumerate(topics):
        cluster.controller.topic(topic, [[1]] * partitions, name=f"t{number}")
        await cluster.led(PartitionKey(topic, partitions - 1))
    plain = Consumer(cluster.nodes[1], topics[0], partitions, -1)
    kept = Consumer(cluster.nodes[1], topics[1], partitions, 0)
    await plain.fetch()
    tracemalloc.start()
    await kept.fetch()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    random, figures = Random(1), []
    gc.disable()
    for _ in range(rounds):
        figures.append((await _round(plain, partitions, random), await _round(kept, partitions, random)))
        gc.collect()
    begins = []
    for _ in range(rounds):
        kept.begins_anew()
        begins.append((await kept.fetch())[0])
    rows = (
        (f"1 of {partitions} has data, no session", min(one for one, _ in figures)),
        (f"1 of {partitions} has data, in a session", min(one for _, one in figures)),
        ("begins a session", min(begins)),
    )
    print_table(("FETCH", "CPU US"), [(name, f"{seconds * 1e6:.0f}") for name, seconds in rows])
    ratio = statistics.median(without / within for without, within in figures)
    print(f"without a session a fetch takes {ratio:.0f} times as long; a session takes {held / 1024:.0f} KiB")


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    measure(*given, *[1000, 10][len(given) :])
