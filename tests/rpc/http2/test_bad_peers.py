"""Peers that break HTTP/2's rules, or keep to them and mean no good, lose their connection, and nobody else does."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dohle.rpc import server_connection
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.rpc.http2 import connection as http2_connection
from dohle.rpc.http2 import frames
from dohle.rpc.http2.frames import END_HEADERS, END_STREAM, PREFACE, Code, Kind, Setting
from dohle.rpc.http2.header_blocks import encode
from dohle.rpc.methods import methods_of, service
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Lane, Server

BROKER = broker_pb2.DESCRIPTOR.services_by_name["Broker"]
METADATA = methods_of(BROKER)["Metadata"]
REQUEST = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/dohle.v1.Broker/Metadata"),
    (b":authority", b"here"),
    (b"content-type", b"application/grpc"),
)
EMPTY = b"\0\0\0\0\0"


class RawPeer:
    """A client that says what the test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def say(self, *parts: bytes) -> None:
        self._writer.writelines(parts)

    def request(self, stream_id: int, headers: Any = REQUEST, flags: int = END_HEADERS) -> None:
        block = encode(tuple(headers))
        self.say(frames.head(len(block), Kind.HEADERS, flags, stream_id), block)

    async def hear(self) -> tuple[int, int, int, bytes]:
        head = await self._reader.readexactly(frames.HEAD_BYTES)
        payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    async def hears(self, wanted: int) -> tuple[int, int, int, bytes]:
        async with asyncio.timeout(10):
            while (heard := await self.hear())[0] != wanted:
                pass
        return heard

    async def is_sent_away(self) -> Code:
        """Returns the code of the GOAWAY that ends the connection."""
        code = struct.unpack_from(">II", (await self.hears(Kind.GOAWAY))[3])[1]
        await self.is_dropped()
        return Code(code)

    async def is_dropped(self) -> None:
        """Returns when the connection has ended. What the far side said last is lost if it had not read everything."""
        async with asyncio.timeout(30):
            with contextlib.suppress(OSError):
                while await self._reader.read(1 << 16):
                    pass

    def leave(self) -> None:
        self._writer.transport.abort()


@pytest.fixture
async def peer(server: Server) -> AsyncIterator[RawPeer]:
    peer = RawPeer(*await asyncio.open_connection(*server.address))
    peer.say(PREFACE, frames.settings(()))
    yield peer
    peer.leave()


async def others_are_served(network: GrpcNetwork, server: Server) -> None:
    await network.call(server.address, METADATA, broker_pb2.MetadataRequest(), lane=Lane.CLIENT, timeout_s=10)


async def test_a_request_by_hand_is_answered(peer: RawPeer) -> None:
    peer.request(1)
    peer.say(frames.head(5, Kind.DATA, END_STREAM, 1), EMPTY)
    assert (await peer.hears(Kind.DATA))[3] == EMPTY
    assert (await peer.hears(Kind.HEADERS))[1] & END_STREAM


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (frames.head(7, Kind.PING, 0, 0) + b"1234567", Code.FRAME_SIZE_ERROR),
        (frames.head(8, Kind.PING, 0, 1) + b"12345678", Code.PROTOCOL_ERROR),
        (frames.window_update(0, 0), Code.PROTOCOL_ERROR),
        (frames.window_update(0, (1 << 31) - 1), Code.FLOW_CONTROL_ERROR),
        (frames.window_update(1, 1), Code.PROTOCOL_ERROR),
        (frames.rst_stream(1, 0), Code.PROTOCOL_ERROR),
        (frames.head(5, Kind.DATA, 0, 1) + EMPTY, Code.PROTOCOL_ERROR),
        (frames.head(1 << 23, Kind.DATA, 0, 1), Code.FRAME_SIZE_ERROR),
        (frames.head(1 << 15, Kind.HEADERS, 0, 1), Code.FRAME_SIZE_ERROR),
        (frames.settings(((Setting.MAX_FRAME_SIZE, 5),)), Code.PROTOCOL_ERROR),
        (frames.settings(((Setting.INITIAL_WINDOW_SIZE, 1 << 31),)), Code.FLOW_CONTROL_ERROR),
        (frames.head(2, Kind.PUSH_PROMISE, 0, 1) + b"12", Code.PROTOCOL_ERROR),
        (frames.head(0, Kind.CONTINUATION, END_HEADERS, 1), Code.PROTOCOL_ERROR),
        (frames.head(1, Kind.HEADERS, END_HEADERS, 1) + b"\xff", Code.COMPRESSION_ERROR),
        (frames.head(1, Kind.HEADERS, END_HEADERS, 2) + b"\x88", Code.PROTOCOL_ERROR),
        (frames.head(0, Kind.HEADERS, 0, 1) + frames.ping(b"12345678"), Code.PROTOCOL_ERROR),
    ],
    ids=str,
)
async def test_what_the_rules_forbid_ends_the_connection_with_their_code(
    network: GrpcNetwork, server: Server, peer: RawPeer, said: bytes, code: Code
) -> None:
    peer.say(said)
    assert await peer.is_sent_away() is code
    await others_are_served(network, server)


async def test_another_protocol_is_sent_away(network: GrpcNetwork, server: Server) -> None:
    for said in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\0\0\0\x20\0\x12\0\x03"):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(said)
        async with asyncio.timeout(10):
            with contextlib.suppress(OSError):
                while await reader.read(1 << 16):
                    pass
        writer.transport.abort()
    await others_are_served(network, server)


async def test_a_peer_that_says_nothing_is_dropped(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_connection, "PREFACE_S", 0.05)
    reader, writer = await asyncio.open_connection(*server.address)
    async with asyncio.timeout(10):
        with contextlib.suppress(OSError):
            while await reader.read(1 << 16):
                pass
    writer.transport.abort()


@pytest.mark.parametrize(
    "frame",
    [
        frames.ping(b"12345678"),
        frames.settings(()),
        frames.head(5, Kind.PRIORITY, 0, 9) + bytes(5),
        frames.head(0, 99, 0, 0),
    ],
    ids=["PING", "SETTINGS", "PRIORITY", "unknown"],
)
async def test_a_flood_of_frames_that_carry_nothing_ends_the_connection(
    network: GrpcNetwork, server: Server, frame: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_connection, "_IDLE_FRAMES", (100, 1.0))
    other = RawPeer(*await asyncio.open_connection(*server.address))
    other.say(PREFACE, frames.settings(()), frame * 1000)
    await other.is_dropped()
    other.leave()
    await others_are_served(network, server)


async def test_streams_that_are_reset_at_once_end_the_connection(
    network: GrpcNetwork, server: Server, handlers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_connection, "_IDLE_FRAMES", (100, 1.0))
    peer = RawPeer(*await asyncio.open_connection(*server.address))
    peer.say(PREFACE, frames.settings(()))
    for stream_id in range(1, 1000, 2):
        peer.request(stream_id)
        peer.say(frames.rst_stream(stream_id, Code.CANCEL))
    await peer.is_dropped()
    peer.leave()
    await others_are_served(network, server)
    assert handlers.bugs == []


async def test_handlers_whose_callers_are_gone_count(server: Server, peer: RawPeer, handlers: Any) -> None:
    running, all_run = 0, asyncio.Event()

    async def answer(_: Any) -> Any:
        nonlocal running
        running += 1
        if running == most:
            all_run.set()
        await asyncio.Event().wait()

    def call(stream_id: int) -> None:
        peer.request(stream_id)
        peer.say(frames.head(5, Kind.DATA, END_STREAM, stream_id), EMPTY)

    handlers.on_metadata = answer
    most = server_connection.MOST_STREAMS
    for stream_id in range(1, 2 * most, 2):
        call(stream_id)
    async with asyncio.timeout(30):
        await all_run.wait()
    for stream_id in range(1, 2 * most, 2):
        peer.say(frames.rst_stream(stream_id, Code.CANCEL))
    for stream_id in range(2 * most + 1, 2 * most + 21, 2):
        call(stream_id)
    refused = [await peer.hears(Kind.RST_STREAM) for _ in range(10)]
    assert {payload for *_, payload in refused} == {int(Code.REFUSED_STREAM).to_bytes(4, "big")}
    assert running <= most


async def test_a_header_block_without_end_ends_the_connection(peer: RawPeer) -> None:
    part = bytes(10_000)
    peer.say(frames.head(len(part), Kind.HEADERS, 0, 1), part)
    for _ in range(10):
        peer.say(frames.head(len(part), Kind.CONTINUATION, 0, 1), part)
    assert await peer.is_sent_away() is Code.ENHANCE_YOUR_CALM


async def test_headers_that_are_too_many_end_the_connection(peer: RawPeer) -> None:
    peer.request(1, (*REQUEST, *((b"x%d" % number, b"y" * 100) for number in range(120))))
    assert await peer.is_sent_away() is Code.ENHANCE_YOUR_CALM


async def test_more_than_the_window_ends_the_stream(
    network: GrpcNetwork, server: Server, peer: RawPeer, handlers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(stream: Any, context: Any) -> None:
        await asyncio.Event().wait()

    handlers.on_fetch = fetch
    peer.request(1, (*REQUEST[:2], (b":path", b"/dohle.v1.Broker/Fetch"), *REQUEST[3:]))
    message = b"\0" + (1 << 20).to_bytes(4, "big") + bytes(1 << 20)
    for _ in range(6):
        peer.say(frames.head(len(message), Kind.DATA, 0, 1), message)
    stream_id, payload = (await peer.hears(Kind.RST_STREAM))[2:]
    assert (stream_id, payload) == (1, int(Code.FLOW_CONTROL_ERROR).to_bytes(4, "big"))
    await others_are_served(network, server)


async def test_a_peer_that_asks_and_reads_no_answers_is_dropped(network: GrpcNetwork, server: Server) -> None:
    """Its answers wait here: what is asked then is one too many."""
    (connection,) = await _connections_of(network, server)
    assert connection.is_open
    real = connection._transport

    class Full:
        """A transport that gets nothing out."""

        def get_write_buffer_size(self) -> int:
            return http2_connection._UNREAD_BYTES + 1

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    connection._transport = Full()
    connection.pause_writing()
    with pytest.raises(frames.ConnectionFault, match="does not read the answers"):
        connection.frame(Kind.PING, 0, 0, b"12345678")


async def _connections_of(network: GrpcNetwork, server: Server) -> list[Any]:
    await others_are_served(network, server)
    return list(server._connections)  # type: ignore[attr-defined]


def _frames() -> st.SearchStrategy[bytes]:
    def made(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
        return frames.head(len(payload), kind, flags, stream_id) + payload

    payloads = st.one_of(st.binary(max_size=40), st.just(encode(REQUEST)), st.just(EMPTY))
    return st.builds(made, st.integers(0, 10), st.sampled_from([0, 1, 4, 5, 8, 32, 255]), st.integers(0, 7), payloads)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_frames(), max_size=12))
def test_no_frames_are_more_than_an_error_to_others(said: list[bytes]) -> None:
    from tests.rpc.conftest import ScriptedBroker

    async def run() -> None:
        handlers = ScriptedBroker()
        network = GrpcNetwork(client_id="a test", on_failure=handlers.bugs.append)
        from dohle.runtime.network import Address

        server = await network.serve(Address("127.0.0.1", 0), [service(BROKER, handlers)], listener="GRPC")
        problems: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: problems.append(what))
        reader, writer = await asyncio.open_connection(*server.address)
        writer.writelines([PREFACE, frames.settings(()), *said])
        writer.write_eof()
        async with asyncio.timeout(10):
            with contextlib.suppress(OSError):
                while await reader.read(1 << 16):
                    pass
        writer.transport.abort()
        await others_are_served(network, server)
        await server.stop(0)
        await network.close()
        assert (handlers.bugs, problems) == ([], [])

    asyncio.run(run())
