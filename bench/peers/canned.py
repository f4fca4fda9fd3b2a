"""A broker that does nothing: what a client reaches with it is the client's own ceiling.

    python -m bench.peers.canned PORT

Produce succeeds at once and is thrown away, Fetch always gives a batch of 1 MB of 1 KB records, whatever the topic. One
process, one connection after the other served on one loop; only the offsets are true.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

import uvloop

from bench.peers.asking import HOST, PARTITIONS
from dohle.kafka.declaration import Buffer, Request, Response
from dohle.kafka.framing import decode_request, encode_response, request_start
from dohle.kafka.messages.cluster import ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse
from dohle.kafka.messages.fetch import FetchRequest, FetchResponse
from dohle.kafka.messages.produce import (
    InitProducerIdRequest,
    InitProducerIdResponse,
    ProduceRequest,
    ProduceResponse,
)
from dohle.listeners.kafka.frames import SCRATCH_BYTES, FrameReader
from dohle.model.records import Record, encode_batch

RECORDS = 1000
RECORD_BYTES = 1000
_TOPIC_ID = bytes(range(16))
_BASE_OFFSET_BYTES = 8  # which the CRC leaves out
_END = 1 << 40
_MOST_FRAME_BYTES = 100 << 20


class Canned:
    """The answers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: defaultdict[tuple[str, int], int] = defaultdict(int)
        batch = encode_batch([Record(key=None, value=bytes(RECORD_BYTES), timestamp_ms=1)] * RECORDS)
        self._behind_offset = memoryview(batch)[_BASE_OFFSET_BYTES:]
        self.answers: dict[int, tuple[type[Request], Callable[[Any], Response]]] = {
            kind.API.key: (kind, answer)
            for kind, answer in (
                (ProduceRequest, self._produce),
                (FetchRequest, self._fetch),
                (MetadataRequest, self._metadata),
                (ApiVersionsRequest, self._versions),
                (InitProducerIdRequest, self._producer_id),
            )
        }

    def _versions(self, _request: ApiVersionsRequest) -> ApiVersionsResponse:
        return ApiVersionsResponse(
            error_code=0,
            api_keys=[
                ApiVersionsResponse.ApiVersion(
                    api_key=key,
                    # as Kafka has it: without the versions that it no longer serves, librdkafka stops compressing
                    min_version=0 if key == ProduceRequest.API.key else kind.API.versions[0],
                    max_version=kind.API.versions[-1],
                )
                for key, (kind, _) in self.answers.items()
            ],
        )

    def _metadata(self, request: MetadataRequest) -> MetadataResponse:
        kind = MetadataResponse.Topic
        parts = [
            kind.Partition(
                error_code=0, partition_index=number, leader_id=1, leader_epoch=0, replica_nodes=[1], isr_nodes=[1]
            )
            for number in range(PARTITIONS)
        ]
        return MetadataResponse(
            brokers=[MetadataResponse.Broker(node_id=1, host=HOST, port=self._port)],
            cluster_id="canned",
            controller_id=1,
            topics=[
                kind(error_code=0, name=topic.name or "canned", topic_id=_TOPIC_ID, partitions=parts)
                for topic in request.topics or ()
            ],
        )

    def _producer_id(self, _request: InitProducerIdRequest) -> InitProducerIdResponse:
        return InitProducerIdResponse(error_code=0, producer_id=1, producer_epoch=0)

    def _produce(self, request: ProduceRequest) -> ProduceResponse:
        kind = ProduceResponse.Topic
        responses = []
        for topic in request.topic_data:
            parts = []
            for partition in topic.partition_data:
                assert partition.records is not None
                place = topic.name, partition.index
                base = self._ends[place]
                # the count of records, the last four bytes of the header
                self._ends[place] = base + int.from_bytes(partition.records[57:61], "big")
                parts.append(kind.Partition(index=partition.index, error_code=0, base_offset=base))
            responses.append(kind(name=topic.name, topic_id=topic.topic_id, partition_responses=parts))
        return ProduceResponse(responses=responses)

    def _fetch(self, request: FetchRequest) -> FetchResponse:
        kind = FetchResponse.Topic
        return FetchResponse(
            responses=[
                kind(
                    topic=topic.topic,
                    topic_id=topic.topic_id,
                    partitions=[
                        kind.Partition(
                            partition_index=one.partition,
                            error_code=0,
                            high_watermark=_END,
                            last_stable_offset=_END,
                            log_start_offset=0,
                            aborted_transactions=None,
                            records=[one.fetch_offset.to_bytes(_BASE_OFFSET_BYTES, "big"), self._behind_offset],
                        )
                        for one in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )


class CannedConnection(asyncio.BufferedProtocol):
    def __init__(self, canned: Canned, scratch: memoryview) -> None:
        self._canned = canned
        self._reader = FrameReader(scratch, _MOST_FRAME_BYTES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        answers: list[Buffer] = []
        for frame in self._reader.received(nbytes):
            start = request_start(frame)
            kind, answer = self._canned.answers[start.api_key]
            response = answer(decode_request(kind, start.api_version, frame)[1])
            answers += encode_response(response, start.api_version, start.correlation_id)
        if answers:
            self._transport.writelines(answers)


async def serve(port: int) -> None:
    canned, scratch = Canned(port), memoryview(bytearray(SCRATCH_BYTES))
    server = await asyncio.get_running_loop().create_server(lambda: CannedConnection(canned, scratch), HOST, port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
