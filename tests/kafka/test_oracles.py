"""Other codecs of Kafka's protocol read what ours writes, field by field, and write the same bytes again.

kio knows every message; kafka-python those that its clients send. Each drawn message goes ours -> theirs -> ours.
"""

from __future__ import annotations

import datetime
import uuid
from io import BytesIO
from typing import Any

import kafka.protocol.admin
import kafka.protocol.consumer
import kafka.protocol.metadata
import kafka.protocol.producer
import kafka.protocol.sasl  # noqa: F401 - a module that is imported has its messages known
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.protocol.api_message import ApiMessage
from kio.index import load_payload_module
from kio.schema.errors import ErrorCode
from kio.serial import entity_reader, entity_writer
from kio.static.constants import EntityType

from dohle.kafka.codec import decode, encode
from dohle.kafka.declaration import NO_UUID, Field, Message, Request, Struct, fields_of
from dohle.kafka.messages.cluster import ApiVersionsResponse
from tests.kafka.contents import VERSIONS, messages, name_of

EXAMPLES = 3
KNOWN_ERRORS = st.sampled_from([code.value for code in ErrorCode])
MOST_TIME_MS = 1 << 40
NO_TIME = datetime.timedelta(0)
EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)


def same(field: Field, version: int, ours: Any, theirs: Any, *, element: bool = False) -> bool:
    """Whether two codecs mean the same by a field's value."""
    if field.is_list and not element:
        if ours is None or theirs is None:
            return ours is theirs is None
        return len(ours) == len(theirs) and all(
            same(field, version, one, other, element=True) for one, other in zip(ours, theirs, strict=True)
        )
    if not isinstance(field.wire, str):
        if ours is None:  # a tagged struct that is not there is one of defaults to kio
            return theirs is None or (field.tag is not None and same_struct(field.wire(), version, theirs))
        return same_struct(ours, version, theirs)
    match theirs:
        case ErrorCode():
            return bool(ours == theirs.value)
        case datetime.timedelta():
            return bool(datetime.timedelta(milliseconds=ours) == theirs)
        case datetime.datetime():
            return bool(datetime.timedelta(milliseconds=ours) == theirs - EPOCH)
        case uuid.UUID():
            return bool(ours == theirs.bytes)
        case set():  # of bits
            return bool(ours & 0xFFFFFFFF == sum(1 << bit for bit in theirs))
        case None if field.wire == "Uuid":
            return bool(ours == NO_UUID)
        case None if field.wire == "Int64":
            return bool(ours == -1)
        case None if field.name.endswith("authorized_operations"):
            return bool(ours == -(1 << 31))
        case _:
            if field.wire == "RecordPieces" and ours is not None:
                ours = b"".join(ours)
            return bool(ours == theirs)


def same_struct(ours: Struct, version: int, theirs: Any) -> bool:
    return all(
        same(field, version, getattr(ours, field.name), getattr(theirs, their_name(field, theirs)))
        for field in fields_of(type(ours))
        if field.is_in(version)
    )


def their_name(field: Field, theirs: object) -> str:
    """kio leaves units out of names, and kafka-python whose operations they are."""
    names = [field.name, field.name.removesuffix("_ms"), field.name.removeprefix("cluster_").removeprefix("topic_")]
    return next(name for name in names if hasattr(theirs, name))


def for_kio(field: Field) -> st.SearchStrategy[Any] | None:
    """kio has types of its own for errors and times, which hold less than the wire does."""
    if field.name.endswith("error_code"):
        return KNOWN_ERRORS
    if field.wire == "Int64" and ("time" in field.name or field.name.endswith("_ms")):
        return st.integers(0, MOST_TIME_MS)
    return None


@pytest.mark.parametrize(("kind", "version"), VERSIONS, ids=name_of)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_kio_reads_and_writes_the_same(kind: type[Message], version: int, data: st.DataObject) -> None:
    side = EntityType.request if issubclass(kind, Request) else EntityType.response
    theirs = getattr(load_payload_module(kind.API.key, version, side), kind.__name__)
    message = data.draw(messages(kind, version, for_kio))
    encoded = b"".join(encode(message, version))
    read, size = entity_reader(theirs)(encoded, 0)
    assert size == len(encoded)
    assert same_struct(message, version, read), read
    written = BytesIO()
    entity_writer(theirs)(written, read)
    assert written.getvalue() == encoded
    assert decode(kind, version, memoryview(written.getvalue())) == (message, len(encoded))


def for_kafka_python(field: Field) -> st.SearchStrategy[Any] | None:
    """kafka-python takes any answer of ApiVersions with an error for one of version 0."""
    return st.just(0) if field.name == "error_code" else None


def subclasses(kind: Any) -> dict[str, Any]:
    found = {}
    for child in type.__subclasses__(kind):
        if child._class_version is None:
            found[child.__name__] = child
    return found


KAFKA_PYTHON = subclasses(ApiMessage)
KAFKA_PYTHON_KNOWS = [
    (kind, version)
    for kind, version in VERSIONS
    if kind.__name__ in KAFKA_PYTHON and version <= KAFKA_PYTHON[kind.__name__].max_version
]


def test_kafka_python_knows_most() -> None:
    assert len(KAFKA_PYTHON_KNOWS) > len(VERSIONS) * 3 // 4


@pytest.mark.parametrize(("kind", "version"), KAFKA_PYTHON_KNOWS, ids=name_of)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_kafka_python_reads_and_writes_the_same(kind: type[Message], version: int, data: st.DataObject) -> None:
    theirs = KAFKA_PYTHON[kind.__name__]
    narrow = for_kafka_python if kind is ApiVersionsResponse else lambda _: None
    message = data.draw(messages(kind, version, narrow))
    encoded = b"".join(encode(message, version))
    read = theirs.decode(encoded, version=version)
    assert same_struct(message, version, read), read
    written = ApiMessage.encode(read)  # theirs, of some requests, change what is asked
    assert bytes(written) == encoded
    assert decode(kind, version, memoryview(bytes(written))) == (message, len(written))
