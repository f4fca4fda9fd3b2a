"""HTTP: the small server behind /metrics, /healthz and /readyz.

Keeps: at most a few connections, each with one small request, answered within seconds and then closed; pages are made
at once, so that no connection needs a task. Leaves out what a scrape or a probe has no need of: bodies of requests,
keep-alive, TLS, paths with parameters.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from dohle.model.errors import ConfigurationError
from dohle.runtime.network import Address

_MOST_CONNECTIONS = 32
_MOST_REQUEST_BYTES = 16 << 10
_PATIENCE_S = 5.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    body: bytes
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"


class HttpServer:
    """Serves `pages`, by path, to GET and HEAD."""

    def __init__(self, pages: Mapping[str, Callable[[], Page]]) -> None:
        self._pages = pages
        self._connections: dict[_Connection, None] = {}
        self._server: asyncio.Server | None = None

    async def start(self, address: Address) -> Address:
        """Listens, and returns where. Raises ConfigurationError if the port is in use."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: _Connection(self._pages, self._connections), address.host, address.port, reuse_port=False
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigurationError(
                    f"http_port {address.port} is in use on {address.host}: stop what listens there, or set http_port"
                ) from error
            raise ConfigurationError(
                f"cannot listen on {address} for HTTP: {error.strerror}; set host and http_port"
            ) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        return Address(host, port)

    async def stop(self) -> None:
        """Takes no more connections, and drops those there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.drop()


class _Connection(asyncio.Protocol):
    def __init__(self, pages: Mapping[str, Callable[[], Page]], connections: dict[_Connection, None]) -> None:
        self._pages = pages
        self._connections = connections
        self._request = bytearray()
        self._transport: asyncio.Transport | None = None
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, but do all that these do
        self._transport = cast("asyncio.Transport", transport)
        if len(self._connections) >= _MOST_CONNECTIONS:
            self._transport.abort()
            return
        self._connections[self] = None
        self._patience = asyncio.get_running_loop().call_later(_PATIENCE_S, self.drop)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.pop(self, None)
        if self._patience is not None:
            self._patience.cancel()

    def data_received(self, data: bytes) -> None:
        self._request += data
        if len(self._request) > _MOST_REQUEST_BYTES:
            self._answer(_failure(431), True)
        elif b"\r\n\r\n" in self._request:
            self._answer(*_page(bytes(self._request), self._pages))

    def eof_received(self) -> None:
        self._answer(_failure(400), True)

    def drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, page: Page, with_body: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_encode(page, with_body))
            self._transport.close()


def _page(request: bytes, pages: Mapping[str, Callable[[], Page]]) -> tuple[Page, bool]:
    """Returns what answers `request`, and whether its body is wanted."""
    line = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(line) != 3 or not line[2].startswith("HTTP/1."):
        return _failure(400), True
    method, target, _ = line
    if method not in ("GET", "HEAD"):
        return _failure(405), True
    page = pages.get(target.partition("?")[0])
    return (page() if page is not None else _failure(404)), method == "GET"


def _failure(status: int) -> Page:
    return Page(f"{_REASONS[status]}\n".encode(), status)


def _encode(page: Page, with_body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {page.status} {_REASONS[page.status]}\r\n"
        f"Content-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (page.body if with_body else b"")
