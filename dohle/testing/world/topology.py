"""Topology: which nodes a simulated cluster has, what each of them is, and how its topics are replicated.

Keeps: at least one controller, and brokers enough for the replication factor, which is at least min.insync.replicas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from dohle.model.errors import ConfigurationError

RACKS = ("rack0", "rack1", "rack2")
"""Where drawn nodes stand that stand anywhere."""

DIRECTORIES = ("data", "data-2", "data-3")
"""The folders of a node's disks; the first one holds the metadata."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node."""

    node_id: int
    is_controller: bool
    is_broker: bool
    rack: str = ""
    log_dirs: int = 1  # disks


@dataclass(frozen=True, slots=True)
class Topology:
    """A cluster's shape. Raises ConfigurationError if it cannot be."""

    nodes: tuple[NodePlan, ...]
    replication_factor: int
    min_in_sync_replicas: int

    def __post_init__(self) -> None:
        ids = [node.node_id for node in self.nodes]
        if len(set(ids)) < len(ids):
            raise ConfigurationError(f"the topology names a node twice: {ids}")
        if not all(1 <= node.log_dirs <= len(DIRECTORIES) for node in self.nodes):
            raise ConfigurationError(f"every node of a topology has 1 to {len(DIRECTORIES)} disks")
        if not all(node.is_controller or node.is_broker for node in self.nodes):
            raise ConfigurationError("every node of a topology is a controller, a broker or both")
        if not self.controllers:
            raise ConfigurationError("a topology needs a controller")
        if not 1 <= self.min_in_sync_replicas <= self.replication_factor <= len(self.brokers):
            raise ConfigurationError(
                f"{len(self.brokers)} brokers, {self.replication_factor} replicas, of which"
                f" {self.min_in_sync_replicas} in sync: each must be at least the next, and the last at least 1"
            )

    @property
    def controllers(self) -> tuple[int, ...]:
        return tuple(node.node_id for node in self.nodes if node.is_controller)

    @property
    def brokers(self) -> tuple[int, ...]:
        return tuple(node.node_id for node in self.nodes if node.is_broker)

    @property
    def spare_voters(self) -> int:
        """How many controllers may be dead while the others are a majority."""
        return (len(self.controllers) - 1) // 2

    @property
    def frail(self) -> tuple[int, ...]:
        """Brokers that may lose data: as many disks as may be lost without the loss of anything acknowledged."""
        return self.brokers[len(self.brokers) - (self.min_in_sync_replicas - 1) :]

    @property
    def expendable(self) -> tuple[int, ...]:
        """Nodes that may be dead for good, data and all, while the others lead, and take writes."""
        spare = min(self.min_in_sync_replicas - 1, self.replication_factor - self.min_in_sync_replicas)
        brokers = self.brokers[len(self.brokers) - spare :]
        controllers = self.controllers[len(self.controllers) - self.spare_voters :]
        return tuple(
            node.node_id
            for node in self.nodes
            if (not node.is_broker or node.node_id in brokers)
            and (not node.is_controller or node.node_id in controllers)
        )

    def breakable(self, node_id: int) -> tuple[str, ...]:
        """The directories that a node can do without: all but a controller's metadata, and never all of them."""
        node = self.node(node_id)
        return DIRECTORIES[1 : node.log_dirs] if node.is_broker else ()

    def with_disks(self, chance: Random) -> Topology:
        """Returns the topology with brokers that have several disks; half of all topologies stay as they are."""
        if chance.random() < 0.5:
            return self
        return replace(
            self,
            nodes=tuple(
                [replace(n, log_dirs=chance.randint(1, len(DIRECTORIES)) if n.is_broker else 1) for n in self.nodes]
            ),
        )

    def node_ids(self) -> tuple[int, ...]:
        return tuple(node.node_id for node in self.nodes)

    def node(self, node_id: int) -> NodePlan:
        return next(node for node in self.nodes if node.node_id == node_id)

    def __str__(self) -> str:
        shape = " ".join(f"{'c' * node.is_controller}{'b' * node.is_broker}{node.node_id}" for node in self.nodes)
        return f"{shape}, {self.replication_factor} replicas, {self.min_in_sync_replicas} in sync"

    @classmethod
    def combined(
        cls, nodes: int, *, replication_factor: int | None = None, min_in_sync_replicas: int | None = None
    ) -> Topology:
        """Returns `nodes` nodes each of which is both; three replicas and two in sync where nothing else is said."""
        replicas = min(nodes, 3) if replication_factor is None else replication_factor
        in_sync = min(replicas, 2) if min_in_sync_replicas is None else min_in_sync_replicas
        return cls(tuple(NodePlan(number, True, True) for number in range(1, nodes + 1)), replicas, in_sync)

    @classmethod
    def of(cls, nodes: int, controllers: int, *, apart: bool) -> Topology:
        """Returns `nodes` nodes, the first `controllers` of which have a vote; `apart`: these are no brokers.

        Three replicas and two in sync, as far as there are brokers for it. Raises ConfigurationError if it cannot be.
        """
        if not 1 <= controllers <= nodes - apart:
            others = "; apart, at least one node is left to be a broker" if apart else ""
            raise ConfigurationError(
                f"{controllers} controllers among {nodes} nodes: give 1 to {nodes - apart}{others}"
            )
        brokers = nodes - controllers if apart else nodes
        plans = [NodePlan(n, n <= controllers, not apart or n > controllers) for n in range(1, nodes + 1)]
        return cls(tuple(plans), min(brokers, 3), min(brokers, 2))

    @classmethod
    def drawn(cls, chance: Random) -> Topology:
        """Returns what a seed runs: three to seven nodes, one to five voters, combined or apart."""
        count = chance.choices((3, 4, 5, 6, 7), (45, 20, 20, 8, 7))[0]
        voters = chance.choices((1, 3, 5), (15, 65, 20))[0] if count >= 5 else chance.choices((1, 3), (15, 85))[0]
        if chance.random() < 0.6 or voters == count:
            nodes = [NodePlan(number, number <= voters, True) for number in range(1, count + 1)]
        else:
            nodes = [NodePlan(number, number <= voters, number > voters) for number in range(1, count + 1)]
        if chance.random() < 0.5:
            nodes = [NodePlan(n.node_id, n.is_controller, n.is_broker, RACKS[n.node_id % 3]) for n in nodes]
        brokers = sum(node.is_broker for node in nodes)
        replicas = min(chance.choices((1, 2, 3, 4, 5), (5, 15, 60, 10, 10))[0], brokers)
        in_sync = min(chance.choices((1, 2, 3), (20, 65, 15))[0], replicas)
        return cls(tuple(nodes), replicas, in_sync)


THREE_COMBINED = Topology.combined(3)
