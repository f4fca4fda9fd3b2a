"""One producer's stream: requests are appended in the order of their arrival, answers leave as they are ready.

Answers gather while one is being sent. What is appended and not yet answered is bounded in bytes, for the stream and
for the broker: past that no request is read, and the transport's flow control reaches the producer. A producer that
does not take its answers is bounded in the same way: for the stream, a request counts until its answer was sent.
"""

from __future__ import annotations

import asyncio
from functools import partial

from dohle.broker.broker import Broker
from dohle.broker.waiting import Produced
from dohle.listeners.byte_budget import ByteBudget
from dohle.model.errors import DohleError
from dohle.model.ids import PartitionKey, TopicId
from dohle.rpc.v1 import broker_pb2, common_pb2
from dohle.runtime.network import Stream

STREAM_BYTES = 32 << 20
LEAST_BYTES = 1 << 10
"""What a batch counts as at the least: its answer takes memory as well."""
Requests = Stream[broker_pb2.ProduceResponse, broker_pb2.ProduceRequest]


class ProduceStream:
    """`budget` is the broker's, shared by all streams."""

    def __init__(self, broker: Broker, stream: Requests, budget: ByteBudget) -> None:
        self._broker = broker
        self._stream = stream
        self._shared = budget
        self._own = ByteBudget(STREAM_BYTES)
        self._answers: list[broker_pb2.ProducedPartition] = []
        self._answered_bytes = 0  # what `_answers` hold of this stream's budget
        self._answered = asyncio.Event()

    async def receive(self) -> None:
        """Returns when the producer has ended the stream."""
        while (request := await self._stream.receive()) is not None:
            for asked in request.partitions:
                size = max(len(asked.batch), LEAST_BYTES)
                await self._own.take(size)
                await self._shared.take(size)
                await self._append(request, asked, size)

    async def _append(self, request: broker_pb2.ProduceRequest, asked: broker_pb2.ProducePartition, size: int) -> None:
        key = PartitionKey(TopicId(asked.topic_id), asked.partition)
        try:
            future = await self._broker.produce(
                key, asked.batch, request.acks, request.timeout_ms / 1000, keeps_offset=asked.keeps_offset
            )
        except DohleError as error:
            self._shared.give_back(size)
            if request.acks == 0:
                raise  # there is no answer to say it in: ending the stream is what tells the producer
            self._answer(_failed(request.correlation, key, error), size)
            return
        except asyncio.CancelledError:  # while the batch was being compressed anew
            self._shared.give_back(size)
            raise
        if future is None:
            self._shared.give_back(size)
            self._own.give_back(size)
        else:
            future.add_done_callback(partial(self._acknowledged, request.correlation, key, size))

    def _acknowledged(self, correlation: int, key: PartitionKey, size: int, future: asyncio.Future[Produced]) -> None:
        self._shared.give_back(size)
        error = future.exception()
        if error is None:
            produced = future.result()
            answer = broker_pb2.ProducedPartition(
                correlation=correlation,
                topic_id=key.topic_id,
                partition=key.partition,
                base_offset=produced.base_offset,
                log_append_time_ms=produced.log_append_time_ms,
                log_start_offset=produced.log_start_offset,
            )
        else:
            assert isinstance(error, DohleError), error
            answer = _failed(correlation, key, error)
        self._answer(answer, size)

    def _answer(self, answer: broker_pb2.ProducedPartition, size: int) -> None:
        self._answers.append(answer)
        self._answered_bytes += size
        self._answered.set()

    async def send(self) -> None:
        """Sends answers for as long as the stream lasts."""
        while True:
            await self._answered.wait()
            self._answered.clear()
            answers, self._answers = self._answers, []
            size, self._answered_bytes = self._answered_bytes, 0
            try:
                await self._stream.send(broker_pb2.ProduceResponse(partitions=answers))
            except DohleError:
                return  # the receiving side sees the break as well, and ends the stream
            self._own.give_back(size)


def _failed(correlation: int, key: PartitionKey, error: DohleError) -> broker_pb2.ProducedPartition:
    return broker_pb2.ProducedPartition(
        correlation=correlation,
        topic_id=key.topic_id,
        partition=key.partition,
        failure=common_pb2.Failure(code=error.code, message=error.message),
        base_offset=-1,
        log_append_time_ms=-1,
        log_start_offset=-1,
    )
