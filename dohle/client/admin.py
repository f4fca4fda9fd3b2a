"""PLACEHOLDER while being written: the signatures are final, the bodies arrive in minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from types import TracebackType

from dohle.client.values import (
    ClusterDescription,
    CreatedTopic,
    LogDirDescription,
    NewTopic,
    TopicConfigEntry,
    TopicDescription,
)
from dohle.model.errors import DohleError
from dohle.runtime.clock import Clock
from dohle.runtime.network import Network


class Admin:
    """Plural methods answer per topic, with a value or the error; singular ones raise."""

    def __init__(
        self,
        bootstrap: str | Sequence[str],
        *,
        request_timeout_ms: int = 30_000,
        client_id: str = "dohle-admin",
        network: Network | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None: ...
    async def __aenter__(self) -> Admin: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    async def create_topics(
        self, topics: Sequence[NewTopic], *, validate_only: bool = False
    ) -> dict[str, CreatedTopic | DohleError]: ...
    async def create_topic(
        self,
        name: str,
        *,
        partitions: int | None = None,
        replication_factor: int | None = None,
        configs: Mapping[str, str] | None = None,
        validate_only: bool = False,
    ) -> CreatedTopic: ...
    async def delete_topics(self, names: Sequence[str]) -> dict[str, DohleError | None]: ...
    async def delete_topic(self, name: str) -> None: ...
    async def list_topics(self) -> list[TopicDescription]:
        """By name."""

    async def describe_topics(self, names: Sequence[str]) -> dict[str, TopicDescription | DohleError]: ...
    async def describe_topic(self, name: str) -> TopicDescription: ...
    async def create_partitions(self, topic: str, total_count: int, *, validate_only: bool = False) -> None: ...
    async def describe_configs(self, topic: str) -> list[TopicConfigEntry]: ...
    async def alter_configs(
        self,
        topic: str,
        set: Mapping[str, str] | None = None,  # noqa: A002
        *,
        remove: Sequence[str] = (),
        validate_only: bool = False,
    ) -> None: ...
    async def describe_cluster(self) -> ClusterDescription: ...
    async def describe_log_dirs(self, node_id: int) -> list[LogDirDescription]: ...
    async def close(self) -> None: ...
