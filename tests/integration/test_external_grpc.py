"""Nodes with a second gRPC port: the SDK is told the addresses of the port by which it came."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from dohle import Admin, Consumer, Producer
from dohle.rpc.grpc_network import GrpcNetwork
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import broker_pb2, groups_pb2
from dohle.runtime.network import Address, Lane
from tests.integration.clusters import Cluster
from tests.integration.kafka.test_listeners import free_ports

_BROKER = methods_of(broker_pb2.DESCRIPTOR.services_by_name["Broker"])
_GROUPS = methods_of(groups_pb2.DESCRIPTOR.services_by_name["Groups"])


@pytest.fixture
def two_doors(make_cluster: Callable[..., Cluster]) -> tuple[Cluster, dict[int, Address]]:
    """Three nodes, and where each is told to be at its external port: by a name that the other port does not tell."""
    cluster: Cluster = make_cluster()
    outside = dict(zip(cluster.node_ids, (Address("localhost", port) for port in free_ports(3)), strict=True))
    for node, address in outside.items():
        with cluster.config(node).open("a") as file:
            file.write(f'external_grpc_port = {address.port}\nexternal_host = "{address.host}"\n')
    cluster.up()
    cluster.until_healthy()
    return cluster, outside


async def told(network: GrpcNetwork, address: Address) -> tuple[dict[int, Address], Address]:
    """Returns where the nodes are, and where the coordinator of a group is, by what is answered at `address`."""
    metadata = await network.call(
        address, _BROKER["Metadata"], broker_pb2.MetadataRequest(), lane=Lane.CLIENT, timeout_s=10
    )
    coordinator = await network.call(
        address,
        _GROUPS["FindCoordinator"],
        groups_pb2.FindCoordinatorRequest(group_id="g"),
        lane=Lane.CLIENT,
        timeout_s=10,
    )
    nodes = {node.node_id: Address(node.host, node.port) for node in metadata.nodes}
    return nodes, Address(coordinator.host, coordinator.port)


async def test_the_sdk_works_by_the_port_by_which_it_came(two_doors: tuple[Cluster, dict[int, Address]]) -> None:
    cluster, outside = two_doors
    inside = {node: Address("127.0.0.1", cluster.port(node)) for node in cluster.node_ids}
    bootstrap = str(outside[1])
    async with Admin(bootstrap) as admin:
        await admin.create_topic("orders", partitions=6, replication_factor=3)
    async with Producer(bootstrap) as producer:
        for receipt in [await producer.send("orders", b"%d" % number, key=b"%d" % number) for number in range(60)]:
            await receipt
    seen = set()
    async with asyncio.timeout(60), Consumer(bootstrap, group="g") as consumer:
        await consumer.subscribe("orders")
        while len(seen) < 60:
            seen.add((await anext(consumer)).value)
    assert seen == {b"%d" % number for number in range(60)}

    network = GrpcNetwork(client_id="a test")
    try:
        for node in cluster.node_ids:
            nodes, coordinator = await told(network, inside[node])
            assert nodes == inside
            assert coordinator in inside.values()
            nodes, coordinator = await told(network, outside[node])
            assert nodes == outside
            assert coordinator in outside.values()
    finally:
        await network.close()


def test_a_port_in_use_is_named_and_nothing_starts(make_cluster: Callable[..., Cluster]) -> None:
    cluster: Cluster = make_cluster(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with cluster.config(1).open("a") as file:
            file.write(f"external_grpc_port = {port}\n")
        assert f":{port}" in cluster.fails_to_start(1)
