"""Aimed deaths: by kill or loss of power, of one node or of all, at a moment of a disk's life that is worth it.

A trap waits for its moment at the node that the plan names, or where moments are rare, at all nodes, for the first to
reach it; a moment that does not come is not waited for without end. Elections are helped along by the death of the
active controller, truncations by cutting the node off for a while.
"""

from __future__ import annotations

import asyncio

from dohle.testing.faults.blow import Blow, Fault
from dohle.testing.faults.process_faults import return_one_by_one
from dohle.testing.world.disk import Moment

_PATIENCE_S = 10.0
_STEPS = {Moment.SWAP: 12, Moment.LINK: 40}
"""How often a moment comes, about, while what it belongs to is under way."""
_LOOK_S = 0.5
"""How long the storm may be over before that is noticed."""
_ANYWHERE = (Moment.TRUNCATION, Moment.VOTE, Moment.ROLL, Moment.SNAPSHOT, Moment.SWAP, Moment.LINK)
_SHARE_OF_ALL = 0.3
_CUT_OFF_STEPS = 45
"""Tenths of a second: longer than a session."""


def death_at(moment: Moment, *, power: bool) -> Fault:
    """Returns the fault that ends a node, or all of them, at `moment`."""

    async def strike(blow: Blow) -> None:
        everyone = blow.chance.random() < _SHARE_OF_ALL
        struck: list[int] = []
        sprung = asyncio.Event()
        steps = blow.chance.randrange(_STEPS[moment]) if moment in _STEPS else 0

        def spring(node_id: int, how: str = "it comes") -> None:
            if not struck and not blow.over and blow.world.machines[node_id].process is not None:
                struck.extend(blow.running() if everyone else [node_id])
                blow.strikes(f"{how} at node {node_id}{', of all' if everyone else ''}")
                blow.end(*struck, power=power)
                sprung.set()

        def step(node_id: int) -> None:
            nonlocal steps
            steps -= 1
            if steps < 0:
                spring(node_id)
            else:
                blow.world.machines[node_id].disk.faults.traps.append(traps[node_id])

        traps = {
            node_id: (moment, lambda node_id=node_id: step(node_id))
            for node_id in (blow.world.machines if moment in _ANYWHERE else [blow.node_id])
        }
        for node_id, trap in traps.items():
            blow.world.machines[node_id].disk.faults.traps.append(trap)
        if moment is Moment.VOTE:
            await _call_an_election(blow)
        elif moment is Moment.TRUNCATION:
            await _call_a_truncation(blow, struck)
        waited = 0.0
        while not struck and waited < _PATIENCE_S and not blow.over:
            await blow.world.clock.wait(sprung, _LOOK_S)
            sprung.clear()  # a wait that runs out sets it too
            waited += _LOOK_S
        for node_id, trap in traps.items():
            faults = blow.world.machines[node_id].disk.faults
            faults.traps = [other for other in faults.traps if other is not trap]
        spring(blow.node_id, "its moment did not come")
        await return_one_by_one(blow, struck)

    return strike


async def _call_an_election(blow: Blow) -> None:
    active = blow.active_controllers()
    blow.end(*active, power=False)
    await blow.pause(0.5)
    blow.start(*active)


async def _call_a_truncation(blow: Blow, struck: list[int]) -> None:
    """Cuts a node off until others lead what it led: what it appended meanwhile has to go."""
    me = blow.name_of(blow.node_id)
    ways = [way for other in blow.others() for way in ((me, blow.name_of(other)), (blow.name_of(other), me))]
    for source, target in ways:
        blow.world.links.cut(source, target)
    for _ in range(_CUT_OFF_STEPS):
        if struck or blow.over:
            break
        await blow.pause(0.1)
    for source, target in ways:
        blow.world.links.mend(source, target)
