"""What a leader demands of a batch that a producer sent, with the error codes that Kafka answers.

The header is always checked. Records are walked only where a rule is about each of them: keys on a compacted topic, and
timestamps where a topic sets bounds of its own. Kafka walks every batch; here a batch whose records are garbage under a
right CRC-32C fails at its readers instead, on its own.

Sequence numbers are checked against a producer's earlier batches by the log, not here.
"""

from __future__ import annotations

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


def validate_produced_batch(buffer: Bytes, config: TopicConfig, now_ms: int) -> BatchHeader:
    """Returns the header of the one batch that `buffer` must be.

    Raises InvalidRecord, CorruptMessage, MessageTooLarge, RecordListTooLarge, InvalidTimestamp or
    UnsupportedCompressionType, as Kafka does.
    """
    header = _sound_batch(buffer, config)
    _check_header(header)
    _check_timestamps(header, config, now_ms)
    if config.is_compacted or config.bounds_timestamps:
        _check_records(buffer, config, now_ms)
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


def _check_timestamps(header: BatchHeader, config: TopicConfig, now_ms: int) -> None:
    if header.is_append_time:
        raise InvalidTimestamp("the batch claims append time, which only a leader gives")
    if not config.is_append_time:
        _check_timestamp(header.base_timestamp, config, now_ms)
        _check_timestamp(header.max_timestamp, config, now_ms)


def _check_timestamp(timestamp_ms: int, config: TopicConfig, now_ms: int) -> None:
    if timestamp_ms == NO_TIMESTAMP:
        return
    ahead_ms = timestamp_ms - now_ms
    if ahead_ms > config.message_timestamp_after_max_ms or -ahead_ms > config.message_timestamp_before_max_ms:
        raise InvalidTimestamp(
            f"timestamp {timestamp_ms} lies {abs(ahead_ms)} ms {'ahead of' if ahead_ms > 0 else 'behind'} the broker's"
            f" clock: the topic takes {config.message_timestamp_before_max_ms} ms behind"
            f" (message.timestamp.before.max.ms) to {config.message_timestamp_after_max_ms} ms ahead"
            " (message.timestamp.after.max.ms)"
        )


def _check_records(buffer: Bytes, config: TopicConfig, now_ms: int | None) -> None:
    """Without `now_ms` their times are not judged."""
    try:
        for record in decode_records(buffer):
            if config.is_compacted and record.key is None:
                raise InvalidRecord(f"record {record.offset} has no key: a compacted topic needs one in every record")
            if now_ms is not None and config.bounds_timestamps:
                _check_timestamp(record.timestamp_ms, config, now_ms)
    except CorruptMessage as error:
        raise InvalidRecord(f"the batch's records are not what its header says: {error}") from error
