"""Writing: a client that sends values, each once, and notes what becomes of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from dohle.model.ids import TopicPartition
from dohle.testing.chaos.history_file import Process
from dohle.testing.chaos.workloads.log_client import Failure, LogProducer, ProducerPlan
from dohle.testing.chaos.workloads.work import Pace, Work
from dohle.testing.history.operations import Operation, Outcome, Send

COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
_PADDING = (0, 0, 0, 200, 3000)
_RETRY_S = 0.2


def drawn_plan(chance: Random) -> ProducerPlan:
    return ProducerPlan(
        linger_ms=chance.choice((0, 5, 50)),
        compression=chance.choice(COMPRESSIONS),
        delivery_timeout_ms=chance.choice((20_000, 60_000)),
    )


class Sender:
    """One process that sends. A value tells who sent it, and is no other's."""

    def __init__(self, process: Process, producer: LogProducer, chance: Random) -> None:
        self._process = process
        self._producer = producer
        self._chance = chance
        self._number = 0

    async def send(self, partition: TopicPartition, told: Callable[[int | None], object] | None = None) -> bool:
        """Sends the next value; returns whether it was taken. `told` hears where it was put, None if that is not known,
        once it is settled."""
        self._number += 1
        value = f"{self._process.name}:{self._number}"
        operation = self._process.invoke(Send(str(partition), value))
        padding = b"." * self._chance.choice(_PADDING)
        headers = [("padding", padding)] if padding else ()
        settled = partial(self._settled, operation, told)
        try:
            await self._producer.send(partition, value.encode(), settled, headers=headers)
        except Failure as failure:
            settled(None, failure)
            return False
        return True

    def _settled(
        self,
        operation: Operation,
        told: Callable[[int | None], object] | None,
        offset: int | None,
        failure: Failure | None,
    ) -> None:
        if failure is not None:
            outcome = Outcome.FAIL if failure.definite else Outcome.INFO
            self._process.complete(operation, outcome, why=failure.why)
        elif offset is None:
            self._process.complete(operation, Outcome.OK)
        else:
            (sent,) = operation.micro
            assert isinstance(sent, Send)
            self._process.complete(operation, Outcome.OK, sent._replace(offset=offset))
        if told is not None:
            told(offset)


async def write(work: Work, name: str, per_s: float, *, most_of_a_life: int = 0, largest_burst: int = 1) -> None:
    """Sends to all partitions until the work is over, `per_s` values a second; all are settled then.

    `most_of_a_life`: after so many bursts at most another producer goes on, as another process; 0: the first stays.
    `largest_burst`: so many values at most go to one partition at once.
    """
    chance = work.chance(name)
    pace = Pace(per_s)
    life = 0
    while not work.over.is_set():
        producer = work.client.producer(drawn_plan(chance))
        sender = Sender(work.process(f"{name}.{life}"), producer, chance)
        left = chance.randint(1, most_of_a_life) if most_of_a_life else -1
        while left and not work.over.is_set():
            partition = chance.choice(work.partitions)
            for _ in range(chance.randint(1, largest_burst)):
                await pace.turn()
                if not await sender.send(partition):
                    await work.rest(_RETRY_S)
            left -= 1
        await producer.flush()
        await producer.close()
        life += 1
