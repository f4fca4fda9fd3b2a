"""Frames: four bytes of length, a header, a message.

A request's header says its key, version, correlation id and client; a response's only the correlation id. From the
flexible versions on both end with tagged fields, except the response of ApiVersions: a client that asks for a version
which the broker does not know reads its answer all the same. The client's id stays a string with a 16-bit length.

Broker: `request_start`, then look for who serves that key and version, then `decode_request`; `encode_response`. Of
ApiVersions in an unknown version only the start can be read; it is answered in version 0.
Client: `encode_request`, `decode_response`. A frame is given without its four bytes, and comes back with them.
"""

from __future__ import annotations

from struct import Struct as Format
from typing import Final, NamedTuple, TypeVar

from dohle.kafka.codec import decode, encode
from dohle.kafka.declaration import Api, Buffer, Message, Request, Response
from dohle.kafka.decoding import decode_unsigned, skip_tags
from dohle.model.errors import MalformedMessage

_START: Final = Format(">hhi")
_SIZE: Final = Format(">i")
_CLIENT_ID: Final = Format(">h")
_API_VERSIONS: Final = 18
_MOST_HEADER_TAGS: Final = 1 << 10

Q = TypeVar("Q", bound=Request)
A = TypeVar("A", bound=Response)


class RequestStart(NamedTuple):
    """What every request begins with, whatever its version."""

    api_key: int
    api_version: int
    correlation_id: int


def request_start(frame: memoryview) -> RequestStart:
    """Returns how a request begins. Raises MalformedMessage for less than eight bytes."""
    if len(frame) < _START.size:
        raise MalformedMessage(f"a request of {len(frame)} bytes is too short for its header", position=len(frame))
    return RequestStart(*_START.unpack_from(frame))


def decode_request(kind: type[Q], version: int, frame: memoryview) -> tuple[str | None, Q]:
    """Returns the client's id and the request. Raises MalformedMessage."""
    client_id, position = _client_id(kind.API, version, frame)
    request, _ = decode(kind, version, frame, position)
    return client_id, request


def encode_response(response: Response, version: int, correlation_id: int) -> list[Buffer]:
    """Returns the frame of a response. Raises ValueError for what the version cannot say."""
    head = bytes(_SIZE.size) + _SIZE.pack(correlation_id)
    if _has_tags(response.API, version):
        head += b"\0"
    return _framed(response, version, head)


def encode_request(request: Request, version: int, correlation_id: int, client_id: str | None) -> list[Buffer]:
    """Returns the frame of a request. Raises ValueError for what the version cannot say."""
    start = _START.pack(request.API.key, version, correlation_id)
    name = (client_id or "").encode()
    length = _CLIENT_ID.pack(-1 if client_id is None else len(name))
    tags = b"\0" if request.API.is_flexible(version) else b""
    return _framed(request, version, bytes(_SIZE.size) + start + length + name + tags)


def decode_response(kind: type[A], version: int, frame: memoryview) -> tuple[int, A]:
    """Returns the correlation id and the response. Raises MalformedMessage."""
    if len(frame) < _SIZE.size:
        raise MalformedMessage(f"a response of {len(frame)} bytes is too short for its header", position=len(frame))
    (correlation_id,) = _SIZE.unpack_from(frame)
    position = _behind_tags(kind.API, version, frame, _SIZE.size) if _has_tags(kind.API, version) else _SIZE.size
    response, _ = decode(kind, version, frame, position)
    return correlation_id, response


def _has_tags(api: Api, version: int) -> bool:
    return api.key != _API_VERSIONS and api.is_flexible(version)


def _client_id(api: Api, version: int, frame: memoryview) -> tuple[str | None, int]:
    position = _START.size + _CLIENT_ID.size
    if len(frame) < position:
        raise _malformed(api, version, len(frame), "the header is cut short")
    (length,) = _CLIENT_ID.unpack_from(frame, _START.size)
    if length < -1 or length > len(frame) - position:
        raise _malformed(api, version, position, f"the client id has {length} bytes, of {len(frame) - position} left")
    client_id = None
    if length >= 0:
        try:
            client_id = frame[position : position + length].tobytes().decode()
        except UnicodeDecodeError:
            raise _malformed(api, version, position, "the client id is not UTF-8") from None
        position += length
    return client_id, _behind_tags(api, version, frame, position) if api.is_flexible(version) else position


def _behind_tags(api: Api, version: int, frame: memoryview, position: int) -> int:
    try:
        count, behind = decode_unsigned(frame, position)
        if count > _MOST_HEADER_TAGS:
            raise _malformed(api, version, position, f"the header has {count} tagged fields")
        return skip_tags(frame, behind, count)
    except IndexError:
        raise _malformed(api, version, position, "the tagged fields of the header are cut short") from None


def _malformed(api: Api, version: int, position: int, what: str) -> MalformedMessage:
    return MalformedMessage(
        f"{api.name} version {version}, byte {position}: {what}", api=api.name, version=version, position=position
    )


def _framed(message: Message, version: int, head: bytes) -> list[Buffer]:
    buffers = encode(message, version, head)
    first = buffers[0]
    assert isinstance(first, bytearray)
    _SIZE.pack_into(first, 0, sum(map(len, buffers)) - _SIZE.size)
    return buffers
