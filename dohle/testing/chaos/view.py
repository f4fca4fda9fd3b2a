"""ClusterView: what a cluster says of itself, asked as any client would ask. SdkView asks a Dohle by its SDK."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dohle.client.admin import Admin
from dohle.client.values import TopicDescription
from dohle.model.errors import DohleError, TopicAlreadyExists
from dohle.testing.chaos.workload import Topic

_REQUEST_TIMEOUT_MS = 3000
_REPLICAS = 3


@dataclass(frozen=True)
class PartitionState:
    leader: int
    """-1: nobody."""
    epoch: int
    in_sync: tuple[int, ...]
    replicas: tuple[int, ...]

    @property
    def whole(self) -> bool:
        return self.leader >= 0 and set(self.in_sync) >= set(self.replicas)


@dataclass(frozen=True)
class ClusterState:
    """At one moment. Partitions go by their names, "append-0"; `serving`: the nodes that the cluster counts on."""

    controller: int
    serving: tuple[int, ...]
    partitions: Mapping[str, PartitionState]

    @property
    def whole(self) -> bool:
        return self.controller >= 0 and all(partition.whole for partition in self.partitions.values())


class ClusterView(ABC):
    """Opened by `async with`."""

    @abstractmethod
    async def __aenter__(self) -> ClusterView: ...

    @abstractmethod
    async def __aexit__(self, *failure: object) -> None: ...

    @abstractmethod
    async def create_topic(self, name: str, topic: Topic) -> None:
        """Returns once it is there, also where it was."""

    @abstractmethod
    async def state(self) -> ClusterState | None:
        """Returns None where nobody answers in time."""


class SdkView(ClusterView):
    """A Dohle, asked by its SDK."""

    def __init__(self, bootstrap: str, nodes: int) -> None:
        self._admin = Admin(bootstrap, client_id="dohle-chaos", request_timeout_ms=_REQUEST_TIMEOUT_MS)
        self._replicas = min(_REPLICAS, nodes)

    async def __aenter__(self) -> SdkView:
        await self._admin.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._admin.close()

    async def create_topic(self, name: str, topic: Topic) -> None:
        try:
            await self._admin.create_topic(
                name, partitions=topic.partitions, replication_factor=self._replicas, configs=dict(topic.configs)
            )
        except TopicAlreadyExists:
            pass

    async def state(self) -> ClusterState | None:
        try:
            found = await self._admin.describe_cluster()
            topics = await self._admin.list_topics()
        except DohleError:
            return None
        serving = tuple(node.node_id for node in found.nodes if not node.fenced)
        return ClusterState(
            found.controller_id, serving, {name: state for topic in topics for name, state in _partitions(topic)}
        )


def _partitions(topic: TopicDescription) -> Iterator[tuple[str, PartitionState]]:
    for one in topic.partitions:
        yield (
            f"{topic.name}-{one.partition}",
            PartitionState(one.leader, one.leader_epoch, one.in_sync_replicas, one.assigned_replicas),
        )
