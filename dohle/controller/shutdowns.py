"""Shutdowns: has others lead what brokers lead that are about to stop, so that nobody waits for them (amended rule 9).

Begun by the first heartbeat that asks for it, and carried on beside all that follow; a broker may stop once the last
step of its own is committed, and stops in any case when its patience is over. A controller that loses its office leaves
the rest to the next one, to which the broker says the same. That a broker was emptied stays true for as long as its
registration does, whoever decides, so it is not forgotten.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from dohle.controller.brokers import ShutdownSteps
from dohle.controller.controller import Controller
from dohle.controller.decision import MOST_CHANGES
from dohle.model.errors import DohleError
from dohle.model.ids import NodeId
from dohle.runtime.tasks import Tasks


@dataclass(slots=True)
class _Shutdown:
    """One registration's."""

    broker_epoch: int
    over: asyncio.Event = field(default_factory=asyncio.Event)
    emptied: bool = False  # else it was given up, if it is over


class Shutdowns:
    """At most one of each broker. They run as `tasks`."""

    def __init__(self, controller: Controller, tasks: Tasks) -> None:
        self._controller = controller
        self._tasks = tasks
        self._shutdowns: dict[NodeId, _Shutdown] = {}

    async def emptied(self, node_id: NodeId, broker_epoch: int) -> bool:
        """Returns True once this registration leads nothing that another can lead; False where that was given up."""
        shutdown = self._shutdowns.get(node_id)
        if shutdown is None or shutdown.broker_epoch != broker_epoch:
            shutdown = self._shutdowns[node_id] = _Shutdown(broker_epoch)
            self._tasks.spawn(self._empty(node_id, shutdown), f"shutdown-{node_id}")
        await shutdown.over.wait()
        return shutdown.emptied

    async def _empty(self, node_id: NodeId, shutdown: _Shutdown) -> None:
        try:
            image = self._controller.pending
            broker = image.brokers.get(node_id)
            if broker is not None and broker.broker_epoch == shutdown.broker_epoch:
                await self._controller.change(ShutdownSteps(image, broker, MOST_CHANGES).next)
                shutdown.emptied = True
        except DohleError:
            pass  # out of office, or too much waits: the next heartbeat asks again
        finally:
            if not shutdown.emptied and self._shutdowns.get(node_id) is shutdown:
                del self._shutdowns[node_id]
            shutdown.over.set()
