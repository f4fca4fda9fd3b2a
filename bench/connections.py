"""Connections of Kafka's clients: what idle ones cost, what they and a flood of new ones do to others, first requests.

    python -m bench.connections [CONNECTIONS [ROUNDS]]

Opens 5,000 connections, by default, to the node that leads a topic of three real nodes, each of which has asked for
versions and metadata, and says what one costs in memory, beside one of a bare server on the same loop. 500 records a
second are produced by Kafka's protocol with acks=all meanwhile: the p99, from when each was due, with the idle
connections and without them, in turn, and while another process connects as fast as it can, up to 10,000 times a
second: to the bare server, which tells what that process takes of the cores, and to the node. A node that nobody has
asked is asked each API once and once more. Last, what declaring every message of the protocol adds to a process that
has what a node imports.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from bench import measures
from dohle.cli.output import print_table
from dohle.client.admin import Admin
from dohle.cluster.local import LocalCluster
from dohle.kafka.declaration import Field, Request, Struct, fields_of
from dohle.kafka.framing import decode_response, encode_request
from dohle.kafka.messages import api
from dohle.kafka.messages.cluster import ApiVersionsRequest, ApiVersionsResponse, MetadataRequest
from dohle.kafka.messages.produce import ProduceRequest, ProduceResponse
from dohle.model.records import Record, encode_batch

CONNECTIONS, ROUNDS = 5000, 5
TOPIC = "others"
RATE, SECONDS = 500, 4.0
FLOOD_PER_S = 10_000
_PRODUCE_VERSION = 9

_BARE = """
import asyncio, uvloop, sys
class Bare(asyncio.BufferedProtocol):
    scratch = memoryview(bytearray(65536))
    def connection_made(self, transport): self.transport = transport
    def get_buffer(self, hint): return self.scratch
    def buffer_updated(self, count): self.transport.write(self.scratch[:count])
async def serve():
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
uvloop.run(serve())
"""

_DECLARED = """
import sys, time
began = time.process_time()
import dohle.cluster.process
if sys.argv[1] == "all":
    from dohle.kafka.messages import API_KEYS, api
    kinds = [kind for key in API_KEYS for kind in api(key)]
cpu = time.process_time() - began
print(cpu * 1000, int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6)
"""


def _rss_kb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4


def _received(connection: socket.socket) -> bytes:
    (size,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
    return connection.recv(size, socket.MSG_WAITALL)


def _client(port: int) -> socket.socket:
    """Returns a connection that has asked what every client asks first."""
    connection = socket.create_connection(("127.0.0.1", port))
    named = ApiVersionsRequest(client_software_name="bench", client_software_version="1")
    for request, version in ((named, 3), (MetadataRequest(topics=[]), 12)):
        connection.sendall(b"".join(encode_request(request, version, 1, "bench")))
        _received(connection)
    return connection


@contextmanager
def _idle(port: int, count: int) -> Iterator[None]:
    held = [_client(port) for _ in range(count)]
    try:
        yield
    finally:
        for one in held:
            one.close()


@contextmanager
def _bare_server() -> Iterator[tuple[int, int]]:
    """A server on the same loop that does nothing but answer what it reads: its process and its port."""
    with subprocess.Popen([sys.executable, "-c", _BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        yield server.pid, int(server.stdout.readline())
        server.communicate(b"")


def bare_kb_each(count: int) -> float:
    """Returns what a connection costs that server."""
    held: list[socket.socket] = []
    with _bare_server() as (pid, port):

        def connect() -> None:
            one = socket.create_connection(("127.0.0.1", port))
            one.sendall(bytes(40))
            one.recv(40, socket.MSG_WAITALL)
            held.append(one)

        for _ in range(50):
            connect()
        before = _rss_kb(pid)
        for _ in range(count):
            connect()
        each = (_rss_kb(pid) - before) / count
        for one in held:
            one.close()
    return each


# others' produce


async def produce_p99_ms(port: int, topic: str) -> float:
    """Returns the p99 of records at a fixed rate, each timed from when it was due to its acknowledgement."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    batch = encode_batch([Record(None, bytes(1000), timestamp_ms=int(time.time() * 1000))])
    kind = ProduceRequest.Topic
    partition = kind.Partition(index=0, records=memoryview(batch))
    request = ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[kind(name=topic, partition_data=[partition])])
    count = int(RATE * SECONDS)
    began = asyncio.get_running_loop().time() + 0.1
    due = [began + number / RATE for number in range(count)]
    taken: list[float] = []

    async def send() -> None:
        for number, at in enumerate(due):
            await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))
            writer.writelines(encode_request(request, _PRODUCE_VERSION, number, "bench"))

    sending = asyncio.create_task(send())
    for at in due:
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        _, answer = decode_response(ProduceResponse, _PRODUCE_VERSION, memoryview(await reader.readexactly(size)))
        assert answer.responses[0].partition_responses[0].error_code == 0, answer
        taken.append(asyncio.get_running_loop().time() - at)
    await sending
    writer.close()
    return statistics.quantiles(taken[count // 10 :], n=100)[98] * 1000


def flood(port: int, seconds: float) -> int:
    """Connects at up to FLOOD_PER_S and leaves at once; returns how often."""
    began, made = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < seconds:
        if made > elapsed * FLOOD_PER_S:
            time.sleep(0.0005)
            continue
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leaves no TIME_WAIT
            one.connect(("127.0.0.1", port))
        made += 1
    return made


async def _leader(made: LocalCluster) -> int:
    async with Admin(made.state.bootstrap) as admin:
        await admin.create_topic(TOPIC, partitions=1, replication_factor=3, configs=measures.CONFIGS)
        return (await admin.describe_topic(TOPIC)).partitions[0].leader


def _flooded_p99_ms(port: int, flooded: int) -> tuple[float, float]:
    """Returns the p99 of produce to `port` while another process floods `flooded`, and its connects a second."""
    command = [sys.executable, "-m", "bench.connections", "--flood", str(flooded), str(SECONDS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as flooding:
        p99_ms = uvloop.run(produce_p99_ms(port, TOPIC))
        return p99_ms, int(flooding.communicate()[0]) / SECONDS


def idle_and_flood(count: int, rounds: int) -> None:
    alone: list[float] = []
    beside: list[float] = []
    elsewhere: list[tuple[float, float]] = []
    flooded: list[tuple[float, float]] = []
    with measures.cluster() as made, _bare_server() as (_, bare_port):
        node = made.state.node(uvloop.run(_leader(made)))
        assert node.process is not None
        port, pid = node.kafka_port, node.process.pid
        uvloop.run(produce_p99_ms(port, TOPIC))  # warms up
        with _idle(port, 50):
            before = _rss_kb(pid)
            with _idle(port, count):
                each = (_rss_kb(pid) - before) / count
        for _ in range(rounds):
            alone.append(uvloop.run(produce_p99_ms(port, TOPIC)))
            with _idle(port, count):
                beside.append(uvloop.run(produce_p99_ms(port, TOPIC)))
            elsewhere.append(_flooded_p99_ms(port, bare_port))
            flooded.append(_flooded_p99_ms(port, port))
        grown = (_rss_kb(pid) - before) / 1e3
    bare = bare_kb_each(count)
    print_table(
        ("IDLE CONNECTIONS", "KB EACH", "OF A BARE SERVER", "RATIO", "GROWN IN THE END, MB"),
        [(f"{count:,}", f"{each:.1f}", f"{bare:.1f}", f"{each / bare:.1f}", f"{grown:.1f}")],
    )
    base = statistics.median(alone)
    print_table(
        ("OTHERS' PRODUCE", "P99, MS", "RATIO", "SPREAD"),
        [
            (name, f"{statistics.median(found):.2f}", f"{statistics.median(found) / base:.2f}", _spread(found, alone))
            for name, found in (
                ("alone", alone),
                (f"beside {count:,} idle", beside),
                (f"beside {_per_s(elsewhere)} to the bare server", [p99 for p99, _ in elsewhere]),
                (f"beside {_per_s(flooded)} to its own port", [p99 for p99, _ in flooded]),
            )
        ],
    )


def _per_s(floods: Sequence[tuple[float, float]]) -> str:
    return f"{statistics.median(rate for _, rate in floods):,.0f} connects/s"


def _spread(found: Sequence[float], alone: Sequence[float]) -> str:
    ratios = [one / other for one, other in zip(found, alone, strict=True)]
    return f"{min(ratios):.2f}-{max(ratios):.2f}"


# first requests


def plainest(kind: type[Struct], version: int) -> dict[str, Any]:
    """Returns values for the fields that a message must have: nulls, zeros and empty lists."""
    return {field.name: _plainest(field, version) for field in fields_of(kind) if field.required}


def _plainest(field: Field, version: int) -> Any:
    if field.is_list:
        return None if field.can_be_null(version) else []
    if field.can_be_null(version):
        return None
    if not isinstance(field.wire, str):
        return field.wire(**plainest(field.wire, version))
    plain: dict[str, Any] = {"Bool": False, "String": "", "Uuid": bytes(16), "Bytes": b"", "Float64": 0.0}
    return plain.get(field.wire, 0)


def first_requests() -> None:
    with measures.cluster(nodes=1) as made:
        port = made.state.nodes[0].kafka_port
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(b"".join(encode_request(ApiVersionsRequest(), 0, 1, "bench")))
            _, served = decode_response(ApiVersionsResponse, 0, memoryview(_received(connection)))
            rows = []
            for one in served.api_keys:
                kind = api(one.api_key)[0]
                assert issubclass(kind, Request)
                version = one.max_version
                values = plainest(kind, version)
                if kind is ProduceRequest:
                    values["acks"] = -1  # 0 is not answered
                frame = b"".join(encode_request(kind(**values), version, 1, "bench"))
                taken = []
                for _ in range(2):
                    began = time.perf_counter()
                    connection.sendall(frame)
                    _received(connection)
                    taken.append((time.perf_counter() - began) * 1000)
                rows.append((kind.API.name, version, taken[0], taken[1]))
    rows.sort(key=lambda row: -row[2])
    print_table(
        ("API", "VERSION", "FIRST, MS", "SECOND, MS"),
        [(name, version, f"{first:.1f}", f"{second:.1f}") for name, version, first, second in rows],
    )


def declared() -> None:
    found: dict[str, list[tuple[float, float]]] = {"served": [], "all": []}
    for _ in range(5):
        for which, figures in found.items():
            command = [sys.executable, "-c", _DECLARED, which]
            cpu_ms, rss_mb = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            figures.append((float(cpu_ms), float(rss_mb)))
    rows = [(name, min(cpu for cpu, _ in of), min(rss for _, rss in of)) for name, of in found.items()]
    base = rows[0]
    print_table(
        ("DECLARED", "IMPORTS, MS OF CPU", "RATIO", "RSS, MB", "RATIO"),
        [(name, f"{cpu:.0f}", f"{cpu / base[1]:.3f}", f"{rss:.1f}", f"{rss / base[2]:.3f}") for name, cpu, rss in rows],
    )


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["--flood", port, seconds]:
            print(flood(int(port), float(seconds)))
        case _:
            wanted = [int(one) for one in arguments]
            idle_and_flood(*(*wanted, *(CONNECTIONS, ROUNDS)[len(wanted) :]))
            first_requests()
            declared()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
