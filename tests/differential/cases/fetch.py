"""Fetch, also in sessions."""

from __future__ import annotations

from typing import Any

from dohle.kafka.messages.fetch import FetchRequest
from tests.differential.batches import batch
from tests.differential.cases import Cases, all_versions
from tests.differential.cases.produce import NO_SUCH_ID
from tests.differential.sides import Side

THREE = (batch(b"a"), batch(b"b", b"c", b"d"), batch(b"e"))
"""Batches of the offsets 0, 1 to 3, and 4."""


def fetch(side: Side, topic: str | None = None, offset: int = 0, **how: Any) -> FetchRequest:
    """Returns a request for one partition; `topic` None: of one that is new, with three batches."""
    if topic is None:
        topic = side.topic("f", batches=THREE)
    partition = FetchRequest.Topic.Partition(
        partition=how.pop("partition", 0),
        fetch_offset=offset,
        partition_max_bytes=how.pop("partition_max_bytes", 1 << 20),
        current_leader_epoch=how.pop("leader_epoch", -1),
        last_fetched_epoch=how.pop("last_epoch", -1),
    )
    topic_id = how.pop("topic_id", None)
    if topic_id is None:
        topic_id = side.id_of(topic) if topic in side.topic_ids.values() else NO_SUCH_ID
    topics = [FetchRequest.Topic(topic=topic, topic_id=topic_id, partitions=[partition])]
    return FetchRequest(**{"max_wait_ms": 0, "min_bytes": 0, "max_bytes": 1 << 20, "topics": topics, **how})


def several(side: Side, *asked: FetchRequest) -> FetchRequest:
    first, *others = asked
    for other in others:
        first.topics += other.topics
    return first


def twice(side: Side) -> FetchRequest:
    asked = fetch(side)
    asked.topics[0].partitions *= 2
    return asked


CASES = Cases(1)
good, bad = CASES.good, CASES.bad
by_name = [version for version in all_versions(1) if version < 13]
by_id = all_versions(1, 13)
with_sessions = [7, 12, 13, 18]

good("from the beginning", lambda side: fetch(side), all_versions(1))
good("from a batch's middle", lambda side: fetch(side, offset=2), all_versions(1))
good("at the end", lambda side: fetch(side, offset=5), all_versions(1))
good("an empty topic", lambda side: fetch(side, side.kept()))
good("committed records only", lambda side: fetch(side, isolation_level=1), all_versions(1))
good("no bytes at all", lambda side: fetch(side, max_bytes=0))
bad("negative bytes", lambda side: fetch(side, max_bytes=-1))
good("no bytes of a partition", lambda side: fetch(side, partition_max_bytes=0))
bad("negative bytes of a partition", lambda side: fetch(side, partition_max_bytes=-1))
good("one byte", lambda side: fetch(side, max_bytes=1))
good("one byte of a partition", lambda side: fetch(side, partition_max_bytes=1))
good("bytes for one batch and a half", lambda side: fetch(side, partition_max_bytes=100))
good("a negative least", lambda side: fetch(side, min_bytes=-1))
good("a least that is not there", lambda side: fetch(side, min_bytes=1 << 20, max_wait_ms=20))
good("a negative wait", lambda side: fetch(side, max_wait_ms=-1, min_bytes=1 << 20))
good("no topics", lambda side: fetch(side, side.kept(), topics=[]), all_versions(1))
good("a rack that nobody is in", lambda side: fetch(side, rack_id="elsewhere"), all_versions(1, 11))
bad("isolation level 7", lambda side: fetch(side, isolation_level=7), [4, 18])
good("the current epoch", lambda side: fetch(side, leader_epoch=0), all_versions(1, 9))
good("two topics", lambda side: several(side, fetch(side), fetch(side)))
good("a partition twice", twice)
good("keys only, compacted", lambda side: fetch(side, side.topic("f", batches=THREE, cleanup_policy="compact")))
good("the epoch of what was read last", lambda side: fetch(side, offset=5, last_epoch=0), all_versions(1, 12))
good("outside of any session", lambda side: fetch(side, session_id=0, session_epoch=-1), with_sessions)
good("a new session", lambda side: fetch(side, session_id=0, session_epoch=0), with_sessions)
good("a session that is given up", lambda side: fetch(side, session_id=77, session_epoch=-1), with_sessions)
good("after a deletion of records", lambda side: fetch(side, shortened(side), offset=2), [4, 12, 18])

bad("an unknown topic", lambda side: fetch(side, side.fresh()), all_versions(1))
bad("no such partition", lambda side: fetch(side, partition=5), all_versions(1))
bad("a negative partition", lambda side: fetch(side, partition=-1))
bad("an illegal name", lambda side: fetch(side, "no/such:name"), by_name)
bad("no name", lambda side: fetch(side, ""), by_name)
bad("no id", lambda side: fetch(side, "x", topic_id=bytes(16)), by_id)
bad("an offset behind the end", lambda side: fetch(side, offset=6), all_versions(1))
bad("a negative offset", lambda side: fetch(side, offset=-1))
bad("an offset of -2", lambda side: fetch(side, offset=-2))
bad("an offset before the start", lambda side: fetch(side, shortened(side), offset=0), all_versions(1))
bad("a future epoch", lambda side: fetch(side, leader_epoch=9), all_versions(1, 9))
bad("a future epoch read last", lambda side: fetch(side, offset=5, last_epoch=9), all_versions(1, 12))
bad("an unknown session", lambda side: fetch(side, session_id=77, session_epoch=1), with_sessions)
bad(
    "an unknown session to be closed and made anew",
    lambda side: fetch(side, session_id=0, session_epoch=5),
    with_sessions,
)
bad("a negative session", lambda side: fetch(side, session_id=-3, session_epoch=2), with_sessions)
bad("one topic good and one bad", lambda side: several(side, fetch(side), fetch(side, side.fresh())), all_versions(1))
bad("a bad one among good partitions", lambda side: several(side, fetch(side), fetch(side, partition=3)))
bad("a replica that is none", lambda side: fetch(side, replica_id=5), [4, 14])
bad("an unknown topic with a least", lambda side: fetch(side, side.fresh(), min_bytes=9, max_wait_ms=20))


def shortened(side: Side) -> str:
    """Returns a topic whose records before offset 2 are deleted."""
    from dohle.kafka.messages.topics import DeleteRecordsRequest, DeleteRecordsResponse

    topic = side.topic("f", batches=THREE)
    partition = DeleteRecordsRequest.Topic.Partition(partition_index=0, offset=2)
    asked = DeleteRecordsRequest.Topic(name=topic, partitions=[partition])
    request = DeleteRecordsRequest(topics=[asked], timeout_ms=10_000)
    [answer] = side.ask(request, 2, DeleteRecordsResponse).topics[0].partitions
    assert answer.error_code == 0, answer
    return topic


ALL = (CASES,)
