"""Request headers: what HTTP/2 asks of them (RFC 9113, chapters 8.2 and 8.3), and what gRPC does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dohle.rpc.http2.header_blocks import Headers

_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
_NEEDED: Final = (b":method", b":scheme", b":path")
_OF_CONNECTIONS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MOST_DIGITS: Final = 8


class Malformed(Exception):
    """These are no headers of a request."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a request says in its headers. `content_length` and `timeout_s` are None where it does not say."""

    method: bytes
    path: str
    content_type: bytes
    content_length: int | None
    timeout_s: float | None
    others: dict[bytes, bytes]


def request_in(headers: Headers) -> Request:
    """Raises Malformed."""
    pseudo: dict[bytes, bytes] = {}
    others: dict[bytes, bytes] = {}
    for name, value in headers:
        if name[:1] == b":":
            if name not in _PSEUDO or name in pseudo or others:
                raise Malformed(f"{name!r} where it may not be")
            pseudo[name] = value
            continue
        if not name or name != name.lower():
            raise Malformed(f"a header called {name!r}")
        if name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
            raise Malformed(f"{name!r}, which HTTP/2 has not")
        others[name] = value
    if not all(pseudo.get(name) for name in _NEEDED):
        raise Malformed("no method, scheme or path")
    length = others.get(b"content-length")
    if length is not None and not length.isdigit():
        raise Malformed(f"a content-length of {length!r}")
    return Request(
        pseudo[b":method"],
        pseudo[b":path"].decode("ascii", errors="replace"),
        others.get(b"content-type", b""),
        None if length is None else int(length),
        _timeout_s(others.get(b"grpc-timeout")),
        others,
    )


def _timeout_s(value: bytes | None) -> float | None:
    if value is None:
        return None
    digits, unit = value[:-1], _UNITS.get(value[-1:])
    if unit is None or not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise Malformed(f"a grpc-timeout of {value!r}")
    return int(digits) * unit
