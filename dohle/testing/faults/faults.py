"""The table of faults, by name: what a plan may order, and how often by chance it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dohle.model.errors import ConfigurationError
from dohle.testing.faults import damage, disk_faults, link_faults, membership, process_faults, torn
from dohle.testing.faults.aimed import death_at
from dohle.testing.faults.blow import Fault
from dohle.testing.world.disk import Moment
from dohle.testing.world.topology import Topology


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind; `weight` is how often it is drawn beside others of weight 1, `targets` which nodes it may hit.

    One that `needs_snapshots` of the metadata is drawn for clusters that take them often; one that `needs_compaction`
    only for those with a topic that is compacted, one that `needs_forks` only where topics are forked.
    """

    strike: Fault
    weight: float = 1.0
    targets: Callable[[Topology], Sequence[int]] = Topology.node_ids
    needs_snapshots: bool = False
    needs_compaction: bool = False
    needs_forks: bool = False

    @property
    def is_rarely_possible(self) -> bool:
        return self.needs_compaction or self.needs_forks


KINDS: dict[str, FaultKind] = {
    "kill": FaultKind(process_faults.kill),
    "kill of all": FaultKind(process_faults.kill_of_all, 0.5),
    "power loss": FaultKind(process_faults.power_loss),
    "power loss of all": FaultKind(process_faults.power_loss_of_all, 0.5),
    "torn tails": FaultKind(torn.torn_tails, 0.7),
    "pause": FaultKind(process_faults.pause),
    "stop": FaultKind(process_faults.stop, 0.7),
    "rolling restart": FaultKind(process_faults.rolling_restart, 0.2),
    "clock jump": FaultKind(process_faults.clock_jump),
    "clock skew": FaultKind(process_faults.clock_skew, 0.5),
    "clock drift": FaultKind(process_faults.clock_drift, 0.5),
    "isolation": FaultKind(link_faults.isolation),
    "one-way cut": FaultKind(link_faults.one_way_cut),
    "pair cut": FaultKind(link_faults.pair_cut),
    "halves": FaultKind(link_faults.halves),
    "bridge": FaultKind(link_faults.bridge),
    "majority ring": FaultKind(link_faults.majority_ring),
    "reset": FaultKind(link_faults.reset),
    "refused connections": FaultKind(link_faults.refused_connections),
    "bad weather": FaultKind(link_faults.bad_weather),
    "throttled links": FaultKind(link_faults.throttled_links),
    "slow disk": FaultKind(disk_faults.slow_disk),
    "hanging disk": FaultKind(disk_faults.hanging_disk),
    "full disk": FaultKind(disk_faults.full_disk, 0.7),
    "nearly full disk": FaultKind(disk_faults.nearly_full_disk, 1.0, disk_faults.hold_logs),
    "failing sync": FaultKind(disk_faults.failing_sync, 0.7),
    "failing write": FaultKind(disk_faults.failing_write, 0.7),
    "failing directory": FaultKind(disk_faults.failing_directory, 1.0, disk_faults.have_several),
    "full directory": FaultKind(disk_faults.full_directory, 1.0, disk_faults.have_several),
    "missing directory": FaultKind(disk_faults.missing_directory, 0.7, disk_faults.have_several),
    "empty directory": FaultKind(disk_faults.empty_directory, 0.5, disk_faults.lose_one),
    "bit rot": FaultKind(damage.bit_rot, 0.7, damage.may_rot),
    "rot while it runs": FaultKind(damage.rot_while_it_runs, 1.0, damage.may_rot),
    "lost file": FaultKind(damage.lost_file, 0.7),
    "empty disk": FaultKind(damage.empty_disk, 0.5, damage.may_be_emptied),
    "lost metadata": FaultKind(damage.lost_metadata, 0.3, damage.may_forget),
    "rotten snapshot": FaultKind(damage.rotten_snapshot, 1.0, damage.may_forget, needs_snapshots=True),
    "change of voters": FaultKind(membership.change_of_voters, 0.5, membership.may_lose_its_vote),
    **{
        f"{how} {moment.value}": FaultKind(
            death_at(moment, power=how == "power loss"),
            needs_snapshots=moment is Moment.SNAPSHOT,
            needs_compaction=moment is Moment.SWAP,
            needs_forks=moment is Moment.LINK,
        )
        for how in ("kill", "power loss")
        for moment in Moment
    },
}


def kind_named(name: str) -> FaultKind:
    """Raises ConfigurationError, listing what there is, for a name that is none."""
    kind = KINDS.get(name)
    if kind is None:
        raise ConfigurationError(f"there is no fault {name!r}; there are: {', '.join(sorted(KINDS))}")
    return kind
