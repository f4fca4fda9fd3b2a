"""What stays of a log that is compacted, against a model of it: of each key the last record."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.model.batch import (
    CONTROL_BIT,
    DELETE_HORIZON_BIT,
    HEADER_BYTES,
    TRANSACTIONAL_BIT,
    BatchHeader,
    check_crc,
    read_header,
    split_batches,
    with_stamp,
)
from dohle.model.codecs import Codec
from dohle.model.records import Record, decode_records, encode_batch
from dohle.storage.compaction.batches import with_payload
from dohle.storage.compaction.cleaning import Cleaning, Terms
from dohle.storage.compaction.key_map import ENTRY_BYTES

DAY_MS = 86_400_000
NOW_MS = 10 * DAY_MS


@dataclass
class Pass:
    log: bytes
    learnt_end: int
    dropped: int


def compact(
    log: bytes,
    *,
    dirty_from: int = 0,
    now_ms: int = NOW_MS,
    keys: int = 1 << 20,
    producers: Mapping[int, int] | None = None,
    tombstones_go: bool = True,
    chunk_bytes: int = 1 << 20,
) -> Pass:
    """One pass over a log of one segment."""
    base = read_header(log).base_offset
    cleaning = Cleaning(Terms(now_ms, DAY_MS, keys * ENTRY_BYTES, tombstones_go, producers or {}))
    cleaning.begin_learning(dirty_from, base)
    position = learnt_end = 0
    while position < len(log):
        step = cleaning.learn(log[position : position + chunk_bytes])
        assert step.fault is None, step.fault
        position, learnt_end = position + step.consumed, step.learnt_end
        if step.is_full:
            break
        chunk_bytes = max(chunk_bytes, step.needed)
    cleaning.begin(base, 100)
    position, out, dropped = 0, b"", 0
    while position < len(log):
        step = cleaning.clean(log[position : position + chunk_bytes])
        assert step.fault is None, step.fault
        position, out, dropped = position + step.consumed, out + step.output, dropped + step.dropped
        chunk_bytes = max(chunk_bytes, step.needed)
    tail, _ = cleaning.finish()
    return Pass(out + tail, learnt_end, dropped)


def compact_all(log: bytes, **terms: object) -> bytes:
    """As many passes as the key map makes necessary."""
    dirty, end = read_header(log).base_offset, headers(log)[-1].next_offset
    while dirty < end:
        done = compact(log, dirty_from=dirty, **terms)  # type: ignore[arg-type]
        assert done.learnt_end > dirty, "a pass gets on"
        log, dirty = done.log, done.learnt_end
    return log


def headers(log: bytes) -> list[BatchHeader]:
    return [header for _, header in split_batches(log)]


def records(log: bytes) -> list[Record]:
    return [record for at, _ in split_batches(log) for record in decode_records(log, at)]


def last_values(log: bytes) -> dict[bytes | None, Record]:
    return {record.key: record for record in records(log)}


def is_chain(log: bytes) -> bool:
    """Whether each batch begins where the one before it ends, in an epoch that is no older, and is whole."""
    found = list(split_batches(log))
    return all(check_crc(log, at, header) for at, header in found) and all(
        a.next_offset == b.base_offset and a.partition_leader_epoch <= b.partition_leader_epoch
        for (_, a), (_, b) in pairwise(found)
    )


def write(batches: Iterable[Sequence[Record]], codec: Codec = Codec.NONE, epochs: Sequence[int] = ()) -> bytes:
    log, offset = b"", 0
    for number, rows in enumerate(batches):
        epoch = epochs[number] if epochs else 0
        log += encode_batch(rows, base_offset=offset, leader_epoch=epoch, codec=codec)
        offset += len(rows)
    return log


def record(key: str, value: str | None, at: int = 1000) -> Record:
    return Record(key.encode(), None if value is None else value.encode(), (), at)


rows = st.builds(
    Record,
    key=st.sampled_from([b"a", b"b", b"c", b"d" * 40, b"e" * 16]),
    value=st.one_of(st.none(), st.binary(max_size=200)),
    headers=st.sampled_from([(), (("h", b"1"),)]),
    timestamp_ms=st.integers(1, NOW_MS),
)
logs = st.lists(st.lists(rows, min_size=1, max_size=5), min_size=1, max_size=20)


@given(
    logs,
    st.sampled_from(list(Codec)),
    st.integers(1, 6),
    st.integers(62, 400),
    st.lists(st.integers(0, 2), min_size=20),
)
def test_a_compacted_log_reads_as_its_last_records(
    batches: list[list[Record]], codec: Codec, keys: int, chunk_bytes: int, epochs: list[int]
) -> None:
    log = write(batches, codec, sorted(epochs))
    compacted = compact_all(log, keys=keys, chunk_bytes=chunk_bytes)
    assert last_values(compacted) == last_values(log)  # tombstones too, which have their horizon before them
    assert records(compacted) == sorted(last_values(log).values(), key=lambda one: one.offset)
    assert is_chain(compacted)
    assert headers(compacted)[-1].next_offset == headers(log)[-1].next_offset
    epochs_of = [{h.partition_leader_epoch: h.base_offset for h in reversed(headers(one))} for one in (compacted, log)]
    assert epochs_of[0] == epochs_of[1], "epochs begin where they began"
    assert max(h.max_timestamp for h in headers(compacted)) >= max(one.timestamp_ms for one in records(compacted))


@given(logs, st.sampled_from(list(Codec)))
def test_compacting_twice_changes_nothing_more(batches: list[list[Record]], codec: Codec) -> None:
    once = compact_all(write(batches, codec))
    assert compact(once).log == once
    assert compact(once, dirty_from=headers(once)[-1].next_offset).log == once


@given(logs, st.integers(0, 100))
def test_what_lies_behind_the_known_keys_stays_as_it_is(batches: list[list[Record]], at: int) -> None:
    log = write(batches)
    done = compact(log, keys=1)
    behind = [record for record in records(log) if record.offset >= done.learnt_end]
    assert [record for record in records(done.log) if record.offset >= done.learnt_end] == behind
    assert last_values(done.log) == last_values(log)


def test_a_tombstone_goes_once_its_horizon_has_passed_and_not_before() -> None:
    log = write([[record("a", "1")], [record("a", None), record("b", "2")], [record("c", "3")]])
    cleaned = compact(log).log
    assert [one.value for one in records(cleaned)] == [None, b"2", b"3"]
    holder = headers(cleaned)[1]
    assert holder.attributes & DELETE_HORIZON_BIT
    assert holder.base_timestamp == NOW_MS + DAY_MS
    assert {one.timestamp_ms for one in records(cleaned)} == {1000}
    assert compact(cleaned, dirty_from=4, now_ms=NOW_MS + DAY_MS - 1).log == cleaned
    assert compact(cleaned, dirty_from=4, now_ms=NOW_MS + DAY_MS, tombstones_go=False).log == cleaned
    later = compact(cleaned, dirty_from=4, now_ms=NOW_MS + DAY_MS).log
    assert [one.value for one in records(later)] == [b"2", b"3"]
    assert is_chain(later)


def test_the_last_batch_of_a_known_producer_keeps_its_header() -> None:
    parts = [
        encode_batch([record("a", "1")], producer_id=7, producer_epoch=2, base_sequence=0, codec=Codec.ZSTD),
        encode_batch([record("a", "2")], producer_id=7, producer_epoch=2, base_sequence=1, codec=Codec.ZSTD),
        encode_batch([record("a", "3")], producer_id=8, producer_epoch=0, base_sequence=0),
        encode_batch([record("a", "4")]),
    ]
    log = _placed(parts)
    kept = headers(compact(log, producers={7: 1}).log)
    assert [(h.producer_id, h.base_offset, h.record_count) for h in kept] == [
        (-1, 0, 0),
        (7, 1, 0),
        (-1, 2, 0),
        (-1, 3, 1),
    ]
    assert (kept[1].producer_epoch, kept[1].last_sequence, kept[1].codec) == (2, 1, 0)
    unsure = headers(compact(log, producers={7: -1}).log)
    assert [h.producer_id for h in unsure] == [7, 7, -1, -1]
    assert len(headers(compact(compact(log, producers={7: 1}).log, dirty_from=4).log)) == 2, "a forgotten one goes"


def test_records_without_a_key_go_and_undecodable_ones_stay() -> None:
    garbage = with_payload(read_header(write([[record("a", "1")]])), b"\xff" * 20)
    log = _placed([garbage, write([[Record(None, b"x"), record("a", "2")]]), write([[record("b", "1")]])])
    done = compact(log)
    assert done.log.startswith(garbage)
    assert [one.value for one in records(done.log[len(garbage) :])] == [b"2", b"1"]


@pytest.mark.parametrize("spoilt", [17, 0, HEADER_BYTES + 3])
def test_damage_is_found_and_not_sealed(spoilt: int) -> None:
    log = bytearray(write([[record("a", "1")], [record("a", "2")]]))
    second = read_header(log).size_bytes
    log[second + spoilt] ^= 1
    cleaning = Cleaning(Terms(NOW_MS, DAY_MS, 1 << 20, True, {}))
    step = cleaning.learn(bytes(log))
    assert step.consumed == second
    assert step.fault is not None


def test_what_was_aborted_goes_and_what_is_open_stays() -> None:
    log = _placed(
        [
            write([[record("a", "old")]]),
            _transactional(5, [record("a", "aborted"), record("b", "aborted")]),
            _transactional(6, [record("c", "committed")]),
            _marker(5, commit=False),
            write([[record("c", "before its commit")]]),
            _marker(6, commit=True),
            _transactional(5, [record("a", "open")]),
            write([[record("d", "behind")]]),
        ]
    )
    done = compact(log)
    assert [one.value for one in records(done.log) if one.key is not None and len(one.key) == 1] == [
        b"old",
        b"before its commit",
        b"open",
        b"behind",
    ]
    assert done.learnt_end == 7, "where the open transaction begins"
    assert is_chain(done.log)


def test_a_marker_goes_after_its_data_and_its_horizon() -> None:
    log = _placed([_transactional(5, [record("a", "1")]), _marker(5, commit=True), write([[record("a", "2")]])])
    first = compact(log).log
    assert [h.is_control for h in headers(first)] == [False, True, False]
    second = compact(first, dirty_from=3).log
    assert headers(second)[1].base_timestamp == NOW_MS + DAY_MS
    assert compact(second, dirty_from=3, now_ms=NOW_MS + DAY_MS - 1).log == second
    third = compact(second, dirty_from=3, now_ms=NOW_MS + DAY_MS).log
    assert [h.is_control for h in headers(third)] == [False, False]


def _placed(parts: Sequence[bytes]) -> bytes:
    log, offset = b"", 0
    for part in parts:
        placed = with_stamp(part, offset, 0)
        offset = read_header(placed).next_offset
        log += placed
    return log


def _transactional(producer: int, rows: Sequence[Record]) -> bytes:
    batch = encode_batch(rows, producer_id=producer, producer_epoch=0, base_sequence=0)
    header = read_header(batch)
    return with_payload(header._replace(attributes=header.attributes | TRANSACTIONAL_BIT), batch[HEADER_BYTES:])


def _marker(producer: int, *, commit: bool) -> bytes:
    rows = [Record(struct.pack(">hh", 0, int(commit)), struct.pack(">hi", 0, 0), (), 1000)]
    batch = encode_batch(rows, producer_id=producer, producer_epoch=0)
    bits = TRANSACTIONAL_BIT | CONTROL_BIT
    return with_payload(read_header(batch)._replace(attributes=bits), batch[HEADER_BYTES:])
