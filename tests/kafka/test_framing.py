"""Frames: sizes, headers, and buffers that are not copied."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.protocol.consumer.fetch import FetchRequest as TheirFetchRequest
from kafka.protocol.metadata.api_versions import ApiVersionsResponse as TheirApiVersionsResponse

from dohle.kafka.codec import encode
from dohle.kafka.declaration import Buffer, Request
from dohle.kafka.framing import decode_request, decode_response, encode_request, encode_response, request_start
from dohle.kafka.messages import API_KEYS, api
from dohle.kafka.messages.cluster import ApiVersionsResponse, MetadataRequest, MetadataResponse
from dohle.kafka.messages.fetch import FetchRequest, FetchResponse
from dohle.kafka.messages.produce import ProduceRequest
from tests.kafka.contents import messages, name_of


def unframed(buffers: list[Buffer]) -> memoryview:
    frame = b"".join(buffers)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    return memoryview(frame)[4:]


@pytest.mark.parametrize("key", API_KEYS)
@settings(max_examples=4)
@given(data=st.data())
def test_a_request_and_its_answer_come_back_in_every_version(key: int, data: st.DataObject) -> None:
    ask, answer = api(key)
    for version in ask.API.versions:
        client_id = data.draw(st.none() | st.text(max_size=5))
        correlation_id = data.draw(st.integers(-(1 << 31), (1 << 31) - 1))
        request = data.draw(messages(ask, version))
        frame = unframed(encode_request(request, version, correlation_id, client_id))
        assert request_start(frame) == (key, version, correlation_id)
        assert decode_request(ask, version, frame) == (client_id, request)
        response = data.draw(messages(answer, version))
        frame = unframed(encode_response(response, version, correlation_id))
        assert decode_response(answer, version, frame) == (correlation_id, response)


@pytest.mark.parametrize("version", [11, 12, 17])
def test_another_client_writes_the_header_that_is_read(version: int) -> None:
    theirs = TheirFetchRequest(version=version, max_wait_ms=500, min_bytes=1, topics=[])
    theirs.with_header(correlation_id=77, client_id="someone")
    frame = unframed([bytes(theirs.encode(header=True, framed=True))])
    assert request_start(frame) == (1, version, 77)
    client_id, request = decode_request(FetchRequest, version, frame)
    assert client_id == "someone"
    assert (request.max_wait_ms, request.min_bytes, request.topics) == (500, 1, [])


@pytest.mark.parametrize("version", ApiVersionsResponse.API.versions)
def test_the_answer_of_api_versions_has_the_oldest_header_in_every_version(version: int) -> None:
    served = ApiVersionsResponse.ApiVersion(api_key=18, min_version=0, max_version=4)
    answer = ApiVersionsResponse(error_code=0, api_keys=[served])
    frame = unframed(encode_response(answer, version, 7))
    assert bytes(frame) == b"\0\0\0\7" + b"".join(encode(answer, version))
    theirs = TheirApiVersionsResponse.decode(bytes(frame), version=version, header=True)
    assert theirs._header.correlation_id == 7
    assert theirs.api_keys[0].max_version == 4


def test_tagged_fields_of_a_header_are_passed_over() -> None:
    frame = bytes(unframed(encode_request(MetadataRequest(topics=None), 12, 1, "me")))
    header = len(b"\0\0\0\0\0\0\0\0\0\2me")
    assert frame[header] == 0
    tagged = memoryview(frame[:header] + b"\2\0\3abc\7\0" + frame[header + 1 :])
    assert decode_request(MetadataRequest, 12, tagged) == ("me", MetadataRequest(topics=None))


def test_what_follows_a_message_is_passed_over_as_kafka_does() -> None:
    frame = bytes(unframed(encode_request(MetadataRequest(topics=[]), 1, 1, None))) + b"more"
    assert decode_request(MetadataRequest, 1, memoryview(frame)) == (None, MetadataRequest(topics=[]))


@pytest.mark.parametrize("version", ProduceRequest.API.versions)
def test_records_that_come_are_views_into_the_frame(version: int) -> None:
    partition = ProduceRequest.Topic.Partition(index=0, records=memoryview(b"some records"))
    topic = ProduceRequest.Topic(name="t" * (version < 13), partition_data=[partition])
    sent = ProduceRequest(acks=-1, timeout_ms=1, topic_data=[topic])
    frame = bytearray(unframed(encode_request(sent, version, 1, None)))
    _, request = decode_request(ProduceRequest, version, memoryview(frame))
    records = request.topic_data[0].partition_data[0].records
    assert records == b"some records"
    at = frame.index(b"some")
    frame[at : at + 4] = b"SOME"
    assert records == b"SOME records"


@pytest.mark.parametrize("version", FetchResponse.API.versions)
def test_records_that_go_are_the_buffers_that_were_given(version: int) -> None:
    pieces: list[Buffer] = [memoryview(b"first "), b"second ", bytearray(b"third")]

    def partition(index: int, records: list[Buffer] | None) -> FetchResponse.Topic.Partition:
        return FetchResponse.Topic.Partition(
            partition_index=index, error_code=0, high_watermark=9, aborted_transactions=None, records=records
        )

    topic = FetchResponse.Topic(
        topic="t" * (version < 13),
        partitions=[partition(0, pieces), partition(1, []), partition(2, None), partition(3, pieces[:1])],
    )
    buffers = encode_response(FetchResponse(responses=[topic]), version, 3)
    assert all(buffers[1 + number] is piece for number, piece in enumerate(pieces))
    assert buffers[5] is pieces[0]
    assert len(buffers) == (7 if version >= 12 else 6), "and tagged fields behind the last ones"
    _, read = decode_response(FetchResponse, version, unframed(buffers))
    got = [partition.records for partition in read.responses[0].partitions]
    assert [None if records is None else b"".join(records) for records in got] == [
        b"first second third",
        b"",
        None,
        b"first ",
    ]


def test_a_response_without_records_is_one_buffer() -> None:
    answer = MetadataResponse(brokers=[], topics=[])
    assert len(encode_response(answer, 12, 1)) == 1


@pytest.mark.parametrize(
    ("request_", "version", "what"),
    [
        (MetadataRequest(topics=None), 0, "MetadataRequest version 0 cannot say this"),
        (FetchRequest(max_wait_ms=1 << 31, min_bytes=0, topics=[]), 12, "FetchRequest version 12 cannot say this"),
        (FetchRequest(max_wait_ms=1, min_bytes=0, topics=[], rack_id="x" * 32768), 12, "rack_id has 32768 bytes"),
        (FetchRequest(max_wait_ms=1, min_bytes=0, topics=[], rack_id="x" * 32768), 11, "rack_id has 32768 bytes"),
        (MetadataRequest(topics=[MetadataRequest.Topic(name=None, topic_id=b"short")]), 12, "topic_id is a UUID"),
        (MetadataRequest(topics=None), 14, "MetadataRequest has the versions 0 to 13, not 14"),
    ],
    ids=name_of,
)
def test_what_a_version_cannot_say_is_our_own_error(request_: Request, version: int, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        encode_request(request_, version, 1, None)
