"""Draining: where one broker's replicas go, and what is refused."""

import pytest

from dohle.client.drain import plan_drain
from dohle.client.values import NodeDescription, PartitionDescription, TopicDescription
from dohle.model.errors import BrokerIdNotRegistered, InvalidReplicaAssignment


def node(node_id, *, rack="", replicas=0, fenced=False, shutting_down=False, draining=False):
    return NodeDescription(node_id, (), rack, fenced, shutting_down, 1, b"", 0, replicas, draining=draining)


def topic(name, *replicas):
    partitions = [PartitionDescription(n, nodes[0], 0, 7, nodes, nodes) for n, nodes in enumerate(replicas)]
    return TopicDescription(name, b"", tuple(partitions))


def planned(node_id, nodes, topics, **min_insync):
    moves = plan_drain(node_id, nodes, topics, {name: min_insync.get(name, 2) for name in "tu"})
    assert all(move.partition_epoch == 7 for move in moves)
    return [(move.topic, move.partition, move.replicas) for move in moves]


def test_each_replica_goes_to_who_holds_fewest_and_takes_the_place_of_the_one_that_goes():
    nodes = [node(1, replicas=3), node(2, replicas=3), node(3, replicas=3), node(4, replicas=1), node(5)]
    topics = [topic("t", (1, 2, 3), (2, 1, 3)), topic("u", (3, 2, 4), (1, 2, 3))]
    assert planned(1, nodes, topics) == [("t", 0, (5, 2, 3)), ("t", 1, (2, 4, 3)), ("u", 1, (5, 2, 3))]


def test_fenced_leaving_and_draining_brokers_get_nothing():
    nodes = [node(1), node(2), node(3, fenced=True), node(4, shutting_down=True), node(5, replicas=99)]
    nodes.append(node(6, draining=True))
    assert planned(1, nodes, [topic("t", (1, 2))]) == [("t", 0, (5, 2))]


def test_a_rack_without_the_partition_comes_first():
    nodes = [node(1, rack="a"), node(2, rack="b"), node(3, rack="b"), node(4, rack="c", replicas=50)]
    assert planned(1, nodes, [topic("t", (1, 2))]) == [("t", 0, (4, 2))]


def test_a_broker_without_replicas_needs_no_plan():
    assert planned(1, [node(1), node(2)], [topic("t", (2,))]) == []


def test_the_last_broker_that_the_replication_factor_needs_stays():
    with pytest.raises(InvalidReplicaAssignment, match=r"t-0 has 3 replicas.*only 2 brokers.*start another"):
        planned(1, [node(1), node(2), node(3)], [topic("t", (1, 2, 3))])


def test_the_last_broker_of_a_rack_stays_where_the_minimum_needs_two_racks():
    nodes = [node(1, rack="a"), node(2, rack="b"), node(3, rack="b")]
    with pytest.raises(InvalidReplicaAssignment, match=r"last one of its rack, a.*1 racks"):
        planned(1, nodes, [topic("t", (1, 2))])
    assert planned(1, nodes, [topic("t", (1, 2))], t=1) == [("t", 0, (3, 2))]


def test_an_unknown_broker_is_named_with_those_that_there_are():
    with pytest.raises(BrokerIdNotRegistered, match=r"no broker 9: there are \[1, 2\]"):
        planned(9, [node(1), node(2)], [])
