from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from dohle.rpc.grpc_network import GrpcNetwork
from dohle.runtime.network import Address
from tests.client.fake_broker import Cluster
from tests.client.fake_coordinator import FakeCoordinator, Groups

MakeCluster = Callable[..., Awaitable[Cluster]]


@pytest.fixture
async def make_cluster() -> AsyncIterator[MakeCluster]:
    """Makes clusters that are served over gRPC on loopback ports, and stops them in the end."""
    network = GrpcNetwork(client_id="brokers")
    made: list[Cluster] = []

    async def make(brokers: int = 1, partitions: int = 1) -> Cluster:
        cluster = Cluster(brokers, partitions)
        made.append(cluster)
        cluster.groups = Groups(cluster)
        for broker in cluster.brokers:
            coordinator = FakeCoordinator(cluster.groups, broker.node)
            cluster.coordinators.append(coordinator)
            services = [broker.service(), coordinator.service()]
            server = await network.serve(Address("127.0.0.1", 0), services, listener="GRPC")
            cluster.servers[broker.node] = server
            cluster.addresses[broker.node] = server.address
        return cluster

    yield make
    for cluster in made:
        for node in sorted(cluster.servers):
            await cluster.servers[node].stop(0)
    await network.close()
