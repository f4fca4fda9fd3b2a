"""Committed offsets as bytes. They are nearly all that a coordinator writes and loads, hence by hand and not by codec:
in a third of the time. Old versions of values are read by the codec, and tests hold one against the other.
"""

from __future__ import annotations

import struct
from struct import Struct
from typing import Final

from dohle.groups.records import CommittedOffset, OffsetRecord
from dohle.kafka.codec import decode
from dohle.kafka.declaration import NO_UUID
from dohle.kafka.encoding import UNSIGNED
from dohle.kafka.messages.group_records import OffsetCommitValue
from dohle.kafka.source import MOST_STRING_BYTES
from dohle.model.errors import CorruptMessage
from dohle.model.ids import TopicId

KIND: Final = 1
LEGACY_KIND: Final = 0

_EXPIRING_VERSION: Final = 1
_NEWEST_VERSION: Final = 4
_KIND_AND_LENGTH: Final = Struct(">hh")
_INT16: Final = Struct(">h")
_INT32: Final = Struct(">i")
_INT64: Final = Struct(">q")
_OFFSET: Final = Struct(">hqi")  # version, offset, leader epoch
_EXPIRING: Final = Struct(">hqh")  # version, offset, the metadata's length
_TIMES: Final = Struct(">qq")
_TOPIC_ID: Final = b"\x01\x00\x10"  # one tag: 0, of 16 bytes
_NO_TAGS: Final = b"\x00"
_MOST_IN_A_BYTE: Final = 0x7F


def offset_bytes(record: OffsetRecord) -> tuple[bytes, bytes | None]:
    """Returns key and value. Raises ValueError for what they cannot say."""
    group, topic, value = record.group_id.encode(), record.topic.encode(), record.value
    try:
        key = b"".join(
            (
                _KIND_AND_LENGTH.pack(KIND, len(group)),
                group,
                _INT16.pack(len(topic)),
                topic,
                _INT32.pack(record.partition),
            )
        )
        return key, None if value is None else _value(value)
    except struct.error as error:
        raise ValueError(f"{record} has no form: {error}") from error


def _value(value: CommittedOffset) -> bytes:
    metadata = value.metadata.encode()
    if len(metadata) > MOST_STRING_BYTES:
        raise ValueError(f"an offset's metadata has {len(metadata)} bytes; a string has at most {MOST_STRING_BYTES}")
    if value.expire_ms != -1:
        head = _EXPIRING.pack(_EXPIRING_VERSION, value.offset, len(metadata))
        return b"".join((head, metadata, _TIMES.pack(value.commit_ms, value.expire_ms)))
    return b"".join(
        (
            _OFFSET.pack(_NEWEST_VERSION, value.offset, value.leader_epoch),
            UNSIGNED[len(metadata) + 1],
            metadata,
            _INT64.pack(value.commit_ms),
            _NO_TAGS if value.topic_id is None else _TOPIC_ID + value.topic_id,
        )
    )


def offset_record(key: bytes, value: bytes | None) -> OffsetRecord:
    """Returns the record. Raises CorruptMessage, MalformedMessage."""
    try:
        _, group_length = _KIND_AND_LENGTH.unpack_from(key)
        group_end = _KIND_AND_LENGTH.size + group_length
        group = key[_KIND_AND_LENGTH.size : group_end].decode()
        (topic_length,) = _INT16.unpack_from(key, group_end)
        if group_length < 0 or topic_length < 0:
            raise CorruptMessage("its group or topic has no name")
        topic_end = group_end + _INT16.size + topic_length
        topic = key[group_end + _INT16.size : topic_end].decode()
        (partition,) = _INT32.unpack_from(key, topic_end)
        return OffsetRecord(group, topic, partition, None if value is None else _committed(value))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise CorruptMessage(f"it is cut short, or a string is not UTF-8: {error}") from error


def _committed(value: bytes) -> CommittedOffset:
    (version,) = _INT16.unpack_from(value)
    if version == _NEWEST_VERSION and 0 < value[_OFFSET.size] <= _MOST_IN_A_BYTE:
        _, offset, leader_epoch = _OFFSET.unpack_from(value)
        metadata_end = _OFFSET.size + value[_OFFSET.size]
        tags_at = metadata_end + _INT64.size
        tags = value[tags_at:]
        if tags == _NO_TAGS or (len(tags) == 19 and tags[:3] == _TOPIC_ID):
            metadata = value[_OFFSET.size + 1 : metadata_end].decode()
            (commit_ms,) = _INT64.unpack_from(value, metadata_end)
            topic_id = None if tags == _NO_TAGS else TopicId(tags[3:])
            return CommittedOffset(offset, leader_epoch, metadata, commit_ms, -1, topic_id)
    if version not in OffsetCommitValue.API.versions:
        raise CorruptMessage(f"a value of version {version}; versions up to {_NEWEST_VERSION} are known")
    said, _ = decode(OffsetCommitValue, version, memoryview(value), _INT16.size)
    return CommittedOffset(
        said.offset,
        said.leader_epoch,
        said.metadata,
        said.commit_timestamp,
        said.expire_timestamp,
        None if said.topic_id == NO_UUID else TopicId(said.topic_id),
    )
