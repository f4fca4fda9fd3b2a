"""The HTTP server: pages, and requests that are not answered with one."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import uvloop

from dohle.cluster.http import HttpServer, Page
from dohle.model.errors import ConfigurationError
from dohle.runtime.network import Address


@contextlib.asynccontextmanager
async def _serving(pages):
    server = HttpServer(pages)
    address = await server.start(Address("127.0.0.1", 0))
    try:
        yield address
    finally:
        await server.stop()


async def _ask(address, request):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    if b"\r\n\r\n" not in request:
        writer.write_eof()
    try:
        answer = await reader.read()
    except ConnectionResetError:
        answer = b""
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), body


async def test_a_page_is_served_with_its_status_and_length():
    async with _serving({"/healthz": lambda: Page(b"fenced\n", 503)}) as address:
        head, body = await _ask(address, b"GET /healthz?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert head[0] == "HTTP/1.1 503 Service Unavailable"
        assert "Content-Length: 7" in head
        assert body == b"fenced\n"
        _, body = await _ask(address, b"HEAD /healthz HTTP/1.0\r\n\r\n")
        assert body == b""


def test_pages_are_served_on_uvloop_too():
    async def ask():
        async with _serving({"/": lambda: Page(b"here")}) as address:
            return await _ask(address, b"GET / HTTP/1.1\r\n\r\n")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(ask())[1] == b"here"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /nothing HTTP/1.1\r\n\r\n", "404"),
        (b"POST / HTTP/1.1\r\n\r\n", "405"),
        (b"nonsense\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\n", "400"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 16_500 + b"\r\n\r\n", "431"),
    ],
)
async def test_a_request_that_asks_for_no_page_gets_its_status(request_bytes, status):
    async with _serving({"/": lambda: Page(b"")}) as address:
        head, _ = await _ask(address, request_bytes)
        assert head[0].split()[1] == status


async def test_more_connections_than_are_served_are_dropped():
    async with _serving({"/": lambda: Page(b"here")}) as address:
        idle = [await asyncio.open_connection(*address) for _ in range(32)]
        head, _ = await _ask(address, b"GET / HTTP/1.1\r\n\r\n")
        assert head == [""]
        for _, writer in idle:
            writer.close()


async def test_a_port_in_use_is_refused_with_advice():
    async with _serving({}) as address:
        with pytest.raises(ConfigurationError, match=f"http_port {address.port} is in use.*set http_port"):
            await HttpServer({}).start(address)
