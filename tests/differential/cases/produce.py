"""Produce and InitProducerId."""

from __future__ import annotations

import time
from typing import Any

from dohle.kafka.messages.produce import InitProducerIdRequest, ProduceRequest
from dohle.model.codecs import Codec
from tests.differential.batches import batch, bomb, changed, old_message, record, with_body
from tests.differential.cases import Cases, all_versions
from tests.differential.sides import Side

NO_SUCH_ID = b"\x0b" * 16
HOUR_MS = 3_600_000


def produce(
    side: Side,
    topic: str | None,
    records: bytes | None,
    *,
    partition: int = 0,
    topic_id: bytes | None = None,
    **how: Any,
) -> ProduceRequest:
    """Returns a request for one partition; `topic` None: of one that is new."""
    if topic is None:
        topic = side.topic()
    if topic_id is None:
        topic_id = side.id_of(topic) if topic in side.topic_ids.values() else NO_SUCH_ID
    data = None if records is None else memoryview(records)
    partitions = [ProduceRequest.Topic.Partition(index=partition, records=data)]
    topics = [ProduceRequest.Topic(name=topic, topic_id=topic_id, partition_data=partitions)]
    return ProduceRequest(**{"acks": -1, "timeout_ms": 10_000, "topic_data": topics, **how})


def produced(side: Side, records: bytes, **configs: str) -> ProduceRequest:
    return produce(side, side.topic("p", **configs), records)


def two_partitions(side: Side, *indices: int) -> ProduceRequest:
    topic = side.topic(partitions=2)
    asked = produce(side, topic, batch())
    asked.topic_data[0].partition_data = [
        ProduceRequest.Topic.Partition(index=index, records=memoryview(batch())) for index in indices
    ]
    return asked


def now_ms() -> int:
    return time.time_ns() // 1_000_000


CASES = Cases(0)
good, bad = CASES.good, CASES.bad
by_id, by_name = all_versions(0, 13), [version for version in all_versions(0) if version < 13]
with_zstd = [7, 9, 13]

good("one record", lambda side: produce(side, None, batch()), all_versions(0))
good("many records", lambda side: produce(side, None, batch(b"a", b"b", b"c")))
good("an empty value", lambda side: produce(side, None, batch(b"")))
good("no key", lambda side: produce(side, None, batch(key=None)))
good("headers", lambda side: produce(side, None, batch(headers=(("h", b"1"), ("h", None)))))
good("acks 1", lambda side: produce(side, None, batch(), acks=1))
good("acks 0", lambda side: produce(side, None, batch(), acks=0))
good("no topics", lambda side: produce(side, None, batch(), topic_data=[]))
good("acks 0 and no topics", lambda side: produce(side, None, batch(), acks=0, topic_data=[]))
good("a time-out of 0", lambda side: produce(side, None, batch(), timeout_ms=0))
good("a negative time-out", lambda side: produce(side, None, batch(), timeout_ms=-1))
good("two partitions", lambda side: two_partitions(side, 0, 1))
bad("a base offset of its own", lambda side: produce(side, None, changed(batch(), base_offset=77)))
good("a leader epoch of its own", lambda side: produce(side, None, changed(batch(), partition_leader_epoch=9)))
good("a wrong largest time", lambda side: produce(side, None, changed(batch(), max_timestamp=5)))
good("no time", lambda side: produce(side, None, batch(when_ms=-1)))
good("a record of 1970", lambda side: produce(side, None, batch(when_ms=0)))
good("append time", lambda side: produced(side, batch(), message_timestamp_type="LogAppendTime"))
good("its own append time", lambda side: produced(side, changed(batch(), attributes=8)), [3, 13])
good("keys on a compacted topic", lambda side: produced(side, batch(), cleanup_policy="compact"))
good("compressed anew", lambda side: produced(side, batch(b"v" * 300), compression_type="gzip"), [9, 13])
for codec in (Codec.GZIP, Codec.SNAPPY, Codec.LZ4):
    good(
        f"{codec.name.lower()}", lambda side, codec=codec: produce(side, None, batch(b"v" * 99, b"w" * 99, codec=codec))
    )
good("zstd", lambda side: produce(side, None, batch(b"v" * 99, codec=Codec.ZSTD)), with_zstd)
good("a sequence from 0", lambda side: produce(side, None, batch(producer=(1000, 0, 0))))
good(
    "the next sequence",
    lambda side: produced_after(side, batch(b"a", b"b", producer=(1000, 0, 0)), batch(producer=(1000, 0, 2))),
)
good("a duplicate", lambda side: produced_after(side, batch(producer=(1000, 0, 0)), batch(producer=(1000, 0, 0))))
good("a newer epoch", lambda side: produced_after(side, batch(producer=(1000, 0, 0)), batch(producer=(1000, 1, 0))))


def produced_after(side: Side, *records: bytes) -> ProduceRequest:
    *before, last = records
    return produce(side, side.topic("p", batches=before), last)


bad("an unknown topic", lambda side: produce(side, side.fresh(), batch()), all_versions(0))
bad("no such partition", lambda side: produce(side, None, batch(), partition=7), all_versions(0))
bad("a negative partition", lambda side: produce(side, None, batch(), partition=-1))
bad("one partition of two", lambda side: two_partitions(side, 0, 9))
bad("an illegal name", lambda side: produce(side, "no/such:name", batch()), by_name)
bad("an empty name", lambda side: produce(side, "", batch()), by_name)
bad("no id", lambda side: produce(side, "x", batch(), topic_id=bytes(16)), by_id)
bad("acks 2", lambda side: produce(side, None, batch(), acks=2), all_versions(0))
bad("acks -2", lambda side: produce(side, None, batch(), acks=-2))
good("acks 2 and no topics", lambda side: produce(side, None, batch(), acks=2, topic_data=[]))
bad("acks 0 to an unknown topic", lambda side: produce(side, side.fresh(), batch(), acks=0))
bad("acks 0 with a wrong checksum", lambda side: produce(side, None, damaged(), acks=0))
bad("acks 0 without a batch", lambda side: produce(side, None, b"", acks=0))
bad("null records", lambda side: produce(side, None, None), [13])
bad("no batch", lambda side: produce(side, None, b""), all_versions(0))
bad("two batches", lambda side: produce(side, None, batch() + batch()), all_versions(0))
bad("half a batch", lambda side: produce(side, None, batch()[:40]))
bad("a batch cut at its end", lambda side: produce(side, None, batch()[:-1]))
good("a byte too many", lambda side: produce(side, None, batch() + b"x"))
bad("a checksum that is wrong", lambda side: produce(side, None, damaged()), all_versions(0))
bad("message format 0", lambda side: produce(side, None, old_message(0)))
bad("message format 1", lambda side: produce(side, None, old_message(1)))
bad("message format 3", lambda side: produce(side, None, changed(batch(), magic=3)))
bad("a negative format", lambda side: produce(side, None, changed(batch(), magic=-1)))
bad("a negative length", lambda side: produce(side, None, changed(batch(), batch_length=-1)))
bad("a length of 3", lambda side: produce(side, None, changed(batch(), batch_length=3)))
bad("a length of 2 GiB", lambda side: produce(side, None, changed(batch(), batch_length=(1 << 31) - 1)))
bad("a count that is too large", lambda side: produce(side, None, changed(batch(), record_count=2)))
bad("a count of 0", lambda side: produce(side, None, changed(batch(), record_count=0)))
bad("a negative count", lambda side: produce(side, None, changed(batch(), record_count=-1)))
bad("a last offset that is too large", lambda side: produce(side, None, changed(batch(), last_offset_delta=5)))
bad("a negative last offset", lambda side: produce(side, None, changed(batch(), last_offset_delta=-1)))
bad("a control batch", lambda side: produce(side, None, changed(batch(), attributes=0x20)))
bad(
    "a control batch of a transaction",
    lambda side: produce(side, None, changed(batch(producer=(1, 0, 0)), attributes=0x30)),
)
bad(
    "a batch of no transaction in particular",
    lambda side: produce(side, None, changed(batch(producer=(1, 0, 0)), attributes=0x10)),
)
bad("a transaction without a producer", lambda side: produce(side, None, changed(batch(), attributes=0x10)))
bad("a negative sequence", lambda side: produce(side, None, batch(producer=(1000, 0, -1))))
bad("a sequence of -2", lambda side: produce(side, None, batch(producer=(1000, 0, -2))))
good("a negative epoch", lambda side: produce(side, None, batch(producer=(1000, -1, 0))), [3, 13])
bad(
    "a sequence out of order",
    lambda side: produced_after(side, batch(producer=(1000, 0, 0)), batch(producer=(1000, 0, 5))),
    all_versions(0),
)
bad("an older epoch", lambda side: produced_after(side, batch(producer=(1000, 3, 0)), batch(producer=(1000, 2, 1))))
bad(
    "a newer epoch in the middle",
    lambda side: produced_after(side, batch(producer=(1000, 0, 0)), batch(producer=(1000, 1, 4))),
)
bad("a record of tomorrow", lambda side: produce(side, None, batch(when_ms=now_ms() + 24 * HOUR_MS)), all_versions(0))
bad("a record of long ago", lambda side: produced(side, batch(), message_timestamp_before_max_ms="1000"))
bad("a key missing on a compacted topic", lambda side: produced(side, batch(key=None), cleanup_policy="compact"))
bad("keys missing, some", lambda side: produced(side, with_some_keys(), cleanup_policy="compact,delete"), [7, 8, 9, 13])
bad(
    "a batch over the limit", lambda side: produced(side, batch(b"v" * 2000), max_message_bytes="1000"), all_versions(0)
)
bad("zstd from a client that is too old", lambda side: produce(side, None, batch(codec=Codec.ZSTD)), [3, 6])
bad("codec 5", lambda side: produce(side, None, changed(batch(), attributes=5)))
bad("codec 7", lambda side: produce(side, None, changed(batch(), attributes=7)))
bad("garbage for gzip", lambda side: produce(side, None, with_body(batch(), b"garbage", attributes=1)), [3, 13])
bad("garbage for lz4", lambda side: produce(side, None, with_body(batch(), b"garbage", attributes=3)), [3, 13])
bad("garbage for a record", lambda side: produce(side, None, with_body(batch(), b"\xff" * 20)), [3, 13])
bad("a record that is too long", lambda side: produce(side, None, with_body(batch(), record(length=99))), [3, 13])
bad("a record of negative length", lambda side: produce(side, None, with_body(batch(), record(length=-5))), [3, 13])
good(
    "a record with a wrong offset",
    lambda side: produce(side, None, with_body(batch(), record(offset_delta=3))),
    [3, 13],
)
bad("bytes behind the records", lambda side: produce(side, None, with_body(batch(), record() + b"more")), [3, 13])
bad("fewer records than said", lambda side: produce(side, None, with_body(batch(b"a", b"b"), record())), [3, 13])
bad(
    "a negative count of headers",
    lambda side: produce(side, None, with_body(batch(), record(header_count=-1))),
    [3, 13],
)
good("a bomb of gzip", lambda side: produce(side, None, bomb(Codec.GZIP)), [13])
good(
    "a bomb of gzip to be compressed anew", lambda side: produced(side, bomb(Codec.GZIP), compression_type="lz4"), [13]
)
bad("an internal topic", lambda side: produce(side, "__consumer_offsets", batch()), by_name)
bad("an unknown internal topic", lambda side: produce(side, "__transaction_state", batch()), by_name)
bad("one topic good and one bad", lambda side: good_and_bad(side), all_versions(0))


def damaged() -> bytes:
    whole = batch()
    return whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:]


def with_some_keys() -> bytes:
    body = record(key=b"k") + record(key=None, offset_delta=1) + record(key=None, offset_delta=2)
    return with_body(batch(b"a", b"b", b"c"), body)


def good_and_bad(side: Side) -> ProduceRequest:
    asked = produce(side, None, batch())
    asked.topic_data += produce(side, side.fresh("none"), batch()).topic_data
    return asked


INIT = Cases(22)


def init(**how: Any) -> InitProducerIdRequest:
    return InitProducerIdRequest(**{"transactional_id": None, "transaction_timeout_ms": 60_000, **how})


INIT.good("an idempotent producer", lambda _: init(), all_versions(22))
INIT.good("a time-out of 0", lambda _: init(transaction_timeout_ms=0))
INIT.good("a negative time-out", lambda _: init(transaction_timeout_ms=-5))
INIT.good("the longest time-out", lambda _: init(transaction_timeout_ms=(1 << 31) - 1))
INIT.good("a producer that had one before", lambda _: init(producer_id=7, producer_epoch=0), [3, 4, 5])
INIT.bad("an epoch without an id", lambda _: init(producer_epoch=3), [3, 4, 5])
INIT.bad("an id without an epoch", lambda _: init(producer_id=3), [3, 4, 5])
INIT.good("a negative id", lambda _: init(producer_id=-2, producer_epoch=0), [3, 5])
INIT.good("a negative epoch", lambda _: init(producer_id=5, producer_epoch=-2), [3, 5])
INIT.bad("an empty transactional id", lambda _: init(transactional_id=""), all_versions(22))
INIT.bad("an id without an epoch, of a transaction", lambda _: init(transactional_id="t", producer_id=3), [3, 4, 5])
INIT.bad("an epoch without an id, of a transaction", lambda _: init(transactional_id="t", producer_epoch=3), [3, 4, 5])

ALL = (CASES, INIT)
