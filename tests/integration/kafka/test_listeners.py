"""Real nodes with several listeners, or with one on all addresses: whom a client is told of, and how to reach them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Sequence

import pytest

from dohle.kafka.messages.cluster import (
    DescribeClusterRequest,
    DescribeClusterResponse,
    MetadataRequest,
    MetadataResponse,
)
from dohle.model.errors import LeaderNotAvailable, ListenerNotFound
from dohle.runtime.interfaces import local_interfaces
from tests.integration.clusters import Cluster, until
from tests.integration.kafka.raw import RawKafka

Make = Callable[..., Cluster]


def free_ports(count: int) -> list[int]:
    """Returns ports that nobody has now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def configure(cluster: Cluster, node_id: int, *lines: str) -> None:
    """Puts these lines into a node's file in place of its `kafka_port`."""
    path = cluster.config(node_id)
    text, replaced = re.subn(r"(?m)^kafka_port = .*$", "\n".join(lines), path.read_text())
    assert replaced == 1
    path.write_text(text)


def brokers(connection: RawKafka, version: int = 12) -> list[tuple[int, str, int]]:
    answer = connection.ask(MetadataRequest(topics=[]), version, MetadataResponse)
    return [(one.node_id, one.host, one.port) for one in answer.brokers]


def described(connection: RawKafka) -> list[tuple[int, str, int, bool]]:
    request = DescribeClusterRequest(include_cluster_authorized_operations=False, include_fenced_brokers=True)
    answer = connection.ask_newest(request, DescribeClusterResponse)
    return [(one.broker_id, one.host, one.port, one.is_fenced) for one in answer.brokers]


@pytest.fixture
def two_doors(make_cluster: Make) -> tuple[Cluster, Sequence[int]]:
    """Three nodes with INTERNAL on the port that a cluster gives them, and EXTERNAL on others, which are returned."""
    cluster, ports = make_cluster(), free_ports(3)
    for node_id, port in zip(cluster.node_ids, ports, strict=True):
        configure(
            cluster,
            node_id,
            f'kafka_listeners = "INTERNAL://:{cluster.kafka_port(node_id)},EXTERNAL://localhost:{port}"',
            f'kafka_advertised_listeners = ["INTERNAL://dohle-{node_id}:9092"]',
        )
    cluster.up()
    cluster.until_healthy()
    return cluster, ports


def test_a_client_is_told_the_addresses_of_the_listener_that_it_came_by(
    two_doors: tuple[Cluster, Sequence[int]],
) -> None:
    cluster, ports = two_doors
    internal = [(node, f"dohle-{node}", 9092) for node in cluster.node_ids]
    external = [(node, "localhost", port) for node, port in zip(cluster.node_ids, ports, strict=True)]
    for node, port in zip(cluster.node_ids, ports, strict=True):
        with RawKafka(cluster.kafka_port(node)) as inside, RawKafka(port) as outside:
            for version in (0, 12, 13):
                assert brokers(inside, version) == internal
                assert brokers(outside, version) == external
            assert described(inside) == [(*one, False) for one in internal]
            assert described(outside) == [(*one, False) for one in external]
    cluster.done("topic", "create", "t", "-p", "3")
    leader = cluster.partition("t").leader
    other = next(node for node in cluster.node_ids if node != leader)
    with RawKafka(ports[other - 1]) as outside:
        moved = outside.fetched("t", 0)
        assert [(one.node_id, one.host, one.port) for one in moved.node_endpoints] == external
    assert "INTERNAL dohle-1:9092, EXTERNAL localhost:" in cluster.done("status")
    assert "DOHLE_EXTERNAL_HOST" in cluster.log(1), "what cannot be known is said"
    said = cluster.done("doctor", "--from", f"localhost:{ports[1]}")
    assert "All is well: 3 nodes" in said
    inside = cluster.dohle("doctor", "--from", f"127.0.0.1:{cluster.kafka_port(1)}")
    assert inside.returncode == 1
    assert "dohle-3 does not resolve here" in inside.stdout
    assert "its line in kafka_advertised_listeners" in inside.stdout
    cluster.down(3)
    with RawKafka(ports[0]) as outside:
        until(lambda: len(brokers(outside)) == 2, "who is gone is not told of")
        assert described(outside)[-1] == (*external[2], True)
    gone = cluster.dohle("doctor", "--from", f"127.0.0.1:{ports[0]}", "--json")
    assert (gone.returncode, json.loads(gone.stdout)["fenced"]) == (1, [3])


def test_a_leader_without_the_listener_is_said(make_cluster: Make) -> None:
    cluster, ports = make_cluster(), free_ports(2)
    for node_id, port in zip(cluster.node_ids, ports, strict=False):
        configure(
            cluster,
            node_id,
            f'kafka_listeners = "KAFKA://:{cluster.kafka_port(node_id)},OTHER://:{port}"',
        )
    cluster.up(1, 2, 3)
    cluster.done("topic", "create", "t", "-p", "3")
    cluster.until_healthy()
    with RawKafka(ports[0]) as by_other, RawKafka(cluster.kafka_port(1)) as by_all:
        until(lambda: len(brokers(by_all)) == 3, "all are told of")
        assert [node for node, _, _ in brokers(by_other)] == [1, 2]
        led = {one.leader_id: one.partition_index for one in by_all.topic("t").partitions}
        without = led[3]
        request = MetadataRequest(topics=[MetadataRequest.Topic(name="t")])
        for version, code in ((5, LeaderNotAvailable.code), (6, ListenerNotFound.code), (13, ListenerNotFound.code)):
            partitions = by_other.ask(request, version, MetadataResponse).topics[0].partitions
            [found] = [one for one in partitions if one.partition_index == without]
            assert (found.error_code, found.leader_id) == (code, -1)
            assert all(one.error_code == 0 for one in partitions if one.partition_index != without)
    cluster.down(2)
    cluster.up(2)
    assert "node 3 and this one have not the same listeners" in cluster.log(2)


def test_a_listener_on_all_addresses_tells_each_client_what_it_can_reach(make_cluster: Make) -> None:
    cluster = make_cluster()
    for node_id in cluster.node_ids:
        configure(cluster, node_id, f'kafka_listeners = "KAFKA://0.0.0.0:{cluster.kafka_port(node_id)}"')
    cluster.up()
    cluster.until_healthy()
    hosts = ["127.0.0.1", *(str(one.ip) for one in local_interfaces() if one.version == 4)]
    for host in hosts:
        told = [(node, host, cluster.kafka_port(node)) for node in cluster.node_ids]
        for node in cluster.node_ids:
            with RawKafka(cluster.kafka_port(node), host) as connection:
                assert brokers(connection) == told


def test_localhost_may_be_the_second_loopback_address(trio: Cluster) -> None:
    try:
        connection = RawKafka(trio.kafka_port(2), "::1")
    except OSError:
        pytest.skip("this machine has no ::1")
    with connection:
        told = [(node, "::1" if node == 2 else "127.0.0.1", trio.kafka_port(node)) for node in trio.node_ids]
        assert brokers(connection) == told


def test_the_doctor_knows_the_doors_of_a_real_node(trio: Cluster) -> None:
    node = trio.local.state.nodes[0]
    assert "All is well: 3 nodes" in trio.done("doctor", "--from", f"127.0.0.1:{node.kafka_port}")
    for port, spoken in ((node.grpc_port, "speaks gRPC"), (node.http_port, "speaks HTTP")):
        outcome = trio.dohle("doctor", "--from", f"127.0.0.1:{port}", "--timeout", "2")
        assert outcome.returncode == 1
        assert spoken in outcome.stdout


def test_the_doctor_sees_nodes_that_are_told_at_each_others_addresses(make_cluster: Make) -> None:
    cluster = make_cluster()
    ports = [cluster.kafka_port(node_id) for node_id in cluster.node_ids]
    for node_id, told in ((1, ports[0]), (2, ports[2]), (3, ports[1])):
        configure(
            cluster,
            node_id,
            f"kafka_port = {ports[node_id - 1]}",
            f'kafka_advertised_address = "127.0.0.1:{told}"',
        )
    cluster.up()
    cluster.until_healthy()
    outcome = cluster.dohle("doctor", "--from", f"127.0.0.1:{ports[0]}", "--json")
    assert outcome.returncode == 1
    visits = json.loads(outcome.stdout)["visits"]
    assert [(one["node_id"], one["answers_as"], one["ok"]) for one in visits] == [
        (None, 1, True),
        (1, 1, True),
        (2, 3, False),
        (3, 2, False),
    ]
