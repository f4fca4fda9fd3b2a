"""What a message between nodes costs: CPU time of both processes, user and system, a message.

    python -m bench.rpc [ROUNDS]

Two processes on loopback talk by a `GrpcNetwork`, over one stream of Replication.Follow: small messages one at a time,
each with its answer, and pushes of 256 KiB and of 1 MiB with an answer to each, four at a time. Beside it the same by
grpcio alone, with its own stubs, in turn.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from dohle.cluster.process import tune_heaps
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.rpc.methods import methods_of, service
from dohle.rpc.options import DEFAULT_MAX_MESSAGE_BYTES, message_limit
from dohle.rpc.v1 import replication_pb2
from dohle.runtime.network import Address, Lane

REPLICATION = replication_pb2.DESCRIPTOR.services_by_name["Replication"]
FOLLOW = methods_of(REPLICATION)["Follow"]
OPTIONS = [
    ("grpc.max_send_message_length", message_limit(DEFAULT_MAX_MESSAGE_BYTES)),
    ("grpc.max_receive_message_length", message_limit(DEFAULT_MAX_MESSAGE_BYTES)),
]
PARTS = (
    ("small, one at a time", 0, 1, 4000),
    ("256 KiB, four at a time", 256 << 10, 4, 1200),
    ("1 MiB, four at a time", 1 << 20, 4, 400),
)


class Leader:
    """Pushes as many bytes as the last acknowledgement asked for by its number."""

    async def follow(self, stream: Any, context: Any) -> None:
        payload = b""
        while (message := await stream.receive()) is not None:
            if message.received_push != len(payload):
                payload = os.urandom(message.received_push)
            answer = replication_pb2.LeaderMessage(push_number=message.durable_push)
            answer.pushes.add(topic_id=b"0123456789abcdef", batches=payload)
            await stream.send(answer)

    async def read_batches(self, request: Any, context: Any) -> Any:
        return replication_pb2.ReadBatchesResponse()


async def _serve_dohle() -> int:
    network = GrpcNetwork(client_id="bench")
    server = await network.serve(Address("127.0.0.1", 0), [service(REPLICATION, Leader())], listener="BENCH")
    _kept.append((network, server))
    return server.address.port


async def _serve_grpcio() -> int:
    import grpc.aio

    class Stream:
        def __init__(self, context: Any) -> None:
            self.send = context.write
            self._context = context

        async def receive(self) -> Any:
            message = await self._context.read()
            return None if message is grpc.aio.EOF else message

    async def follow(_: Any, context: Any) -> None:
        await Leader().follow(Stream(context), context)

    server = grpc.aio.server(options=OPTIONS)
    handler = grpc.stream_stream_rpc_method_handler(
        follow, request_deserializer=FOLLOW.request.FromString, response_serializer=FOLLOW.response.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(REPLICATION.full_name, {"Follow": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _kept.append(server)
    return port


_kept: list[Any] = []


async def _serve(system: str) -> None:
    print(await (_serve_dohle() if system == "dohle" else _serve_grpcio()), flush=True)
    await asyncio.Event().wait()


def _cpu_s(pid: int) -> float:
    """CPU time of a process of this machine, all its threads, as clock_getcpuclockid(3) names its clock."""
    return time.clock_gettime((~pid << 3) | 2)


Send = Callable[[Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]


async def _exchange(send: Send, receive: Receive, size: int, at_once: int, count: int) -> None:
    request = replication_pb2.FollowerMessage(received_push=size, durable_push=1)
    for _ in range(at_once):
        await send(request)
    for number in range(count):
        await receive()
        if number < count - at_once:
            await send(request)


async def _measure(send: Send, receive: Receive, pid: int) -> list[float]:
    costs = []
    for _, size, at_once, count in PARTS:
        await _exchange(send, receive, size, at_once, max(at_once, count // 10))
        before = _cpu_s(pid) + time.process_time()
        await _exchange(send, receive, size, at_once, count)
        costs.append((_cpu_s(pid) + time.process_time() - before) / count * 1e6)
    return costs


async def _measure_dohle(port: int, pid: int) -> list[float]:
    network = GrpcNetwork(client_id="bench")
    stream = network.stream(Address("127.0.0.1", port), FOLLOW, lane=Lane.REPLICATION)
    costs = await _measure(stream.send, stream.receive, pid)
    await network.close()
    return costs


async def _measure_grpcio(port: int, pid: int) -> list[float]:
    import grpc.aio

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", OPTIONS) as channel:
        call = channel.stream_stream(FOLLOW.path, FOLLOW.request.SerializeToString, FOLLOW.response.FromString)()
        costs = await _measure(call.write, call.read, pid)
        call.cancel()
    return costs


def _ask(client: str, server: str) -> list[float]:
    """Runs both processes anew, so that no library is loaded that the one in question does without."""
    serving = subprocess.Popen([sys.executable, "-m", "bench.rpc", "serve", server], stdout=subprocess.PIPE, text=True)
    try:
        assert serving.stdout is not None
        port = serving.stdout.readline().strip()
        asking = [sys.executable, "-m", "bench.rpc", "ask", client, port, str(serving.pid)]
        out = subprocess.run(asking, check=True, stdout=subprocess.PIPE, text=True).stdout
    finally:
        serving.send_signal(signal.SIGKILL)
        serving.wait()
    return [float(cost) for cost in out.split()]


def main(rounds: int) -> None:
    pairs = [("grpcio", "grpcio"), ("dohle", "dohle"), ("dohle", "grpcio"), ("grpcio", "dohle")]
    costs: dict[tuple[str, str], list[list[float]]] = {pair: [] for pair in pairs}
    for _ in range(rounds):
        for pair in pairs:
            costs[pair].append(_ask(*pair))
    for number, (name, *_) in enumerate(PARTS):
        print(f"{name}: µs of CPU a message and its answer, client and server together")
        for pair in pairs:
            taken = [row[number] for row in costs[pair]]
            ratio = statistics.median(costs["grpcio", "grpcio"][i][number] / taken[i] for i in range(rounds))
            print(f"  {pair[0]:7} to {pair[1]:7} {statistics.median(taken):8.0f} ({min(taken):.0f}-{max(taken):.0f})"
                  f"  grpcio takes {ratio:.2f} times as much")  # fmt: skip


if __name__ == "__main__":
    tune_heaps()  # as nodes do: else what is measured at 1 MiB is the kernel's giving out of pages
    match sys.argv[1:]:
        case ["serve", system]:
            uvloop.run(_serve(system))
        case ["ask", system, port, pid]:
            measure = _measure_dohle if system == "dohle" else _measure_grpcio
            print(*uvloop.run(measure(int(port), int(pid))))
        case arguments:
            main(int(arguments[0]) if arguments else 3)
