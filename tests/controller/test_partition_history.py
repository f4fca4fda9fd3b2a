"""A partition's history: what one change says of it, and what it came with."""

from dohle.controller.partition_history import Steps, step_of
from dohle.model.ids import NO_NODE, DirectoryId, NodeId, PartitionKey, TopicId
from dohle.model.metadata import (
    BrokerChange,
    LogDirectories,
    NoOp,
    Partition,
    PartitionChange,
    RegisterBroker,
    ReplicasChange,
)

T, U = TopicId(b"topic-of-16-byte"), TopicId(b"other-of-16-byte")
KEY = PartitionKey(T, 0)
ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)


def test_a_change_of_other_partitions_says_nothing():
    assert step_of((NoOp(), PartitionChange(U, 0, ONE, 1, 1, (ONE,), ())), KEY) is None
    assert step_of((PartitionChange(T, 1, ONE, 1, 1, (ONE,), ()),), KEY) is None


def test_what_befell_brokers_in_the_same_change_is_told_with_it():
    step = step_of(
        (
            BrokerChange(ONE, 5, fenced=True, shutting_down=False),
            BrokerChange(TWO, 6, fenced=False, shutting_down=True),
            BrokerChange(THREE, 7, fenced=False, shutting_down=False),
            PartitionChange(T, 0, NO_NODE, 3, 4, (ONE,), ()),
        ),
        KEY,
    )
    assert step is not None
    assert (step.leader, step.leader_epoch, step.partition_epoch, list(step.in_sync_replicas)) == (-1, 3, 4, [1])
    brokers = (step.fenced_brokers, step.shutting_down_brokers, step.unfenced_brokers, step.registered_brokers)
    assert [list(nodes) for nodes in brokers] == [[1], [2], [3], []]
    assert not step.assigned_replicas


def test_replicas_are_told_where_they_are_set():
    made = step_of((Partition(T, 0, (ONE, TWO), (ONE,), ONE),), KEY)
    moved = step_of((ReplicasChange(T, 0, (THREE, ONE), (THREE,), (ONE,), ONE, 1, 1, (ONE,), ()),), KEY)
    assert made is not None
    assert moved is not None
    assert (list(made.assigned_replicas), list(moved.assigned_replicas)) == ([1, 2], [3, 1])
    assert (list(moved.adding_replicas), list(moved.removing_replicas)) == ([3], [1])


def lost(node, *keys):
    return LogDirectories(node, 5, (DirectoryId(bytes(16)),), (DirectoryId(b"x" * 16),), keys)


def change(leader, epoch, members):
    return PartitionChange(T, 0, leader, epoch, epoch, members, ())


def told(steps):
    return [
        (step.metadata_offset, step.leader, list(step.in_sync_replicas), list(step.offline_brokers)) for step in steps
    ]


def test_a_lost_directory_is_told_with_what_follows_and_alone_where_nothing_does():
    steps = Steps(KEY, 10)
    steps.add((Partition(T, 0, (ONE, TWO), (ONE, TWO), ONE),), 1, 0)
    steps.add((lost(ONE, PartitionKey(T, 1)),), 2, 0)
    steps.add((lost(ONE, KEY, PartitionKey(T, 1)), change(TWO, 1, (TWO,))), 3, 0)
    steps.add((lost(ONE, KEY, PartitionKey(U, 0)),), 4, 0)  # one more directory, where others lie
    steps.add((change(ONE, 2, (ONE,)),), 5, 0)
    steps.add((lost(TWO, KEY),), 6, 0)
    steps.add((lost(ONE, KEY), change(NO_NODE, 3, (ONE,))), 7, 0)
    assert told(steps.newest) == [
        (1, 1, [1, 2], []),
        (3, 2, [2], [1]),
        (5, 1, [1], []),
        (6, 1, [1], [2]),
        (7, -1, [1], [1]),
    ]


def test_a_broker_that_starts_without_the_directory_again_says_it_again():
    steps = Steps(KEY, 10)
    steps.add((lost(ONE, KEY), change(TWO, 1, (TWO,))), 1, 0)
    started = RegisterBroker(ONE, bytes(16), bytes(16), (), "", ())
    steps.add((started, lost(ONE, KEY)), 2, 0)
    assert told(steps.newest) == [(1, 2, [2], [1]), (2, 2, [2], [1])]
