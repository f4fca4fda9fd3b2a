"""ClusterUnderTest: what a test may ask of a cluster, whether its nodes are simulated or processes of this machine.

What happens at once is a plain call; what takes time is awaited. Nodes go by their numbers, and every method that takes
some takes several. A test finds no topic of another one: `topic` gives each test names of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from dohle.client.admin import Admin
from dohle.client.consumer import Consumer
from dohle.client.producer import Producer
from dohle.client.values import TopicDescription
from dohle.model.errors import ConfigurationError, DohleError
from dohle.runtime.clock import Clock

_POLL_S = 0.05
_ADMIN_PATIENCE_MS = 5_000


class ClusterUnderTest(ABC):
    """A cluster that a test may break. `nodes` are the numbers of its nodes, `bootstrap` is what clients are given."""

    def __init__(self, nodes: Sequence[int], bootstrap: str, clock: Clock, namespace: str) -> None:
        self.nodes = tuple(nodes)
        self.bootstrap = bootstrap
        self._clock = clock
        self._namespace = namespace

    # clients

    def producer(self, **options: Any) -> Producer:
        """Returns a producer for this cluster; `options` are `dohle.Producer`'s."""
        return Producer(self.bootstrap, **options)

    def consumer(self, **options: Any) -> Consumer:
        """Returns a consumer for this cluster; `options` are `dohle.Consumer`'s."""
        return Consumer(self.bootstrap, **options)

    def admin(self, **options: Any) -> Admin:
        """Returns an admin client for this cluster; `options` are `dohle.Admin`'s."""
        return Admin(self.bootstrap, **options)

    async def topic(
        self,
        name: str,
        *,
        partitions: int = 1,
        replication_factor: int | None = None,
        configs: Mapping[str, str] | None = None,
    ) -> str:
        """Makes a topic of this test's own, and returns its full name, which begins with `name`.

        It has three replicas, or as many as there are nodes, if nothing else is said.
        """
        full_name = f"{name}-{self._namespace}"
        replicas = min(3, len(self.nodes)) if replication_factor is None else replication_factor
        async with self.admin() as admin:
            await admin.create_topic(full_name, partitions=partitions, replication_factor=replicas, configs=configs)
        return full_name

    # time

    async def advance(self, seconds: float) -> None:
        """Lets time pass: virtual time jumps, on real processes this waits."""
        await self._clock.sleep(seconds)

    # what the cluster says

    async def wait_healthy(self, within_s: float = 60.0) -> None:
        """Returns once every node serves and no partition lacks a replica. Raises AssertionError, which says who does.

        A node that was killed stays down until the test starts it again.
        """
        deadline = self._clock.now() + within_s
        async with self.admin(request_timeout_ms=_ADMIN_PATIENCE_MS) as admin:
            while wrong := await self._what_is_wrong(admin):
                if self._clock.now() >= deadline:
                    raise AssertionError(f"the cluster is not healthy after {within_s:g} s: {wrong}")
                await self._clock.sleep(_POLL_S)

    async def leader(self, topic: str, partition: int = 0, within_s: float = 30.0) -> int:
        """Returns the node that leads the partition, once one does that this test has not broken."""
        deadline = self._clock.now() + within_s
        async with self.admin(request_timeout_ms=_ADMIN_PATIENCE_MS) as admin:
            while True:
                try:
                    leader = _leader(await admin.describe_topic(topic), partition)
                    reason = f"node {leader} leads, but is down" if leader >= 0 else "nobody leads"
                except DohleError as error:
                    if not error.retriable:
                        raise
                    leader, reason = -1, error.message
                if self.serves(leader):
                    return leader
                if self._clock.now() >= deadline:
                    raise AssertionError(f"{topic}-{partition} has no leader after {within_s:g} s: {reason}")
                await self._clock.sleep(_POLL_S)

    async def _what_is_wrong(self, admin: Admin) -> str:
        down = [node for node in self.nodes if not self.serves(node)]
        if down:
            return f"{_listed(down)} is down, paused or cut off"
        try:
            cluster = await admin.describe_cluster()
        except DohleError as error:
            return error.message
        fenced = [node.node_id for node in cluster.nodes if node.fenced]
        missing = [node for node in self.nodes if node not in [found.node_id for found in cluster.nodes]]
        if fenced or missing:
            return f"{_listed(fenced + missing)} has not registered"
        return ", ".join(
            f"{one.topic}-{one.partition} has replicas on {one.assigned_replicas}, in sync {one.in_sync_replicas}"
            for one in cluster.unhealthy
        )

    # nodes

    @abstractmethod
    def serves(self, node: int) -> bool:
        """Whether the node runs, and nothing keeps others from it, as far as the test's own doing goes."""

    @abstractmethod
    def kill(self, *nodes: int) -> None:
        """Ends the nodes as `kill -9` does."""

    @abstractmethod
    async def start(self, *nodes: int) -> None:
        """Starts nodes that do not run; returns once they serve, for which a majority of the controllers must run."""

    @abstractmethod
    def pause(self, *nodes: int) -> None:
        """Stops the nodes' processes as SIGSTOP does; to others they are silent, not gone."""

    @abstractmethod
    def resume(self, *nodes: int) -> None:
        """Lets paused nodes go on."""

    @abstractmethod
    def heal(self) -> None:
        """Undoes what was done to networks and disks, and lets paused nodes go on. Dead nodes stay dead: `start`."""

    @abstractmethod
    def lose_power(self, *nodes: int) -> None:
        """Ends the nodes with their machines: what was not yet synced to disk is lost or torn. Simulated only."""

    @abstractmethod
    def partition(self, *nodes: int, from_clients: bool = True) -> None:
        """Cuts these nodes off from the others, and from the test's clients. Simulated only."""

    @abstractmethod
    def fill_disk(self, *nodes: int) -> None:
        """Leaves no room on the nodes' disks. Simulated only."""

    @abstractmethod
    def fail_disk(self, *nodes: int) -> None:
        """Has every fsync of the nodes fail from now on, which ends them, as it must. Simulated only."""

    @abstractmethod
    def slow_disk(self, *nodes: int, factor: float = 100.0) -> None:
        """Makes the nodes' disks slower than usual. Simulated only."""

    def _known(self, nodes: Sequence[int]) -> tuple[int, ...]:
        """Returns `nodes`, checked. Raises ConfigurationError, which lists what there is."""
        there_are = "the nodes are " + ", ".join(str(node) for node in self.nodes)
        if not nodes:
            raise ConfigurationError(f"name the node, or several: {there_are}")
        for node in nodes:
            if node not in self.nodes:
                raise ConfigurationError(f"there is no node {node!r}: {there_are}")
        return tuple(dict.fromkeys(nodes))


def _leader(topic: TopicDescription, partition: int) -> int:
    if not 0 <= partition < len(topic.partitions):
        raise ConfigurationError(
            f"{topic.name} has no partition {partition}: its partitions are 0 to {len(topic.partitions) - 1}"
        )
    return topic.partitions[partition].leader


def _listed(nodes: Sequence[int]) -> str:
    return ", ".join(f"node {node}" for node in nodes)
