"""What a leader demands of a batch that a producer sent, with the error codes that Kafka answers.

The header is always checked. Records are walked only where a rule is about each of them: keys on a compacted topic, and
timestamps where a topic sets bounds of its own. Kafka walks every batch; here a batch whose records are garbage under a
right CRC-32C fails at its readers instead, on its own.

Sequence numbers are checked against a producer's earlier batches by the log, not here.
"""

from __future__ import annotations

from typing import Final

from dohle.model.batch import NO_TIMESTAMP, BatchHeader, Bytes, PartialBatch, check_crc, read_header
from dohle.model.codecs import Codec
from dohle.model.errors import (
    CorruptMessage,
    InvalidRecord,
    InvalidTimestamp,
    MessageTooLarge,
    OffsetOutOfRange,
    RecordListTooLarge,
)
from dohle.model.records import decode_records
from dohle.model.topic_config import TopicConfig

_MOST_TOLD: Final = 10_000
"""Of so many records an error says what is wrong with each; more would let a small batch be answered by a huge list."""


def validate_produced_batch(buffer: Bytes, config: TopicConfig, now_ms: int) -> BatchHeader:
    """Returns the header of the one batch that `buffer` must be.

    Raises InvalidRecord, CorruptMessage, MessageTooLarge, RecordListTooLarge, InvalidTimestamp or
    UnsupportedCompressionType, as Kafka does.
    """
    header = _sound_batch(buffer, config)
    _check_header(header)
    if header.is_append_time:
        raise InvalidTimestamp("the batch claims append time, which only a leader gives")
    times = None if config.is_append_time else _Times(config, now_ms)
    late = times and (times.refuse(header.base_timestamp) or times.refuse(header.max_timestamp))
    if late or config.is_compacted or config.bounds_timestamps:
        _check_records(buffer, config, times)
    if late:  # and no record is: the header is wrong
        raise InvalidTimestamp(late)
    return header


def validate_placed_batch(buffer: Bytes, config: TopicConfig, end_offset: int) -> BatchHeader:
    """Returns the header of the one batch that `buffer` must be, to be appended at its own offset (`model.placed`).

    It may have fewer records than offsets. Its times are those of another log, and are not judged. Raises
    OffsetOutOfRange unless it begins at `end_offset`, where the log ends, and otherwise as `validate_produced_batch`.
    """
    header = _sound_batch(buffer, config)
    if not 0 <= header.record_count <= header.last_offset_delta + 1:
        raise InvalidRecord(
            f"the batch says {header.record_count} records, and its offsets end at {header.last_offset_delta}"
        )
    if header.is_control or header.is_transactional or header.is_idempotent:
        raise InvalidRecord("the batch is a producer's: one that keeps its offsets has none, and no transaction")
    Codec.numbered(header.codec)
    if config.is_append_time and header.record_count:
        raise InvalidTimestamp("the topic's message.timestamp.type would give the records other times than they have")
    if config.is_compacted:
        _check_records(buffer, config, None)
    if header.base_offset != end_offset:
        raise OffsetOutOfRange(f"the batch begins at offset {header.base_offset}, and the log ends at {end_offset}")
    return header


def _sound_batch(buffer: Bytes, config: TopicConfig) -> BatchHeader:
    header = _only_batch(buffer)
    if header.size_bytes > config.max_message_bytes:
        raise MessageTooLarge(
            f"a batch of {header.size_bytes} bytes: the topic's max.message.bytes is {config.max_message_bytes}"
        )
    if header.size_bytes > config.segment_bytes:
        raise RecordListTooLarge(
            f"a batch of {header.size_bytes} bytes: the topic's segment.bytes is {config.segment_bytes}"
        )
    if not check_crc(buffer, 0, header):
        raise CorruptMessage("the batch was damaged on its way: its CRC-32C does not match")
    return header


def _only_batch(buffer: Bytes) -> BatchHeader:
    _refuse_old_magic(buffer)
    try:
        header = read_header(buffer)
    except PartialBatch as error:
        raise InvalidRecord("no batch was sent: one for each partition is needed") from error
    if header.size_bytes > len(buffer):
        raise InvalidRecord(f"no whole batch was sent: {len(buffer)} bytes of {header.size_bytes}")
    if header.size_bytes < len(buffer):
        raise InvalidRecord("more than one batch was sent for a partition: send one in each request")
    return header


def _refuse_old_magic(buffer: Bytes) -> None:
    magic_at = 16  # the same in every version of the format
    if len(buffer) > magic_at and buffer[magic_at] in {0, 1}:
        raise InvalidRecord(f"the batch has magic {buffer[magic_at]}: only record batches of magic 2 are taken")


def _check_header(header: BatchHeader) -> None:
    if header.base_offset != 0:
        raise InvalidRecord(f"the batch begins at offset {header.base_offset}: a producer's begins at 0")
    if header.record_count <= 0 or header.record_count != header.last_offset_delta + 1:
        raise InvalidRecord(
            f"the batch says {header.record_count} records, and its offsets end at {header.last_offset_delta}"
        )
    if header.is_control:
        raise InvalidRecord("the batch is a control batch, which producers may not write")
    if header.is_transactional:
        raise InvalidRecord("the batch is part of a transaction: transactions are not supported")
    if header.is_idempotent and header.base_sequence < 0:
        raise InvalidRecord(
            f"the batch of producer {header.producer_id} has sequence {header.base_sequence}: 0 is the least"
        )
    Codec.numbered(header.codec)


class _Times:
    """Which times of records a topic takes at a moment of the broker's clock."""

    def __init__(self, config: TopicConfig, now_ms: int) -> None:
        self._before_max_ms = config.message_timestamp_before_max_ms
        self._after_max_ms = config.message_timestamp_after_max_ms
        self._now_ms = now_ms

    def refuse(self, timestamp_ms: int) -> str:
        """Returns what is wrong; nothing if it is taken."""
        ahead_ms = timestamp_ms - self._now_ms
        if timestamp_ms == NO_TIMESTAMP or -self._before_max_ms <= ahead_ms <= self._after_max_ms:
            return ""
        return (
            f"timestamp {timestamp_ms} lies {abs(ahead_ms)} ms {'ahead of' if ahead_ms > 0 else 'behind'} the broker's"
            f" clock: the topic takes {self._before_max_ms} ms behind (message.timestamp.before.max.ms) to"
            f" {self._after_max_ms} ms ahead (message.timestamp.after.max.ms)"
        )


def _check_records(buffer: Bytes, config: TopicConfig, times: _Times | None) -> None:
    """Raises what is wrong with records, and with which of them: the first `_MOST_TOLD`. Without `times` those of the
    records are not judged."""
    keyless: dict[int, str] = {}
    late: dict[int, str] = {}
    try:
        for place, record in enumerate(decode_records(buffer)):
            if config.is_compacted and record.key is None:
                keyless[place] = "the record has no key: a compacted topic needs one in every record"
            elif times is not None and (wrong := times.refuse(record.timestamp_ms)):
                late[place] = wrong
            if len(keyless) + len(late) == _MOST_TOLD:
                break
    except CorruptMessage as error:
        raise InvalidRecord(f"the batch's records are not what its header says: {error}") from error
    refused = keyless | late
    if refused:
        first = min(refused)
        kind = InvalidTimestamp if late else InvalidRecord
        raise kind(
            f"{len(refused)} of the batch's records are refused, record {first} first: {refused[first]}", refused
        )
