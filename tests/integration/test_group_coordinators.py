"""Coordinators of real processes: what a real client has committed outlives the coordinator that took it."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from dohle.kafka.messages.groups import FindCoordinatorRequest, FindCoordinatorResponse
from tests.integration.clusters import Cluster, until
from tests.integration.kafka.raw import RawKafka

PATIENCE_S = 30.0


def coordinator(cluster: Cluster, through: int, group_id: str) -> int:
    """Returns the node that coordinates the group, as another one says; -1 while nobody does."""
    with RawKafka(cluster.kafka_port(through)) as asked:
        request = FindCoordinatorRequest(coordinator_keys=[group_id])
        [found] = asked.ask(request, 6, FindCoordinatorResponse).coordinators
    return found.node_id


def client(cluster: Cluster, group_id: str) -> Consumer:
    servers = ",".join(f"127.0.0.1:{cluster.kafka_port(node)}" for node in (1, 2, 3))
    return Consumer({"bootstrap.servers": servers, "group.id": group_id, "enable.auto.commit": False})


def commit(consumer: Consumer, offset: int) -> None:
    """Commits until that is acknowledged: who has no coordinator asks for it, once a second."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            consumer.commit(offsets=[TopicPartition("read", 0, offset)], asynchronous=False)
            return
        except KafkaException:
            if time.monotonic() > deadline:
                raise


def committed(consumer: Consumer) -> int:
    [found] = consumer.committed([TopicPartition("read", 0)], timeout=PATIENCE_S)
    assert found.error is None
    return found.offset


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_commits_outlive_their_coordinator(fresh_trio: Cluster, how: str) -> None:
    fresh_trio.done("topic", "create", "read", "--partitions", "1", "--replication-factor", "3")
    consumer = client(fresh_trio, "outlive")
    for offset in range(1, 30):
        commit(consumer, offset)
    first = coordinator(fresh_trio, 1, "outlive")
    other = next(node for node in (1, 2, 3) if node != first)
    if how == "killed":
        fresh_trio.kill(first)
    else:
        fresh_trio.down(first)
    until(lambda: coordinator(fresh_trio, other, "outlive") not in (-1, first), "another coordinator", PATIENCE_S)
    assert committed(client(fresh_trio, "outlive")) == 29
    commit(consumer, 30)
    assert committed(consumer) == 30
    fresh_trio.up(first)
    fresh_trio.until_healthy()
    fresh_trio.kill(other)
    assert committed(client(fresh_trio, "outlive")) == 30


def test_commits_outlive_the_loss_of_all_processes_at_once(fresh_trio: Cluster) -> None:
    fresh_trio.done("topic", "create", "read", "--partitions", "1", "--replication-factor", "3")
    groups = [f"group-{number}" for number in range(8)]
    for number, group_id in enumerate(groups):
        commit(client(fresh_trio, group_id), number + 1)
    fresh_trio.kill_all()
    fresh_trio.up()
    assert [committed(client(fresh_trio, group_id)) for group_id in groups] == [1, 2, 3, 4, 5, 6, 7, 8]
