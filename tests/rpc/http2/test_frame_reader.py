"""Frames are the same however the bytes come in, and nothing that comes in is more than an error."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dohle.rpc.http2 import frames
from dohle.rpc.http2.frame_reader import FrameReader
from dohle.rpc.http2.frames import PADDED, ConnectionFault, Kind
from dohle.rpc.http2.messages import BadMessage, MessageReader

LIMIT = 200_000


class Taken:
    """Puts together what frames say, as a stream does: each message, and where other frames came between."""

    def __init__(self) -> None:
        self.came: list[object] = []
        self._messages = MessageReader(LIMIT)

    def frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self.came.append((kind, flags, stream_id, payload))

    def data_begins(self, flags: int, stream_id: int, size: int) -> None:
        self.came.append(("data", flags, stream_id, size))

    def data(self, part: memoryview) -> None:
        self.came += [bytes(message) for message in self._messages.received(part)]

    def data_ends(self) -> None:
        self.came.append("end")

    def room(self, most_bytes: int) -> memoryview:
        return self._messages.room(most_bytes)

    def filled(self, count: int) -> None:
        message = self._messages.filled(count)
        if message is not None:
            self.came.append(bytes(message))


def read(data: bytes, cuts: list[int], scratch_bytes: int = 128 << 10) -> list[object]:
    """Returns what a reader takes that is given `data` in pieces of at most `cuts` bytes, in turn."""
    taken = Taken()
    reader = FrameReader(taken, memoryview(bytearray(scratch_bytes)))
    at = turn = 0
    while at < len(data):
        room = reader.buffer()
        piece = data[at : at + min(len(room), cuts[turn % len(cuts)])]
        room[: len(piece)] = piece
        reader.received(len(piece))
        at += len(piece)
        turn += 1
    return taken.came


def data_frames(message: bytes, sizes: list[int], padding: int) -> bytes:
    """Returns a message cut into DATA frames of those sizes, in turn."""
    rest, out, turn = b"\0" + len(message).to_bytes(4, "big") + message, [], 0
    while rest:
        part, rest = rest[: sizes[turn % len(sizes)]], rest[sizes[turn % len(sizes)] :]
        if padding:
            payload = bytes([padding]) + part + bytes(padding)
            out.append(frames.head(len(payload), Kind.DATA, PADDED, 1) + payload)
        else:
            out.append(frames.head(len(part), Kind.DATA, 0, 1) + part)
        turn += 1
    return b"".join(out)


messages = st.builds(
    lambda seed, size: (seed * (size // len(seed) + 1))[:size],
    st.binary(min_size=1, max_size=40),
    st.one_of(st.integers(0, 300), st.integers(16_000, 120_000)),
)
pieces = st.lists(st.one_of(st.integers(1, 40), st.integers(1000, 150_000)), min_size=1, max_size=6)


@settings(deadline=None)
@given(
    st.lists(st.tuples(messages, pieces, st.integers(0, 255)), min_size=1, max_size=4),
    pieces,
    st.sampled_from([64, 1000, 128 << 10]),
)
def test_frames_and_messages_are_the_same_however_the_bytes_come_in(
    sent: list[tuple[bytes, list[int], int]], cuts: list[int], scratch_bytes: int
) -> None:
    data = b""
    for message, sizes, padding in sent:
        data += frames.ping(b"12345678") + data_frames(message, sizes, padding) + frames.window_update(1, 5)
    whole = read(data, [1 << 20])
    assert [one for one in whole if isinstance(one, bytes)] == [message for message, _, _ in sent]
    assert read(data, cuts, scratch_bytes) == whole


@settings(deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_whatever_comes_in_is_frames_or_a_fault(data: bytes, cuts: list[int]) -> None:
    try:
        read(data, cuts)
    except (ConnectionFault, BadMessage):
        pass


def test_a_message_that_is_announced_takes_no_more_memory_than_the_frame_that_came() -> None:
    reader = MessageReader(1 << 30)
    assert reader.received(memoryview(b"\0\x3f\xff\xff\xff")) == []
    assert len(reader.room(20_000)) == 20_000
