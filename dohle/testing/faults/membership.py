"""Changes of the voters: no fault, but what an operator does while there are some, and what rules must hold through.

Only controllers that the rest can do without lose their vote, and they get it back: what a storm leaves dead for good
is chosen by the voters that a cluster began with.
"""

from __future__ import annotations

from collections.abc import Sequence

from dohle.controller.part import ControllerPart
from dohle.model.errors import DohleError
from dohle.model.ids import NodeId
from dohle.testing.faults.blow import Blow
from dohle.testing.world.topology import Topology

_LOOK_AGAIN_S = 0.5
_MOST_LOOKS = 20


def may_lose_its_vote(topology: Topology) -> Sequence[int]:
    """Returns the last controllers, as many as may be away."""
    return topology.controllers[len(topology.controllers) - topology.spare_voters :]


async def change_of_voters(blow: Blow) -> None:
    """Takes a vote away, of the active controller too, and gives it back a while later."""
    blow.strikes()
    await _until(blow, votes=False)
    await blow.lasts()
    await _until(blow, votes=True)


async def _until(blow: Blow, *, votes: bool) -> None:
    """Asks whoever is active, again and again, until it is so: during a storm much is refused."""
    for _ in range(_MOST_LOOKS):
        if blow.over:
            return
        for node_id in blow.active_controllers():
            process = blow.world.machines[node_id].process
            assert process is not None
            assert process.node is not None
            part = process.node.controller
            assert part is not None
            if (blow.node_id in [voter.node_id for voter in part.quorum.voters]) == votes:
                return
            if not process.ending:
                process.spawn(_change(part, NodeId(blow.node_id), votes=votes), "change of voters")
        await blow.pause(_LOOK_AGAIN_S)


async def _change(part: ControllerPart, node_id: NodeId, *, votes: bool) -> None:
    try:
        if votes:
            await part.voter_changes.add(node_id)
        else:
            await part.voter_changes.remove(node_id)
    except DohleError:
        pass  # it is not there, or not now
