"""A partition's history: what one change says of it, and what it came with."""

from dohle.controller.partition_history import step_of
from dohle.model.ids import NO_NODE, NodeId, TopicId
from dohle.model.metadata import BrokerChange, NoOp, Partition, PartitionChange, ReplicasChange

T, U = TopicId(b"topic-of-16-byte"), TopicId(b"other-of-16-byte")
ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)


def test_a_change_of_other_partitions_says_nothing():
    assert step_of((NoOp(), PartitionChange(U, 0, ONE, 1, 1, (ONE,), ())), T, 0) is None
    assert step_of((PartitionChange(T, 1, ONE, 1, 1, (ONE,), ()),), T, 0) is None


def test_what_befell_brokers_in_the_same_change_is_told_with_it():
    step = step_of(
        (
            BrokerChange(ONE, 5, fenced=True, shutting_down=False),
            BrokerChange(TWO, 6, fenced=False, shutting_down=True),
            BrokerChange(THREE, 7, fenced=False, shutting_down=False),
            PartitionChange(T, 0, NO_NODE, 3, 4, (ONE,), ()),
        ),
        T,
        0,
    )
    assert step is not None
    assert (step.leader, step.leader_epoch, step.partition_epoch, list(step.in_sync_replicas)) == (-1, 3, 4, [1])
    brokers = (step.fenced_brokers, step.shutting_down_brokers, step.unfenced_brokers, step.registered_brokers)
    assert [list(nodes) for nodes in brokers] == [[1], [2], [3], []]
    assert not step.assigned_replicas


def test_replicas_are_told_where_they_are_set():
    made = step_of((Partition(T, 0, (ONE, TWO), (ONE,), ONE),), T, 0)
    moved = step_of((ReplicasChange(T, 0, (THREE, ONE), (THREE,), (ONE,), ONE, 1, 1, (ONE,), ()),), T, 0)
    assert made is not None
    assert moved is not None
    assert (list(made.assigned_replicas), list(moved.assigned_replicas)) == ([1, 2], [3, 1])
    assert (list(moved.adding_replicas), list(moved.removing_replicas)) == ([3], [1])
