"""Plan: all that a seed decides before it runs, so that a failing run can be shrunk.

Each fault carries its own source of chance: taking one out, or a client, shifts nothing in the others.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from random import Random

from dohle.cluster.config import NodeConfig
from dohle.controller.snapshot_taker import SnapshotConfig
from dohle.model.errors import ConfigurationError
from dohle.model.metadata import LOG_DIRECTORIES_VERSION, NEWEST_METADATA_VERSION, OLDEST_METADATA_VERSION
from dohle.testing.clients.workload import Mix
from dohle.testing.faults.faults import KINDS, kind_named
from dohle.testing.world.topology import Topology

STORM_S = 60.0
LONGEST_STORM_S = 86_400.0
_LEAST_FAULTS = 5
_FILL_BYTES_PER_S = (20_000, 100_000, NodeConfig().replica_fill_bytes_per_s)
_SCRUB_INTERVAL_MS = 10_000
_UPGRADED = 0.25
"""The share of clusters that begin with nodes of an older version."""
_OFTEN_SNAPSHOT_BYTES = (500, 2000)
_SNAPSHOT_BYTES = (*_OFTEN_SNAPSHOT_BYTES, 8000, SnapshotConfig().max_bytes_between)
_MOST_SWAPS = 4
_BEFORE_SWAPS = 0.1
"""The share of a storm at its beginning in which there is little to compact."""
_CALM_END = 0.1
"""The share of a storm at its end in which no fault begins."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault. What else it has to choose it draws from `chance`. Raises ConfigurationError for an unknown kind, and
    for times that are none."""

    at_s: float
    kind: str
    node_id: int
    duration_s: float
    chance: int

    def __post_init__(self) -> None:
        kind_named(self.kind)
        for name, seconds in (("at_s", self.at_s), ("duration_s", self.duration_s)):
            if not 0 <= seconds <= LONGEST_STORM_S:
                raise ConfigurationError(f"{name} is {seconds:g}: a time is from 0 to {LONGEST_STORM_S:g} seconds")

    def __str__(self) -> str:
        return f"{self.kind} at node {self.node_id} for {self.duration_s:.2f} s"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. `seed` still decides how the processes take turns, and everything that the nodes draw.

    Raises ConfigurationError for a storm that has no length, or none that ends.
    """

    seed: int
    topology: Topology
    mix: Mix
    storm_s: float
    faults: tuple[PlannedFault, ...]
    snapshot_bytes: int = SnapshotConfig().max_bytes_between
    """So much metadata lies between two snapshots of it."""
    fill_bytes_per_s: int = NodeConfig().replica_fill_bytes_per_s
    """How fast replicas are filled that begin with nothing."""
    formatted_at: int = 0
    """The metadata.version that it begins with, while its nodes are upgraded; 0: the newest, which all know."""
    scrub_interval_ms: int = 0
    """How often brokers read all that lies in their logs; 0: never."""

    def __post_init__(self) -> None:
        _check_length(self.storm_s)

    @classmethod
    def drawn(cls, seed: int, storm_s: float = STORM_S) -> Plan:
        _check_length(storm_s)
        topology = Topology.drawn(_chance(seed, "topology"))
        version = _drawn_version(_chance(seed, "version"))
        if not 0 < version < LOG_DIRECTORIES_VERSION:
            topology = topology.with_disks(_chance(seed, "disks"))
        mix = Mix.drawn(_chance(seed, "mix")).letting_go(_chance(seed, "letting go"))
        mix = mix.compacting(_chance(seed, "compacting"))
        faults = _drawn_faults(_chance(seed, "faults"), topology, storm_s)
        mix = mix.forking(_chance(seed, "forking"))
        if not any("rot" in fault.kind for fault in faults):  # which a group would not get past
            mix = mix.grouping(_chance(seed, "grouping"))
        if mix.compacted is not None:
            faults = tuple(sorted((*faults, *_drawn_swaps(_chance(seed, "swaps"), topology, storm_s)), key=_time))
        if mix.forking_every_s:
            faults = tuple(sorted((*faults, *_drawn_links(_chance(seed, "links"), topology, storm_s)), key=_time))
        often = any(KINDS[fault.kind].needs_snapshots for fault in faults)
        return cls(
            seed,
            topology,
            mix,
            storm_s,
            faults,
            _chance(seed, "snapshots").choice(_OFTEN_SNAPSHOT_BYTES if often else _SNAPSHOT_BYTES),
            _chance(seed, "fills").choice(_FILL_BYTES_PER_S),
            version,
            _drawn_scrubs(_chance(seed, "scrubs"), faults),
        )

    def without(self, faults: Collection[int]) -> Plan:
        """Returns the plan without the faults of these indexes."""
        kept = [fault for index, fault in enumerate(self.faults) if index not in faults]
        return replace(self, faults=tuple(kept))

    def letting_go(self, chance: Random) -> Plan:
        """Returns the plan with what is not retained, as it is drawn by `chance`."""
        return replace(self, mix=self.mix.letting_go(chance))

    def with_writers(self, writers: int) -> Plan:
        """Returns the plan with fewer clients that write, or more."""
        return replace(self, mix=replace(self.mix, writers=writers))


def _check_length(storm_s: float) -> None:
    if not 0 < storm_s <= LONGEST_STORM_S:  # so that not-a-number is none
        raise ConfigurationError(f"a storm of {storm_s:g} seconds: give more than 0, and at most {LONGEST_STORM_S:g}")


def _chance(seed: int, purpose: str) -> Random:
    return Random(f"{seed}/plan/{purpose}")  # noqa: S311 - replays, and no secrets


def _drawn_version(chance: Random) -> int:
    return chance.randrange(OLDEST_METADATA_VERSION, NEWEST_METADATA_VERSION) if chance.random() < _UPGRADED else 0


def _drawn_scrubs(chance: Random, faults: Collection[PlannedFault]) -> int:
    """In half of the runs in which there is something to find, and in few others."""
    often = any(fault.kind == "rot while it runs" for fault in faults)
    return _SCRUB_INTERVAL_MS if chance.random() < (0.5 if often else 0.1) else 0


def _time(fault: PlannedFault) -> float:
    return fault.at_s


def _drawn_swaps(chance: Random, topology: Topology, storm_s: float) -> list[PlannedFault]:
    """Deaths at moments that only a topic has which is compacted."""
    return _drawn_deaths(chance, topology, storm_s, [name for name, kind in KINDS.items() if kind.needs_compaction])


def _drawn_links(chance: Random, topology: Topology, storm_s: float) -> list[PlannedFault]:
    """Deaths at moments that only a topic has which is forked."""
    return _drawn_deaths(chance, topology, storm_s, [name for name, kind in KINDS.items() if kind.needs_forks])


def _drawn_deaths(chance: Random, topology: Topology, storm_s: float, kinds: list[str]) -> list[PlannedFault]:
    possible = sorted(kinds)
    faults: list[PlannedFault] = []
    for _ in range(chance.randint(1, _MOST_SWAPS)):
        kind, at_s = chance.choice(possible), chance.uniform(_BEFORE_SWAPS * storm_s, storm_s * (1 - _CALM_END))
        node_id, duration_s = chance.choice(KINDS[kind].targets(topology)), chance.uniform(0.05, 4.0)
        faults.append(PlannedFault(round(at_s, 3), kind, node_id, round(duration_s, 3), chance.getrandbits(32)))
    return faults


def _drawn_faults(chance: Random, topology: Topology, storm_s: float) -> tuple[PlannedFault, ...]:
    """Swarm: each run has a few kinds of its own, and so many of them."""
    possible = sorted(name for name, kind in KINDS.items() if kind.targets(topology) and not kind.is_rarely_possible)
    names = chance.sample(possible, chance.randint(3, 9))
    weights = [KINDS[name].weight for name in names]
    a_minute = chance.choice((8, 10, 13, 18))
    count = max(_LEAST_FAULTS, round(a_minute * storm_s / 60))
    times = sorted(chance.uniform(0, storm_s * (1 - _CALM_END)) for _ in range(count))
    faults: list[PlannedFault] = []
    for at_s in times:
        kind = chance.choices(names, weights)[0]
        duration_s = chance.choice((0.05, 0.5, 2.0, 4.0, 8.0)) * chance.uniform(0.5, 1.5)
        node_id = chance.choice(KINDS[kind].targets(topology))
        faults.append(PlannedFault(round(at_s, 3), kind, node_id, round(duration_s, 3), chance.getrandbits(32)))
    return tuple(faults)
