"""Writer: a simulated client that sends bursts of keyed records, each an operation of its own.

A value names its key and its number, so that none is sent twice; padding makes some long.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dohle.client.producer import Producer, Receipt
from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition
from dohle.model.partitioner import partition_for
from dohle.testing.clients.sim_client import SimClient
from dohle.testing.history.operations import Operation, Outcome, Send

_PADDING = (0, 0, 100, 100, 1500)


class Writer:
    """Writes to `topic` until `over`. `records_per_s` is what it sends on average while it is not held up."""

    def __init__(
        self, client: SimClient, topic: str, partitions: int, *, keys: int, records_per_s: float, largest_burst: int
    ) -> None:
        self._client = client
        self._topic = topic
        self._keys = [b"%s-%d" % (client.process.name.encode(), number) for number in range(keys)]
        self._logs = {key: str(TopicPartition(topic, partition_for(key, partitions))) for key in self._keys}
        self._largest_burst = largest_burst
        self._bursts_per_s = records_per_s / ((1 + largest_burst) / 2)
        self._number = 0

    async def run(self, producer: Producer, over: Callable[[], bool]) -> None:
        chance = self._client.random
        async with producer:
            while not over():
                for _ in range(chance.randint(1, self._largest_burst)):
                    await self._send(producer, self._keys[chance.randrange(len(self._keys))])
                await self._client.clock.sleep(chance.expovariate(self._bursts_per_s))

    async def _send(self, producer: Producer, key: bytes) -> None:
        self._number += 1
        value = b"%s:%d:" % (key, self._number) + b"." * self._client.random.choice(_PADDING)
        operation = self._client.invoke(Send(self._logs[key], value.decode()))
        try:
            receipt = await producer.send(self._topic, value, key=key)
        except DohleError as error:  # it was not taken
            self._client.complete(operation, Outcome.FAIL, why=error.message)
            return
        receipt.add_done_callback(partial(self._delivered, operation, value.decode()))

    def _delivered(self, operation: Operation, value: str, receipt: Receipt) -> None:
        failure = receipt.exception()
        if failure is None:
            delivery = receipt.result()
            log = str(TopicPartition(delivery.topic, delivery.partition))
            send = Send(log, value, delivery.offset if delivery.offset >= 0 else None)
            self._client.complete(operation, Outcome.OK, send)
        else:
            assert isinstance(failure, DohleError), failure
            outcome = Outcome.FAIL if failure.definite else Outcome.INFO
            self._client.complete(operation, outcome, why=failure.message)
