"""A connection to a port as a Kafka client makes it, and what listens there if that is no Kafka.

Keeps: every step has a time limit, and so has what is read. A step that fails raises StepFailed, which says what was
found in words for people.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
import struct
from collections.abc import Mapping
from typing import Final, TypeVar

from dohle.kafka.declaration import Request, Response
from dohle.kafka.framing import decode_response, encode_request
from dohle.kafka.messages.cluster import ApiVersionsRequest, ApiVersionsResponse
from dohle.model.errors import MalformedMessage
from dohle.runtime.network import Address

A = TypeVar("A", bound=Response)

CLIENT_ID: Final = "dohle-doctor"
_MOST_BYTES: Final = 256 << 20
_TCP: Final = 6
_RECOGNITION_S: Final = 2.0
_HTTP2: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # with empty SETTINGS
_HTTP1: Final = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_SETTINGS: Final = 4
_TLS_ALERT: Final = b"\x15\x03"


class StepFailed(Exception):
    """`kind` is what of it went wrong: name, refused, silent, unreachable, closed, http, grpc, tls, foreign, old."""

    def __init__(self, kind: str, found: str) -> None:
        super().__init__(found)
        self.kind = kind
        self.found = found


async def resolve(host: str, port: int, timeout_s: float) -> list[str]:
    """Returns the addresses of a host, in the order in which a client tries them. Raises StepFailed."""
    try:
        async with asyncio.timeout(timeout_s):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, proto=_TCP)
    except TimeoutError:
        raise StepFailed("name", f"no answer to what the address of {host} is within {timeout_s:g} s") from None
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StepFailed("name", f"{host} does not resolve here ({reason})") from error
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class KafkaProbe:
    """One connection. `host` is the address, of those that the name has, at which it was made."""

    def __init__(
        self, host: str, port: int, timeout_s: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.host = host
        self._port = port
        self._timeout_s = timeout_s
        self._reader, self._writer = reader, writer
        self._sent = 0
        self._versions: Mapping[int, range] = {}

    @classmethod
    async def connect(cls, hosts: list[str], port: int, timeout_s: float) -> tuple[KafkaProbe, list[str]]:
        """Returns a connection to the first address that takes one, and what the others did. Raises StepFailed."""
        failures: list[StepFailed] = []
        for host in hosts:
            try:
                async with asyncio.timeout(timeout_s):
                    reader, writer = await asyncio.open_connection(host, port)
            except (OSError, TimeoutError) as error:
                failures.append(_not_connected(Address(host, port), error, timeout_s))
            else:
                return cls(host, port, timeout_s, reader, writer), [one.found for one in failures]
        raise StepFailed(failures[-1].kind, "; ".join(one.found for one in failures))

    def close(self) -> None:
        self._writer.close()

    async def learn_versions(self) -> int:
        """Asks which requests are served, which comes before any other; returns how many. Raises StepFailed."""
        self._send(ApiVersionsRequest(), 0)
        head = b""
        try:
            async with asyncio.timeout(self._timeout_s):
                head = await self._reader.readexactly(8)
                (size,) = struct.unpack_from(">i", head)
                if not (4 <= size <= _MOST_BYTES and head[4:8] == struct.pack(">i", self._sent)):
                    raise MalformedMessage("no answer to what was asked")
                frame = head[4:] + await self._reader.readexactly(size - 4)
            _, answer = decode_response(ApiVersionsResponse, 0, memoryview(frame))
        except (OSError, asyncio.IncompleteReadError, TimeoutError, MalformedMessage) as error:
            if isinstance(error, asyncio.IncompleteReadError) and not head:
                head = error.partial
            raise await self._no_kafka(head, error) from error
        if answer.error_code or not answer.api_keys:
            raise StepFailed("old", f"ApiVersions is answered with error {answer.error_code}: a Kafka that is too old")
        self._versions = {one.api_key: range(one.min_version, one.max_version + 1) for one in answer.api_keys}
        return len(self._versions)

    def version(self, request: type[Request]) -> int | None:
        """Returns the newest version of this request that both sides know; None if there is none."""
        served = self._versions.get(request.API.key, range(0))
        both = [one for one in request.API.versions if one in served]
        return both[-1] if both else None

    async def ask(self, request: Request, kind: type[A]) -> A:
        """Returns the answer, in the newest version that both know. Raises StepFailed."""
        name = request.API.name
        version = self.version(type(request))
        if version is None:
            raise StepFailed("old", f"{name} is not served in any version that is known here")
        self._send(request, version)
        try:
            async with asyncio.timeout(self._timeout_s):
                (size,) = struct.unpack(">i", await self._reader.readexactly(4))
                if not 4 <= size <= _MOST_BYTES:
                    raise MalformedMessage(f"an answer of {size} bytes")
                frame = await self._reader.readexactly(size)
            return decode_response(kind, version, memoryview(frame))[1]
        except TimeoutError:
            raise StepFailed("silent", f"{name} is not answered within {self._timeout_s:g} s") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise StepFailed("closed", f"the connection is closed in answer to {name}") from error
        except MalformedMessage as error:
            raise StepFailed("foreign", f"the answer to {name} is malformed: {error.message}") from error

    def _send(self, request: Request, version: int) -> None:
        self._sent += 1
        self._writer.writelines(encode_request(request, version, self._sent, CLIENT_ID))

    async def _no_kafka(self, head: bytes, error: Exception) -> StepFailed:
        kind = _by_first_bytes(head) or await _recognised(self.host, self._port, min(self._timeout_s, _RECOGNITION_S))
        what = {"http": "HTTP", "grpc": "gRPC (HTTP/2)", "tls": "TLS"}
        if kind is not None:
            return StepFailed(kind, f"what listens there speaks {what[kind]}, not Kafka's protocol in clear text")
        if isinstance(error, TimeoutError):
            return StepFailed("silent", f"it takes the connection, and does not answer within {self._timeout_s:g} s")
        if head:
            return StepFailed("foreign", f"it answers {head[:8]!r}, which is not Kafka's protocol")
        return StepFailed("closed", "it closes the connection without an answer")


def _not_connected(address: Address, error: Exception, timeout_s: float) -> StepFailed:
    if isinstance(error, ConnectionRefusedError):
        return StepFailed("refused", f"nothing listens on {address}")
    if isinstance(error, TimeoutError) and not getattr(error, "errno", None):
        return StepFailed("silent", f"{address} does not answer within {timeout_s:g} s")
    number = getattr(error, "errno", None)
    reason = errno.errorcode.get(number, "") if number else ""
    return StepFailed("unreachable", f"{address} cannot be reached ({getattr(error, 'strerror', None) or reason})")


def _by_first_bytes(head: bytes) -> str | None:
    if head.startswith(b"HTTP"):
        return "http"
    if head.startswith(_TLS_ALERT):
        return "tls"
    return "grpc" if _is_settings(head) else None


def _is_settings(head: bytes) -> bool:
    """Whether these bytes begin HTTP/2 as a server does: a frame of SETTINGS, whose size is a multiple of six."""
    return len(head) >= 8 and head[3] == _SETTINGS and int.from_bytes(head[:3], "big") % 6 == 0 and head[0] == 0


async def _recognised(host: str, port: int, timeout_s: float) -> str | None:
    """Returns what a port answers to that does not answer to Kafka's protocol, by asking it; None if unknown."""
    if await _speaks_tls(host, port, timeout_s):
        return "tls"
    for said in (_HTTP2, _HTTP1):
        kind = _by_first_bytes(await _answer_to(said, host, port, timeout_s))
        if kind is not None:
            return kind
    return None


async def _speaks_tls(host: str, port: int, timeout_s: float) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # who it is does not matter here
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "") or error.reason == "UNSUPPORTED_PROTOCOL"  # it refuses, in TLS
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _answer_to(said: bytes, host: str, port: int, timeout_s: float) -> bytes:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(said)
                return await reader.read(64)
            finally:
                writer.close()
    return b""
