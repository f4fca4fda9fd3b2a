"""ElectLeaders, Alter- and ListPartitionReassignments, AlterReplicaLogDirs, DescribeLogDirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dohle.kafka.messages.placement import (
    AlterPartitionReassignmentsRequest,
    AlterReplicaLogDirsRequest,
    DescribeLogDirsRequest,
    ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
)
from tests.differential.cases import Cases, all_versions
from tests.differential.sides import Side

PREFERRED, UNCLEAN = 0, 1

ELECT = Cases(43)


def elect(topic: str, *partitions: int, **how: Any) -> ElectLeadersRequest:
    asked = ElectLeadersRequest.TopicPartitions(topic=topic, partitions=list(partitions))
    return ElectLeadersRequest(**{"topic_partitions": [asked], "timeout_ms": 10_000, **how})


ELECT.good("no topics", lambda _: elect("", topic_partitions=[]), all_versions(43))
ELECT.good("no partitions", lambda side: elect(side.topic()), all_versions(43))
ELECT.good("no topics, unclean", lambda _: elect("", topic_partitions=[], election_type=UNCLEAN), [1, 2])
ELECT.bad("who leads already", lambda side: elect(side.topic(), 0), all_versions(43))
ELECT.bad("who leads already, unclean", lambda side: elect(side.topic(), 0, election_type=UNCLEAN), [1, 2])
ELECT.bad("an unknown topic", lambda side: elect(side.fresh(), 0), all_versions(43))
ELECT.bad("no such partition", lambda side: elect(side.topic(), 7), all_versions(43))
ELECT.bad("a negative partition", lambda side: elect(side.topic(), -1))
ELECT.bad("an illegal name", lambda _: elect("no/such", 0))
ELECT.bad("an election of an unknown kind", lambda side: elect(side.topic(), 0, election_type=7), [1, 2])
ELECT.bad("a negative kind", lambda side: elect(side.topic(), 0, election_type=-1), [1, 2])

MOVE = Cases(45)


def move(
    topic: str, replicas: Sequence[int] | None, *, partition: int = 0, **how: Any
) -> AlterPartitionReassignmentsRequest:
    one = AlterPartitionReassignmentsRequest.Topic.Partition(
        partition_index=partition, replicas=None if replicas is None else list(replicas)
    )
    asked = AlterPartitionReassignmentsRequest.Topic(name=topic, partitions=[one])
    return AlterPartitionReassignmentsRequest(**{"topics": [asked], "timeout_ms": 10_000, **how})


def moved_twice(side: Side) -> AlterPartitionReassignmentsRequest:
    asked = move(side.topic(), [1])
    asked.topics[0].partitions *= 2
    return asked


MOVE.good("to where it is", lambda side: move(side.topic(), [1]), all_versions(45))
MOVE.good("no topics", lambda _: move("", [], topics=[]), all_versions(45))
MOVE.good(
    "to where it is, without another factor",
    lambda side: move(side.topic(), [1], allow_replication_factor_change=False),
    [1],
)
MOVE.bad("a negative time-out", lambda side: move(side.topic(), [1], timeout_ms=-1))
MOVE.bad("nothing to cancel", lambda side: move(side.topic(), None), all_versions(45))
MOVE.bad("an unknown topic", lambda side: move(side.fresh(), [1]), all_versions(45))
MOVE.bad("nothing to cancel of an unknown topic", lambda side: move(side.fresh(), None))
MOVE.bad("no such partition", lambda side: move(side.topic(), [1], partition=4))
MOVE.bad("a negative partition", lambda side: move(side.topic(), [1], partition=-1))
MOVE.bad("to an unknown broker", lambda side: move(side.topic(), [9]), all_versions(45))
MOVE.bad("to an unknown broker besides", lambda side: move(side.topic(), [1, 9]))
MOVE.bad("to a negative broker", lambda side: move(side.topic(), [-1]))
MOVE.bad("to nobody", lambda side: move(side.topic(), []), all_versions(45))
MOVE.bad("to a broker twice", lambda side: move(side.topic(), [1, 1]))
MOVE.bad(
    "another factor that is not allowed",
    lambda side: move(side.topic(), [1, 9], allow_replication_factor_change=False),
    [1],
)
MOVE.bad("an illegal name", lambda _: move("no/such", [1]))

MOVING = Cases(46)


def moving(*topics: tuple[str, Sequence[int]]) -> ListPartitionReassignmentsRequest:
    asked = [
        ListPartitionReassignmentsRequest.Topic(name=name, partition_indexes=list(parts)) for name, parts in topics
    ]
    return ListPartitionReassignmentsRequest(topics=asked, timeout_ms=10_000)


MOVING.good("all", lambda _: ListPartitionReassignmentsRequest(topics=None, timeout_ms=10_000))
MOVING.good("of a topic", lambda side: moving((side.topic(), [0])))
MOVING.good("of no topic", lambda _: moving())
MOVING.good("of an unknown topic", lambda side: moving((side.fresh(), [0])))
MOVING.good("of no such partition", lambda side: moving((side.topic(), [7, -1])))
MOVING.good("of an illegal name", lambda _: moving(("no/such", [0])))
MOVING.good("a negative time-out", lambda _: ListPartitionReassignmentsRequest(topics=None, timeout_ms=-1))

DIRS = Cases(35)


def dirs(topic: str, *partitions: int) -> DescribeLogDirsRequest:
    return DescribeLogDirsRequest(topics=[DescribeLogDirsRequest.Topic(topic=topic, partitions=list(partitions))])


DIRS.good("of an empty topic", lambda side: dirs(side.topic(), 0), all_versions(35))
DIRS.good("of no topic", lambda _: DescribeLogDirsRequest(topics=[]), all_versions(35))
DIRS.good("of no partition", lambda side: dirs(side.topic()))
DIRS.good("of an unknown topic", lambda side: dirs(side.fresh(), 0), all_versions(35))
DIRS.good("of no such partition", lambda side: dirs(side.topic(), 7))
DIRS.good("of a negative partition", lambda side: dirs(side.topic(), -1))
DIRS.good("of an illegal name", lambda _: dirs("no/such", 0))
DIRS.good("of an empty name", lambda _: dirs("", 0))

TO_DIR = Cases(34)


def to_dir(path: str, topic: str, *partitions: int) -> AlterReplicaLogDirsRequest:
    topics = [AlterReplicaLogDirsRequest.Dir.Topic(name=topic, partitions=list(partitions))]
    return AlterReplicaLogDirsRequest(dirs=[AlterReplicaLogDirsRequest.Dir(path=path, topics=topics)])


TO_DIR.good("nothing", lambda _: AlterReplicaLogDirsRequest(dirs=[]))
TO_DIR.good(
    "no topics", lambda _: AlterReplicaLogDirsRequest(dirs=[AlterReplicaLogDirsRequest.Dir(path="/x", topics=[])])
)
TO_DIR.good("no partitions", lambda side: to_dir("/no/such", side.topic()))
TO_DIR.bad("an unknown directory", lambda side: to_dir("/no/such", side.topic(), 0), all_versions(34))
TO_DIR.bad(
    "an unknown directory and an unknown topic", lambda side: to_dir("/no/such", side.fresh(), 0), all_versions(34)
)
TO_DIR.bad("a relative directory", lambda side: to_dir("no/such", side.topic(), 0))
TO_DIR.bad("an empty directory", lambda side: to_dir("", side.topic(), 0))
TO_DIR.bad("no such partition", lambda side: to_dir("/no/such", side.topic(), 5))
TO_DIR.bad("an illegal name", lambda _: to_dir("/no/such", "no/such", 0))

ALL = (ELECT, MOVE, MOVING, DIRS, TO_DIR)
