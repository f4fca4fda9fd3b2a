"""How an rpc ended, as gRPC says it: a status, details, and what else stands in the trailers."""

from __future__ import annotations

import enum
import urllib.parse
from dataclasses import dataclass
from typing import Final

from dohle.rpc.http2.header_blocks import Headers

_LEFT_ALONE: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


class Status(enum.IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_STATUSES: Final = {str(int(status)).encode(): status for status in Status}


@dataclass(frozen=True, slots=True)
class End:
    """What an rpc ended with. `trailers` are those beside status and details."""

    status: Status
    details: str = ""
    trailers: tuple[tuple[str, str], ...] = ()

    def headers(self) -> Headers:
        """Returns it as trailers."""
        pairs = [(b"grpc-status", str(int(self.status)).encode())]
        if self.details:
            pairs.append((b"grpc-message", urllib.parse.quote(self.details, safe=_LEFT_ALONE).encode()))
        pairs += [(name.encode(), value.encode()) for name, value in self.trailers]
        return tuple(pairs)


class Refused(Exception):
    """A handler of gRPC's own services ends an rpc by a status of gRPC's."""

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self.end = end


def end_in(headers: Headers) -> End | None:
    """Returns what trailers say; None if no status is among them."""
    status: Status | None = None
    details = ""
    others = []
    for name, value in headers:
        if name == b"grpc-status":
            status = _STATUSES.get(value, Status.UNKNOWN)
        elif name == b"grpc-message":
            details = urllib.parse.unquote(value.decode("ascii", errors="replace"), errors="replace")
        elif not name.startswith(b":"):
            others.append((name.decode("ascii", errors="replace"), value.decode("ascii", errors="replace")))
    return None if status is None else End(status, details, tuple(others))
