"""A client that says whatever it is told to: gRPC without the SDK, for requests that the SDK would never send."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc

from dohle.model.errors import DohleError, error_for
from dohle.model.ids import TopicPartition
from dohle.model.records import Record, encode_batch
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import broker_pb2

_METHODS = methods_of(broker_pb2.DESCRIPTOR.services_by_name["Broker"])
_PATIENCE_S = 20.0


class RawBroker:
    """One broker, by its gRPC port."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def __enter__(self) -> RawBroker:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def unary(self, name: str, request: Any) -> Any:
        method = _METHODS[name]
        return self._channel.unary_unary(
            method.path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=method.response.FromString,
        )(request, timeout=_PATIENCE_S)

    def streamed(self, name: str, request: Any) -> Any:
        """Sends one request on a stream that stays open until its first answer."""
        answered = threading.Event()

        def requests() -> Iterator[Any]:
            yield request
            answered.wait(_PATIENCE_S)

        method = _METHODS[name]
        stream = self._channel.stream_stream(
            method.path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=method.response.FromString,
        )(requests(), timeout=_PATIENCE_S)
        try:
            return next(stream)
        finally:
            answered.set()
            stream.cancel()

    def topic_id(self, topic: str) -> bytes:
        return bytes(self.unary("Metadata", broker_pb2.MetadataRequest(topics=[topic])).topics[0].topic_id)

    def leader_epoch(self, where: TopicPartition) -> int:
        topic = self.unary("Metadata", broker_pb2.MetadataRequest(topics=[where.topic])).topics[0]
        return int(topic.partitions[where.partition].leader_epoch)

    def produce(
        self,
        where: TopicPartition,
        batch: bytes,
        *,
        acks: int = -1,
        timeout_ms: int = 5000,
        topic_id: bytes | None = None,
    ) -> int | DohleError:
        """Returns the base offset, or why there is none."""
        request = broker_pb2.ProduceRequest(
            correlation=1,
            acks=acks,
            timeout_ms=timeout_ms,
            partitions=[
                broker_pb2.ProducePartition(
                    topic_id=topic_id if topic_id is not None else self.topic_id(where.topic),
                    partition=where.partition,
                    batch=batch,
                )
            ],
        )
        answer = self.streamed("Produce", request).partitions[0]
        return _outcome(answer.failure, int(answer.base_offset))

    def fetch(self, where: TopicPartition, offset: int, *, leader_epoch: int = -1) -> bytes | DohleError:
        """Returns what is at `offset`, or why nothing is."""
        request = broker_pb2.FetchRequest(
            correlation=1,
            max_wait_ms=200,
            min_bytes=1,
            max_bytes=1 << 20,
            partitions=[
                broker_pb2.FetchPartition(
                    topic_id=self.topic_id(where.topic),
                    partition=where.partition,
                    fetch_offset=offset,
                    max_bytes=1 << 20,
                    current_leader_epoch=leader_epoch,
                )
            ],
        )
        answer = self.streamed("Fetch", request).partitions[0]
        return _outcome(answer.failure, bytes(answer.batches))


def _outcome(failure: Any, value: Any) -> Any:
    return error_for(failure.code, failure.message) if failure.code else value


def a_batch(
    value: bytes = b"v", *, producer_id: int = -1, sequence: int = -1, producer_epoch: int | None = None
) -> bytes:
    """Returns a batch of one record."""
    return encode_batch(
        [Record(b"k", value, (), 1_700_000_000_000)],
        producer_id=producer_id,
        producer_epoch=producer_epoch if producer_epoch is not None else (0 if producer_id >= 0 else -1),
        base_sequence=sequence,
    )
