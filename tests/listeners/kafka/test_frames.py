"""Cutting a connection's bytes into frames, however they arrive."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.listeners.kafka.frames import FrameReader, looks_like
from dohle.model.errors import MalformedMessage

MOST = 1 << 20


def fed(reader: FrameReader, data: bytes, most: int) -> list[bytes]:
    """Gives the reader `data` as a socket would, at most `most` bytes a read."""
    frames: list[bytes] = []
    while data:
        room = reader.buffer()[:]
        count = min(len(room), len(data), most)
        room[:count] = data[:count]
        room.release()  # as a loop does, before anything else happens
        frames += [bytes(frame) for frame in reader.received(count)]
        data = data[count:]
    return frames


def framed(*bodies: bytes) -> bytes:
    return b"".join(struct.pack(">i", len(body)) + body for body in bodies)


@given(
    bodies=st.lists(st.binary(max_size=300) | st.integers(0, 5000).map(bytes), max_size=8),
    scratch=st.integers(5, 600),
    most=st.integers(1, 700),
)
def test_frames_are_the_same_however_their_bytes_arrive(bodies: list[bytes], scratch: int, most: int) -> None:
    reader = FrameReader(memoryview(bytearray(scratch)), MOST)
    assert fed(reader, framed(*bodies), most) == bodies
    assert reader.expected_bytes == 0


@given(data=st.binary(max_size=2000), scratch=st.integers(5, 600), most=st.integers(1, 700))
def test_any_bytes_give_frames_or_one_clear_error(data: bytes, scratch: int, most: int) -> None:
    reader = FrameReader(memoryview(bytearray(scratch)), 200)
    with contextlib.suppress(MalformedMessage):
        whole = framed(*fed(reader, data, most))
        assert whole == data[: len(whole)]
        assert len(whole) == len(data) or len(data) - len(whole) < 204


def test_another_connection_may_use_the_shared_buffer_in_between() -> None:
    scratch = memoryview(bytearray(64))
    one, other = FrameReader(scratch, MOST), FrameReader(scratch, MOST)
    data = framed(b"a" * 50)
    assert fed(one, data[:3], 64) == []
    assert fed(other, framed(b"b" * 20), 64) == [b"b" * 20]
    assert fed(one, data[3:20], 64) == []
    assert fed(other, framed(b"c" * 20), 64) == [b"c" * 20]
    assert fed(one, data[20:], 64) == [b"a" * 50]


def test_a_length_alone_costs_no_memory() -> None:
    reader = FrameReader(memoryview(bytearray(1024)), 100 << 20)
    assert fed(reader, struct.pack(">i", 100 << 20), 1024) == []
    assert reader.expected_bytes == 100 << 20
    assert len(reader.buffer()) <= 64 << 10


@pytest.mark.parametrize("size", [-1, MOST + 1, -(1 << 31)])
def test_a_length_out_of_bounds_is_refused(size: int) -> None:
    with pytest.raises(MalformedMessage, match="socket_request_max_bytes"):
        fed(FrameReader(memoryview(bytearray(64)), MOST), struct.pack(">i", size), 64)


@pytest.mark.parametrize(
    ("first", "named"),
    [
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\n", "gRPC"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "TLS"),
        (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", "PROXY"),
        (b"\r\n\r\n\x00\r\nQUIT\n", "PROXY"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-"),
    ],
)
def test_another_protocol_is_told_by_its_name(first: bytes, named: str) -> None:
    with pytest.raises(MalformedMessage, match=named):
        fed(FrameReader(memoryview(bytearray(64)), (1 << 31) - 1), first, 64)


def test_a_request_of_kafka_looks_like_nothing_else() -> None:
    for size in (0, 40, 100 << 20, 0x1FFFFFFF):
        assert looks_like(struct.pack(">i", size)) is None
