"""A machine dies at every step of a move between its directories: one whole replica is found, and nothing beside it."""

from __future__ import annotations

import contextlib

import pytest

from dohle.model.errors import DohleError
from dohle.testing.world.disk import Moment
from tests.simulation.mutations.dir_move_scenarios import FIRST, SECOND, moves, target
from tests.simulation.mutations.directory_scenarios import TWO_DISKS, all_in_sync, many_partitions
from tests.simulation.mutations.stage import Stage, scenario_in


class Trap:
    """Ends a node at the `step`th time that `moment` comes after its move has begun, and counts those that came."""

    def __init__(self, stage: Stage, node_id: int, moment: Moment, step: int, *, power: bool) -> None:
        self.passed = 0
        self.node_id = node_id
        self._stage, self._moment, self._step, self._power = stage, moment, step, power
        self._machine = stage.world.machines[node_id]
        self._set()

    def _set(self) -> None:
        self._machine.disk.faults.traps.append((self._moment, self._sprung))

    def _sprung(self) -> None:
        self.passed += any(name != "t-0" for _, name in found(self._stage, self.node_id))
        if self.passed <= self._step:
            self._set()
        elif self._power:
            self._stage.world.lose_power(self.node_id)
        else:
            self._stage.world.kill(self.node_id)

    @property
    def has_struck(self) -> bool:
        return self._machine.process is None

    def remove(self) -> None:
        self._machine.disk.faults.traps.clear()


def found(stage: Stage, node_id: int) -> list[tuple[str, str]]:
    """Returns in which directories anything of the replica is, and by which name."""
    disk = stage.world.machines[node_id].disk
    return [(path, name) for path in (FIRST, SECOND) for name in disk.list(path) if name.startswith("t-0")]


@pytest.mark.parametrize(
    ("moment", "power", "leads"),
    [
        (Moment.SYNC_BEGUN, True, True),
        (Moment.SYNC_DONE, True, False),
        (Moment.RENAME, True, True),
        (Moment.RENAME, False, False),
    ],
)
def test_a_machine_that_dies_at_any_step_of_a_move_comes_back_with_one_replica(moment, power, leads) -> None:
    @scenario_in(TWO_DISKS)
    async def dies_at_each_step(stage: Stage) -> None:
        await many_partitions(stage, partitions=1)
        await stage.written(20)
        for step in range(60):
            node_id = stage.partition().leader if leads else stage.follower()
            disk = stage.world.machines[node_id].disk
            disk.faults.forgetful = power and step % 2 == 0
            path = target(stage, node_id)
            disk.faults.least_sync_s = 0.01  # its first step is not over when it has been asked for
            trap = Trap(stage, node_id, moment, step, power=power)
            with contextlib.suppress(DohleError):  # it may be dead before it answers
                await moves(stage, node_id, path)
            await stage.until(
                lambda trap=trap, node_id=node_id, path=path: (
                    trap.has_struck or found(stage, node_id) == [(path, "t-0")]
                ),
                "it has moved, or died",
            )
            died = trap.has_struck
            trap.remove()
            disk.faults.least_sync_s = 0.0
            if died:
                stage.world.start(node_id)
            await stage.until(lambda node_id=node_id: stage.has_replicas(node_id) and all_in_sync(stage), "all is well")
            assert [name for _, name in found(stage, node_id)] == ["t-0"], (step, found(stage, node_id))
            stage.looks_at_disks()
            await stage.written(5)
            if not died:
                assert step >= 4, "it has died at no step to speak of"
                break
        await stage.compares()

    assert not dies_at_each_step()
