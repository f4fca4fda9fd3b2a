"""Bytes that are no message give one error that says where, in bounded time and memory, and never anything else."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dohle.kafka.codec import decode, encode
from dohle.kafka.declaration import Message, Struct, fields_of
from dohle.kafka.decoding import MOST_ELEMENTS
from dohle.kafka.framing import decode_request, decode_response, request_start
from dohle.kafka.messages import api
from dohle.kafka.messages.cluster import ApiVersionsRequest, MetadataRequest, MetadataResponse
from dohle.kafka.messages.fetch import FetchRequest
from dohle.kafka.messages.groups import OffsetDeleteRequest, SyncGroupRequest
from dohle.kafka.messages.produce import ProduceRequest
from dohle.model.errors import MalformedMessage
from tests.kafka.contents import MESSAGES, VERSIONS, messages, name_of

HUGE = (1 << 31) - 1
LIES = b"\x7f\xff\xff\xff", b"\xff\xff\xff\xfe", b"\xff\xff\xff\xff\x07", b"\x80" * 12, b"\xff" * 9


def unsigned(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def refuses(kind: type[Message], version: int, damaged: bytes, what: str) -> MalformedMessage:
    with pytest.raises(MalformedMessage, match=what) as caught:
        decode(kind, version, memoryview(damaged))
    error = caught.value
    assert (error.api, error.version) == (kind.API.name, version)
    assert 0 <= error.position <= len(damaged)
    assert f"{kind.__name__} version {version}, byte {error.position}:" in error.message
    return error


def refusal(attempt: Callable[[], object], frame: bytes) -> MalformedMessage | None:
    """Returns the error, if there is one: of its kind, and about a byte of the frame or its end."""
    try:
        attempt()
    except MalformedMessage as error:
        refused = error
    else:
        return None
    assert 0 <= refused.position <= len(frame)
    return refused


def decode_damaged(kind: type[Message], version: int, damaged: bytes) -> None:
    """Decodes what may still be a message; else there is the one error, which names what it should have been."""
    error = refusal(lambda: decode(kind, version, memoryview(damaged)), damaged)
    assert error is None or (error.api, error.version) == (kind.API.name, version)


@pytest.mark.parametrize(("kind", "version"), VERSIONS, ids=name_of)
@settings(max_examples=3)
@given(data=st.data())
def test_a_message_that_is_cut_anywhere_is_refused(kind: type[Message], version: int, data: st.DataObject) -> None:
    encoded = b"".join(encode(data.draw(messages(kind, version)), version))
    for end in range(len(encoded)):
        with pytest.raises(MalformedMessage):
            decode(kind, version, memoryview(encoded)[:end])


@pytest.mark.parametrize(("kind", "version"), VERSIONS, ids=name_of)
@settings(max_examples=3)
@given(data=st.data(), random=st.randoms(use_true_random=False))
def test_flipped_bytes_and_huge_lengths_do_no_harm(
    kind: type[Message], version: int, data: st.DataObject, random: st.random.Random
) -> None:
    encoded = b"".join(encode(data.draw(messages(kind, version)), version))
    for _ in range(20):
        damaged = bytearray(encoded)
        for _ in range(random.choice((1, 1, 3, 10))):
            if damaged:
                damaged[random.randrange(len(damaged))] = random.choice((random.randrange(256), 0, 0x7F, 0x80, 0xFF))
        decode_damaged(kind, version, bytes(damaged))
        at = random.randrange(len(encoded) + 1)
        lie = random.choice(
            (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xfe", b"\xff\xff\xff\xff\x07", b"\x80" * 12, b"\xff" * 9)
        )
        decode_damaged(kind, version, encoded[:at] + lie + encoded[at + random.choice((0, len(lie))) :])


@pytest.mark.parametrize(("kind", "version"), VERSIONS, ids=name_of)
@settings(max_examples=3)
@given(noise=st.binary(max_size=200))
@example(noise=b"")
@example(noise=b"\xff" * 100)
@example(noise=b"\x7f" * 100)
@example(noise=bytes(300))
def test_noise_does_no_harm(kind: type[Message], version: int, noise: bytes) -> None:
    decode_damaged(kind, version, noise)


@pytest.mark.parametrize(("kind", "version"), VERSIONS, ids=name_of)
def test_no_length_is_believed_before_the_bytes_are_there(kind: type[Message], version: int) -> None:
    """The same lie everywhere: whichever field it meets takes it for its length."""
    lies = [b"\x7f\xff\xff\xff" * 50, unsigned(HUGE) * 50, b"\x00\x00\x10\x00" * 50, b"\x01\x7f" * 100]
    for version_lies in lies:
        tracemalloc.start()
        decode_damaged(kind, version, version_lies)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 << 20, "more than the function itself, and a few hundred elements"


def test_an_array_cannot_have_more_elements_than_there_are_bytes() -> None:
    counted = HUGE.to_bytes(4, "big")
    error = refuses(MetadataRequest, 1, counted + bytes(100), "topics has 2147483647 elements, and 100 bytes are left")
    assert error.position == 4
    refuses(MetadataRequest, 12, unsigned(HUGE) + bytes(100), "topics has 2147483646 elements, and 100 bytes are left")


def test_an_array_of_numbers_is_held_against_their_size() -> None:
    one_topic = b"\0\1g" + b"\0\0\0\1" + b"\0\1t"
    refuses(OffsetDeleteRequest, 0, one_topic + b"\0\0\0\x1a" + bytes(100), "partitions has 26 elements")
    decode(OffsetDeleteRequest, 0, memoryview(one_topic + b"\0\0\0\x19" + bytes(100)))


def test_a_string_ends_within_the_frame() -> None:
    refuses(MetadataRequest, 1, b"\0\0\0\1" + b"\x7f\xff" + b"ab", "name has 32767 bytes, of which 2 are there")


def test_a_compact_string_is_as_long_as_any_other_may_be() -> None:
    too_long = unsigned(2) + bytes(16) + unsigned((1 << 15) + 1) + bytes(1 << 16)
    refuses(MetadataRequest, 12, too_long, "name is a string of 32768 bytes")


@pytest.mark.parametrize(("version", "length"), [(0, b"\xff\xff"), (1, b"\xff\xfe"), (1, b"\x80\x00")])
def test_what_is_not_nullable_is_not_null_and_only_one_length_is_null(version: int, length: bytes) -> None:
    refuses(MetadataRequest, version, b"\0\0\0\1" + length + b"ab", "name has the length -")


def test_a_string_is_utf_8() -> None:
    refuses(MetadataRequest, 1, b"\0\0\0\1" + b"\0\2" + b"\xff\xfe", "not UTF-8")


@pytest.mark.parametrize("varint", [b"\x80" * 5 + b"\1", b"\xff\xff\xff\xff\x0f", b"\xff" * 20, b"\xff\xff"])
def test_a_varint_has_at_most_31_bits(varint: bytes) -> None:
    refuses(MetadataRequest, 12, varint, "cut short")


def test_a_tagged_field_ends_where_it_says() -> None:
    fetch = FetchRequest(cluster_id="abc", max_wait_ms=1, min_bytes=1, topics=[])
    encoded = b"".join(encode(fetch, 12))
    assert encoded.endswith(b"\1\0\4\4abc")
    refuses(FetchRequest, 12, encoded[:-7] + b"\1\0\5\4abcd", "cluster_id should end at byte")
    refuses(FetchRequest, 12, encoded[:-7] + b"\1\0\x50\4abc", "tag 0 has 80 bytes, of which 4 are there")


def test_unknown_tagged_fields_are_passed_over() -> None:
    known = ApiVersionsRequest(client_software_name="a", client_software_version="1")
    encoded = b"".join(encode(known, 3))
    with_tags = encoded[:-1] + b"\2" + b"\x05\3abc" + unsigned(1 << 20) + b"\0"
    assert decode(ApiVersionsRequest, 3, memoryview(with_tags)) == (known, len(with_tags))
    refuses(ApiVersionsRequest, 3, encoded[:-1] + b"\1\5\4abc", "cut short")


@pytest.mark.parametrize(
    ("kind", "version", "flood"),
    [
        (MetadataRequest, 4, (MOST_ELEMENTS + 1).to_bytes(4, "big") + bytes(2 * MOST_ELEMENTS + 10)),
        (ApiVersionsRequest, 3, b"\1\1" + unsigned(MOST_ELEMENTS + 1) + bytes(2 * MOST_ELEMENTS + 10)),
        (MetadataResponse, 0, b"\0\0\0\0" + (MOST_ELEMENTS + 1).to_bytes(4, "big") + bytes(12 * MOST_ELEMENTS)),
    ],
)
def test_a_flood_of_small_elements_is_refused_before_they_are_made(
    kind: type[Message], version: int, flood: bytes
) -> None:
    decode_damaged(kind, version, b"")  # makes the decoder
    tracemalloc.start()
    refuses(kind, version, flood, f"more than {MOST_ELEMENTS} elements")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_elements_are_counted_over_the_whole_message() -> None:
    group = b"\0\1g" + bytes(4) + b"\0\1m"
    half = MOST_ELEMENTS // 2 + 1
    assignments = half.to_bytes(4, "big") + (b"\0\0" + bytes(4)) * half
    decode(SyncGroupRequest, 0, memoryview(group + assignments))
    topics = (2).to_bytes(4, "big") + (b"\0\0" + half.to_bytes(4, "big") + (bytes(4) + b"\xff" * 4) * half) * 2
    refuses(ProduceRequest, 3, b"\xff\xff\0\0" + bytes(4) + topics, f"more than {MOST_ELEMENTS} elements")


def depth(kind: type[Struct], outer: tuple[type[Struct], ...] = ()) -> int:
    assert kind not in outer, f"{kind.__qualname__} contains itself"
    inner = [field.wire for field in fields_of(kind) if not isinstance(field.wire, str)]
    return 1 + max((depth(struct, (*outer, kind)) for struct in inner), default=0)


def test_no_bytes_can_nest_deeper_than_the_declarations() -> None:
    """A decoder is one function with a loop in a loop for each level: nothing calls itself."""
    assert max(map(depth, MESSAGES)) == 5


@settings(max_examples=100)
@given(noise=st.binary(max_size=40), key=st.sampled_from([0, 3, 18, 36]))
@example(noise=b"", key=0)
@example(noise=bytes(9), key=0)
@example(noise=b"\0\0\0\3\0\0\0\1\x7f\xff", key=0)
@example(noise=b"\0\0\0\3\0\0\0\1\xff\xfe", key=0)
@example(noise=b"\0\0\0\3\0\0\0\1\0\1\xff", key=0)
@example(noise=b"\0\0\0\x09\0\0\0\1\xff\xff" + b"\xff\xff\xff\xff\x07", key=0)
def test_a_damaged_header_is_a_malformed_message_too(noise: bytes, key: int) -> None:
    request, response = api(key)
    frame = memoryview(noise)
    refusal(lambda: request_start(frame), noise)
    for version in request.API.versions:
        refusal(partial(decode_request, request, version, frame), noise)
        refusal(partial(decode_response, response, version, frame), noise)
