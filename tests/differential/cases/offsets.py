"""ListOffsets, OffsetForLeaderEpoch, DeleteRecords, DescribeProducers."""

from __future__ import annotations

from typing import Any

from dohle.kafka.messages.fetch import ListOffsetsRequest, OffsetForLeaderEpochRequest
from dohle.kafka.messages.topics import DeleteRecordsRequest
from dohle.kafka.messages.transactions import DescribeProducersRequest
from tests.differential.batches import WHEN_MS, batch
from tests.differential.cases import Cases, all_versions
from tests.differential.cases.fetch import THREE, shortened
from tests.differential.sides import Side

LIST = Cases(2)


def offsets(side: Side, timestamp: int, topic: str | None = None, **how: Any) -> ListOffsetsRequest:
    if topic is None:
        topic = side.kept(*THREE)
    partition = ListOffsetsRequest.Topic.Partition(
        partition_index=how.pop("partition", 0),
        timestamp=timestamp,
        current_leader_epoch=how.pop("leader_epoch", -1),
    )
    topics = [ListOffsetsRequest.Topic(name=topic, partitions=[partition])]
    return ListOffsetsRequest(**{"replica_id": -1, "topics": topics, "timeout_ms": 5000, **how})


def twice(request: Any) -> Any:
    request.topics[0].partitions *= 2
    return request


def topics_twice(request: Any) -> Any:
    request.topics *= 2
    return request


for name, special in {"latest": -1, "earliest": -2}.items():
    LIST.good(name, lambda side, special=special: offsets(side, special), all_versions(2))
    LIST.good(f"{name} of an empty topic", lambda side, special=special: offsets(side, special, side.kept()))
for name, (special, first) in {
    "of the largest time": (-3, 7),
    "earliest local": (-4, 8),
    "latest tiered": (-5, 9),
    "earliest to be uploaded": (-6, 11),
}.items():
    LIST.good(f"{name}", lambda side, special=special: offsets(side, special), all_versions(2, first))
    LIST.good(
        f"{name}, empty", lambda side, special=special: offsets(side, special, side.kept()), all_versions(2, first)
    )
    LIST.bad(
        f"{name}, too old",
        lambda side, special=special: offsets(side, special),
        [version for version in all_versions(2) if version < first],
    )
LIST.good("by a time", lambda side: offsets(side, WHEN_MS + 1), all_versions(2))
LIST.good("by the first time", lambda side: offsets(side, WHEN_MS))
LIST.good("by time 0", lambda side: offsets(side, 0))
LIST.good("by a time to come", lambda side: offsets(side, WHEN_MS * 2), all_versions(2))
LIST.good("committed records only", lambda side: offsets(side, -1, isolation_level=1), all_versions(2, 2))
LIST.good("earliest after a deletion", lambda side: offsets(side, -2, shortened(side)))
LIST.good("the current epoch", lambda side: offsets(side, -1, leader_epoch=0), all_versions(2, 4))
LIST.good("no topics", lambda side: offsets(side, -1, side.kept(), topics=[]))
LIST.good("a negative time-out", lambda side: offsets(side, -1, timeout_ms=-1), [10, 11])
LIST.bad("a partition twice", lambda side: twice(offsets(side, -1)), all_versions(2))
LIST.bad("an unknown topic", lambda side: offsets(side, -1, side.fresh()), all_versions(2))
LIST.bad("no such partition", lambda side: offsets(side, -1, partition=4), all_versions(2))
LIST.bad("a negative partition", lambda side: offsets(side, -1, partition=-1))
LIST.bad("an illegal name", lambda side: offsets(side, -1, "no/such:name"))
LIST.bad("a future epoch", lambda side: offsets(side, -1, leader_epoch=9), all_versions(2, 4))
LIST.bad("an unknown special time", lambda side: offsets(side, -9))
LIST.bad("the least special time", lambda side: offsets(side, -(1 << 63)))
LIST.good("as a debugging consumer", lambda side: offsets(side, -1, replica_id=-2))

EPOCHS = Cases(23)


def epochs(side: Side, epoch: int, topic: str | None = None, **how: Any) -> OffsetForLeaderEpochRequest:
    if topic is None:
        topic = side.kept(*THREE)
    partition = OffsetForLeaderEpochRequest.Topic.Partition(
        partition=how.pop("partition", 0), leader_epoch=epoch, current_leader_epoch=how.pop("current", -1)
    )
    return OffsetForLeaderEpochRequest(
        **{"topics": [OffsetForLeaderEpochRequest.Topic(topic=topic, partitions=[partition])], **how}
    )


EPOCHS.good("the first epoch", lambda side: epochs(side, 0), all_versions(23))
EPOCHS.good("the current epoch", lambda side: epochs(side, 0, current=0), all_versions(23))
EPOCHS.good("an epoch to come", lambda side: epochs(side, 9), all_versions(23))
EPOCHS.good("a negative epoch", lambda side: epochs(side, -1), all_versions(23))
EPOCHS.good("an epoch of -2", lambda side: epochs(side, -2))
EPOCHS.good("an empty topic", lambda side: epochs(side, 0, side.kept()))
EPOCHS.good("no topics", lambda side: epochs(side, 0, side.kept(), topics=[]))
EPOCHS.good("a partition twice", lambda side: twice(epochs(side, 0)))
EPOCHS.bad("an unknown topic", lambda side: epochs(side, 0, side.fresh()), all_versions(23))
EPOCHS.bad("no such partition", lambda side: epochs(side, 0, partition=3), all_versions(23))
EPOCHS.bad("a negative partition", lambda side: epochs(side, 0, partition=-1))
EPOCHS.bad("an illegal name", lambda side: epochs(side, 0, "no/such:name"))
EPOCHS.bad("a future current epoch", lambda side: epochs(side, 0, current=5), all_versions(23))
EPOCHS.bad("an empty name", lambda side: epochs(side, 0, ""))

RECORDS = Cases(21)


def deleted(side: Side, offset: int, topic: str | None = None, **how: Any) -> DeleteRecordsRequest:
    if topic is None:
        topic = side.topic("d", batches=THREE)
    partition = DeleteRecordsRequest.Topic.Partition(partition_index=how.pop("partition", 0), offset=offset)
    topics = [DeleteRecordsRequest.Topic(name=topic, partitions=[partition])]
    return DeleteRecordsRequest(**{"topics": topics, "timeout_ms": 10_000, **how})


RECORDS.good("before a batch", lambda side: deleted(side, 1), all_versions(21))
RECORDS.good("inside of a batch", lambda side: deleted(side, 2), all_versions(21))
RECORDS.good("all", lambda side: deleted(side, -1), all_versions(21))
RECORDS.good("none", lambda side: deleted(side, 0), all_versions(21))
RECORDS.good("up to the end", lambda side: deleted(side, 5))
RECORDS.good("what is deleted already", lambda side: deleted(side, 1, shortened(side)))
RECORDS.good("of an empty topic", lambda side: deleted(side, -1, side.topic()))
RECORDS.good("no topics", lambda side: deleted(side, 0, side.kept(), topics=[]))
RECORDS.good("a time-out of 0", lambda side: deleted(side, 1, timeout_ms=0))
RECORDS.good("a negative time-out", lambda side: deleted(side, 1, timeout_ms=-1))
RECORDS.good(
    "of a topic that is compacted and deleted",
    lambda side: deleted(side, 1, side.topic("d", batches=THREE, cleanup_policy="compact,delete")),
)
RECORDS.bad("behind the end", lambda side: deleted(side, 6), all_versions(21))
RECORDS.bad("an offset of -2", lambda side: deleted(side, -2), all_versions(21))
RECORDS.bad("an unknown topic", lambda side: deleted(side, 0, side.fresh()), all_versions(21))
RECORDS.bad("no such partition", lambda side: deleted(side, 0, partition=3), all_versions(21))
RECORDS.bad("a negative partition", lambda side: deleted(side, 0, partition=-1))
RECORDS.bad("an illegal name", lambda side: deleted(side, 0, "no/such:name"))
RECORDS.bad("an empty name", lambda side: deleted(side, 0, ""))
RECORDS.bad(
    "of a compacted topic",
    lambda side: deleted(side, 1, side.topic("d", batches=THREE, cleanup_policy="compact")),
    all_versions(21),
)

PRODUCERS = Cases(61)


def producers(topic: str, *partitions: int) -> DescribeProducersRequest:
    return DescribeProducersRequest(
        topics=[DescribeProducersRequest.Topic(name=topic, partition_indexes=list(partitions))]
    )


PRODUCERS.good("nobody", lambda side: producers(side.topic(), 0))
PRODUCERS.good("nobody of those who are not idempotent", lambda side: producers(side.topic(batches=THREE), 0))
PRODUCERS.good("one producer", lambda side: producers(side.topic(batches=[batch(producer=(1000, 0, 0))]), 0))
PRODUCERS.good(
    "a producer that has gone on",
    lambda side: producers(side.topic(batches=[batch(producer=(7, 2, 0)), batch(producer=(7, 2, 1))]), 0),
)
PRODUCERS.good("no topics", lambda _: DescribeProducersRequest(topics=[]))
PRODUCERS.good("no partitions", lambda side: producers(side.topic()))
PRODUCERS.bad("an unknown topic", lambda side: producers(side.fresh(), 0))
PRODUCERS.bad("no such partition", lambda side: producers(side.topic(), 9))
PRODUCERS.bad("a negative partition", lambda side: producers(side.topic(), -1))
PRODUCERS.bad("an illegal name", lambda _: producers("no/such:name", 0))
PRODUCERS.bad("an empty name", lambda _: producers("", 0))
PRODUCERS.bad("one good and one bad", lambda side: producers(side.topic(), 0, 1))

ALL = (LIST, EPOCHS, RECORDS, PRODUCERS)
