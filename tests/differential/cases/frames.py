"""What is no request: frames that are too long or too short, cut or garbled, and what nobody serves."""

from __future__ import annotations

import struct
from collections.abc import Callable

from dohle.kafka.framing import encode_request
from dohle.kafka.messages import API_KEYS, api
from dohle.kafka.messages.cluster import ApiVersionsRequest, MetadataRequest
from tests.differential.cases import Cases
from tests.differential.sides import Raw

CASES = Cases(18)


def frame(key: int, version: int, body: bytes = b"", *, client: bytes = b"\x00\x01x") -> bytes:
    """Returns a frame with the older header."""
    data = struct.pack(">hhi", key, version, 0x1000) + client + body
    return struct.pack(">i", len(data)) + data


def metadata() -> bytes:
    return b"".join(encode_request(MetadataRequest(topics=[]), 5, 0x1000, "x"))


def raw(data: bytes, *, ends: bool = False, answer: tuple[int, int] | None = None) -> Callable[[object], Raw]:
    return lambda _side: Raw(data, ends, answer)


FIRST = [0]
for version in (5, 99, 32_767):
    CASES.bad(f"ApiVersions {version}", raw(frame(18, version, b"\x00"), answer=(18, 0)), FIRST)
for version in (-1, -32_768):
    CASES.bad(f"ApiVersions {version}", raw(frame(18, version, b"\x00"), answer=(18, 0)), FIRST)
CASES.bad("ApiVersions 99 with a body", raw(frame(18, 99, b"\x00" * 40), answer=(18, 0)), FIRST)
for key in (93, 999, 32_767, -1, -32_768):
    CASES.bad(f"API key {key}", raw(frame(key, 0)), FIRST)
for key in API_KEYS:
    if key != 18:
        last = api(key)[0].API.versions[-1]
        CASES.bad(f"{api(key)[0].API.name} of a version to come", raw(frame(key, last + 9, b"\x00" * 40)), FIRST)
        CASES.bad(f"{api(key)[0].API.name} of a negative version", raw(frame(key, -1, b"\x00" * 40)), FIRST)
for version in (0, 1, 2):
    CASES.bad(f"Produce {version}", raw(frame(0, version, b"\xff\xff" + bytes(40))), FIRST)
for key, version in ((1, 3), (2, 0), (19, 1), (20, 0), (23, 1), (32, 0)):
    CASES.bad(f"{api(key)[0].API.name} {version}, which is gone", raw(frame(key, version, bytes(40))), FIRST)
for key in (4, 5, 6, 7, 56, 58):
    CASES.bad(f"what only brokers ask, {key}", raw(frame(key, 0, bytes(60))), FIRST)

CASES.bad("a frame of 0 bytes", raw(struct.pack(">i", 0)), FIRST)
for size in (-1, -(1 << 31)):
    CASES.bad(f"a frame of {size} bytes", raw(struct.pack(">i", size)), FIRST)
CASES.bad("a frame over the limit", raw(struct.pack(">i", (100 << 20) + 1) + bytes(100)), FIRST)
CASES.bad("a frame of 2 GiB", raw(struct.pack(">i", (1 << 31) - 1)), FIRST)
for size in (1, 4, 7):
    CASES.bad(f"a frame of {size} bytes, too short for a header", raw(struct.pack(">i", size) + bytes(size)), FIRST)
CASES.bad("half a length", raw(b"\x00\x00", ends=True), FIRST)
CASES.bad("half a frame", raw(metadata()[:-3], ends=True), FIRST)
CASES.bad("a request and half of another", raw(metadata() + metadata()[:9], ends=True, answer=(3, 5)), FIRST)
CASES.good("two requests at once", lambda _: [Raw(metadata(), answer=(3, 5)), Raw(metadata(), answer=(3, 5))], FIRST)
CASES.bad("HTTP", raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), FIRST)
CASES.bad("TLS", raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)), FIRST)
CASES.bad("gRPC", raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(20)), FIRST)
CASES.bad("a client id that is cut", raw(frame(3, 5, client=b"\x00\x09x")), FIRST)
CASES.good("a null client id", raw(frame(3, 5, struct.pack(">i?", 0, True), client=b"\xff\xff"), answer=(3, 5)), FIRST)
CASES.good(
    "an empty client id", raw(frame(3, 5, struct.pack(">i?", 0, True), client=b"\x00\x00"), answer=(3, 5)), FIRST
)
CASES.bad("a body that is missing", raw(frame(3, 5)), FIRST)
CASES.bad("a body that is cut", raw(frame(3, 5, struct.pack(">i", 1) + b"\x00\x05ab")), FIRST)
CASES.good("bytes behind a request", raw(frame(3, 5, struct.pack(">i?", 0, True) + b"more"), answer=(3, 5)), FIRST)
CASES.bad("an array of 2 G elements", raw(frame(3, 5, struct.pack(">i", (1 << 31) - 1))), FIRST)
CASES.bad("an array of -2 elements", raw(frame(19, 2, struct.pack(">i", -2) + bytes(20))), FIRST)
CASES.bad("a null array that must not be", raw(frame(19, 2, struct.pack(">i", -1) + bytes(20))), FIRST)
CASES.bad("a string of -2 bytes", raw(frame(3, 5, struct.pack(">ih", 1, -2) + b"\x00")), FIRST)
CASES.bad("a null string that must not be", raw(frame(3, 5, struct.pack(">ih", 1, -1) + b"\x00")), FIRST)
CASES.bad(
    "a string that is not UTF-8", raw(frame(3, 5, struct.pack(">ih", 1, 2) + b"\xff\xfe\x00"), answer=(3, 5)), FIRST
)
CASES.bad("a varint without an end", raw(frame(3, 12, b"\x00" + b"\xff" * 20)), FIRST)
CASES.bad("a compact array of 2 G elements", raw(frame(3, 12, b"\x00" + b"\xff\xff\xff\xff\x07")), FIRST)
CASES.bad("tags without an end", raw(frame(3, 12, b"\xff\xff\xff\xff\x07" + bytes(9))), FIRST)
CASES.bad("garbage", raw(struct.pack(">i", 64) + bytes(range(64))), FIRST)
CASES.good(
    "an unknown tag",
    raw(frame(3, 12, b"\x00" + b"\x01" + b"\x01\x00" + b"\x01\x63\x02ab"), answer=(3, 12)),
    FIRST,
)
CASES.good("ApiVersions in every second frame", lambda _: [Raw(metadata(), answer=(3, 5)), ApiVersionsRequest()], FIRST)

ALL = (CASES,)
