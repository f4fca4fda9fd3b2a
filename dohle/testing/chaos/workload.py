"""Workload: a kind of load that clients put on a cluster, by programs of their own (job.py says what these do)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from dohle.model.errors import ConfigurationError
from dohle.testing.chaos.job import Client


@dataclass(frozen=True)
class Topic:
    """What the harness makes before the workers start. Replicas: 3, or as many as there are nodes, if fewer."""

    partitions: int = 4
    configs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({"min.insync.replicas": "2"}))


@dataclass(frozen=True)
class Workload:
    """`command` is run once for each worker, with a Job as JSON behind it.

    `rate_per_s` is what all its workers together begin, at most. `final`: whether the topics are read to their ends in
    the final phase; not so where they come and go.
    """

    name: str
    """As users write it: "append"."""
    client: Client
    command: tuple[str, ...]
    topics: Mapping[str, Topic]
    workers: int = 2
    rate_per_s: float = 200.0
    options: Mapping[str, str] = field(default_factory=dict)
    final: bool = True

    @property
    def full_name(self) -> str:
        return f"{self.name}:{self.client}"


class Workloads:
    """The workloads that a harness knows."""

    def __init__(self, workloads: Iterable[Workload]) -> None:
        self._all = tuple(workloads)

    @property
    def full_names(self) -> tuple[str, ...]:
        return tuple(one.full_name for one in self._all)

    def named(self, names: Sequence[str]) -> tuple[Workload, ...]:
        """Returns those of these names, "append" with all clients, "append:java" with one; none: all.

        Raises ConfigurationError, which lists those that there are.
        """
        for name in names:
            if not any(name in (one.name, one.full_name) for one in self._all):
                known = ", ".join(sorted(one.full_name for one in self._all))
                raise ConfigurationError(f"there is no workload {name!r}; there are: {known}")
        return tuple(one for one in self._all if not names or one.name in names or one.full_name in names)
