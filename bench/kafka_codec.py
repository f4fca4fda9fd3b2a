"""What it costs to decode and encode the messages of the hot path, beside kio and kafka-python in the same run.

    python -m bench.kafka_codec [ROUNDS]

Each figure is the smallest CPU time of a call over the rounds, in microseconds. "x ours" is the median ratio of the
other's to ours, over rounds in which all took their turn. Produce has one batch of 100 KB or twenty of 1 KB, Fetch
likewise, Metadata 10 topics of 30 partitions. Also said: what declaring everything costs, in time and memory, and what
making the slowest decoder and encoder.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import kafka.protocol.consumer
import kafka.protocol.metadata
import kafka.protocol.producer
from kio.index import load_payload_module
from kio.serial import entity_reader, entity_writer
from kio.static.constants import EntityType

from dohle.cli.output import print_table
from dohle.kafka.codec import decode, encode
from dohle.kafka.declaration import Message, Request
from dohle.kafka.messages.cluster import MetadataRequest, MetadataResponse
from dohle.kafka.messages.fetch import FetchRequest, FetchResponse
from dohle.kafka.messages.produce import ProduceRequest, ProduceResponse

ROUNDS = 30
_LEAST_S = 0.004
_TOPIC = "orders.of.the.day"
_ID = bytes(range(16))

START = """
import gc, resource, sys, time
from dohle.kafka.messages import API_KEYS, api
from dohle.kafka.decoding import make_decoder
from dohle.kafka.encoding import make_encoder
import dohle.kafka.framing
gc.disable()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1024
before, began = resident(), time.process_time()
kinds = [kind for key in API_KEYS for kind in api(key)]
declared_ms, declared_kb = (time.process_time() - began) * 1000, resident() - before
worst, before, began = 0.0, resident(), time.process_time()
for request, response in zip(kinds[::2], kinds[1::2]):
    version = request.API.versions[-1]
    single = time.process_time()
    decoder, encoder = make_decoder(request, version), make_encoder(response, version)
    worst = max(worst, (time.process_time() - single) * 1000)
made_ms = (time.process_time() - began) * 1000
print(declared_ms, declared_kb, made_ms, resident() - before, worst)
"""


def produce_request(version: int, partitions: int, size: int) -> ProduceRequest:
    kind = ProduceRequest.Topic
    parts = [kind.Partition(index=index, records=memoryview(bytes(size))) for index in range(partitions)]
    topic = kind(name=_TOPIC if version < 13 else "", topic_id=_ID if version > 12 else bytes(16), partition_data=parts)
    return ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[topic])


def produce_response(version: int, partitions: int) -> ProduceResponse:
    kind = ProduceResponse.Topic
    parts = [kind.Partition(index=index, error_code=0, base_offset=1 << 33) for index in range(partitions)]
    name, topic_id = (_TOPIC, bytes(16)) if version < 13 else ("", _ID)
    return ProduceResponse(responses=[kind(name=name, topic_id=topic_id, partition_responses=parts)])


def fetch_request(version: int, partitions: int) -> FetchRequest:
    kind = FetchRequest.Topic
    parts = [
        kind.Partition(partition=index, fetch_offset=1 << 33, partition_max_bytes=1 << 20)
        for index in range(partitions)
    ]
    topic = kind(topic=_TOPIC if version < 13 else "", topic_id=_ID if version > 12 else bytes(16), partitions=parts)
    return FetchRequest(max_wait_ms=500, min_bytes=1, topics=[topic])


def fetch_response(version: int, partitions: int, size: int) -> FetchResponse:
    kind = FetchResponse.Topic
    parts = [
        kind.Partition(
            partition_index=index,
            error_code=0,
            high_watermark=1 << 33,
            aborted_transactions=None,
            records=[memoryview(bytes(size))],
        )
        for index in range(partitions)
    ]
    topic = kind(topic=_TOPIC if version < 13 else "", topic_id=_ID if version > 12 else bytes(16), partitions=parts)
    return FetchResponse(responses=[topic])


def metadata_request() -> MetadataRequest:
    return MetadataRequest(topics=[MetadataRequest.Topic(name=f"{_TOPIC}.{number}") for number in range(10)])


def metadata_response() -> MetadataResponse:
    kind = MetadataResponse.Topic
    replicas = [1, 2, 3]
    parts = [
        kind.Partition(
            error_code=0, partition_index=index, leader_id=1, leader_epoch=5, replica_nodes=replicas, isr_nodes=replicas
        )
        for index in range(30)
    ]
    brokers = [MetadataResponse.Broker(node_id=node, host=f"broker-{node}.example", port=9092) for node in replicas]
    topics = [kind(error_code=0, name=f"{_TOPIC}.{number}", topic_id=_ID, partitions=parts) for number in range(10)]
    return MetadataResponse(brokers=brokers, cluster_id="c" * 22, controller_id=1, topics=topics)


def cases() -> list[tuple[str, int, Message]]:
    return [
        *[("Produce request, 100 KB", v, produce_request(v, 1, 100_000)) for v in range(9, 14)],
        *[("Produce request, 20 x 1 KB", v, produce_request(v, 20, 1000)) for v in (9, 13)],
        *[("Produce response, 20 partitions", v, produce_response(v, 20)) for v in (9, 13)],
        *[("Fetch request, 20 partitions", v, fetch_request(v, 20)) for v in (12, 17)],
        *[("Fetch response, 100 KB", v, fetch_response(v, 1, 100_000)) for v in range(12, 18)],
        *[("Fetch response, 20 x 1 KB", v, fetch_response(v, 20, 1000)) for v in (12, 17)],
        *[("Metadata request, 10 topics", v, metadata_request()) for v in (12, 13)],
        *[("Metadata response, 300 partitions", v, metadata_response()) for v in (12, 13)],
    ]


def codecs(message: Message, version: int) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Returns how each codec decodes and encodes what the message says."""
    kind = type(message)
    encoded = b"".join(encode(message, version))
    view = memoryview(encoded)
    side = EntityType.request if isinstance(message, Request) else EntityType.response
    kio = getattr(load_payload_module(kind.API.key, version, side), kind.__name__)
    read, write = entity_reader(kio), entity_writer(kio)
    kio_message = read(encoded, 0)[0]
    modules = (kafka.protocol.producer, kafka.protocol.consumer, kafka.protocol.metadata)
    python = next(getattr(module, kind.__name__) for module in modules if hasattr(module, kind.__name__))
    python_message = python.decode(encoded, version=version)
    return {
        "ours": (lambda: decode(kind, version, view), lambda: encode(message, version)),
        "kio": (lambda: read(encoded, 0), lambda: write(BytesIO(), kio_message)),
        "kafka-python": (lambda: python.decode(view, version=version), lambda: python_message.encode()),
    }


def cpu_us(call: Callable[[], Any]) -> float:
    """Returns the CPU time of one call, over as many as take a few milliseconds."""
    times = 1
    while True:
        began = time.process_time()
        for _ in range(times):
            call()
        spent = time.process_time() - began
        if spent > _LEAST_S:
            return spent / times * 1e6
        times *= 4


def compare(message: Message, version: int, rounds: int) -> list[list[str]]:
    """Returns a row for decoding and one for encoding: the codecs take turns, round by round."""
    rows = []
    compared = codecs(message, version)
    for direction, work in enumerate(("decode", "encode")):
        taken: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, calls in compared.items():
                taken.setdefault(name, []).append(cpu_us(calls[direction]))
        ours = taken.pop("ours")
        row = [work, f"{min(ours):.2f}"]
        for theirs in taken.values():
            ratio = statistics.median(one / other for one, other in zip(theirs, ours, strict=True))
            row += [f"{min(theirs):.2f}", f"{ratio:.1f}"]
        rows.append(row)
    return rows


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    starts = [
        [float(word) for word in subprocess.check_output([sys.executable, "-c", START], text=True).split()]
        for _ in range(3)
    ]
    declared_ms, declared_kb, made_ms, made_kb, worst_ms = map(min, zip(*starts, strict=True))
    print(f"all messages declared: {declared_ms:.0f} ms, {declared_kb:.0f} KB")
    print(f"a decoder of each request and an encoder of each response: {made_ms:.0f} ms, {made_kb:.0f} KB")
    print(f"the slowest such pair: {worst_ms:.1f} ms")
    gc.disable()
    rows = []
    for name, version, message in cases():
        rows += [[name, str(version), *row] for row in compare(message, version, rounds)]
    print_table(["message", "version", "", "us", "kio us", "x ours", "kafka-python us", "x ours"], rows)


if __name__ == "__main__":
    main()
