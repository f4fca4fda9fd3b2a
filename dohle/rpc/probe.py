"""The probe: what became of the process behind a broken connection.

Only two answers prove that it is gone: its machine refuses connections, three times in a row, or another incarnation
answers at its address. Silence, resets and time-outs prove nothing.
"""

from __future__ import annotations

import enum

from dohle.model.errors import DohleError, NetworkException
from dohle.model.ids import IncarnationId
from dohle.rpc.methods import methods_of
from dohle.rpc.node_service import NODE
from dohle.rpc.v1 import node_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.network import Address, Dial, Lane, Network

REFUSALS = 3
PAUSE_S = 0.03
"""Three refusals come within 100 ms."""
ATTEMPTS = 16
"""Enough to outlast the pause of a connection that makes itself anew."""
ANSWER_S = 1.0

_IDENTIFY = methods_of(NODE)["Identify"]


class Verdict(enum.Enum):
    """What a probe found."""

    GONE = "gone"
    REPLACED = "replaced"
    ALIVE = "alive"
    SILENT = "silent"  # proves nothing

    @property
    def proves_end(self) -> bool:
        """The incarnation that was asked for has certainly ended."""
        return self in (Verdict.GONE, Verdict.REPLACED)


async def probe(network: Network, clock: Clock, address: Address, incarnation_id: IncarnationId) -> Verdict:
    """Returns what became of `incarnation_id`, which listened at `address`."""
    refusals = 0
    for _ in range(ATTEMPTS):
        match await network.dial(address, timeout_s=ANSWER_S):
            case Dial.SILENT:
                return Verdict.SILENT
            case Dial.REFUSED:
                refusals += 1
                if refusals == REFUSALS:
                    return Verdict.GONE
            case Dial.ACCEPTED:
                refusals = 0
                verdict = await _ask(network, address, incarnation_id)
                if verdict is not None:
                    return verdict
        await clock.sleep(PAUSE_S)
    return Verdict.SILENT


async def _ask(network: Network, address: Address, incarnation_id: IncarnationId) -> Verdict | None:
    """Returns None if the connection broke: the process may be about to end, or the connection about to be remade."""
    try:
        answer: node_pb2.IdentifyResponse = await network.call(
            address, _IDENTIFY, node_pb2.IdentifyRequest(), lane=Lane.CONTROL, timeout_s=ANSWER_S
        )
    except NetworkException:
        return None
    except DohleError:  # a time-out, or something that is no node
        return Verdict.SILENT
    return Verdict.ALIVE if answer.node.incarnation_id == incarnation_id else Verdict.REPLACED
