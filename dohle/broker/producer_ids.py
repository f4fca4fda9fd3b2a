"""Producer ids: this broker's block of them, and the next block when it is used up (KIP-730)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dohle.broker.controller_client import ControllerClient
from dohle.model.ids import NodeId
from dohle.rpc.v1 import controller_pb2

TIMEOUT_S = 10.0


class ProducerIds:
    """Hands out ids that no other producer in this cluster has, had or will have."""

    def __init__(self, me: NodeId, broker_epoch: Callable[[], int], controller: ControllerClient) -> None:
        self._me = me
        self._broker_epoch = broker_epoch
        self._controller = controller
        self._next = self._end = 0
        self._refilling = asyncio.Lock()

    async def next(self) -> int:
        """Returns a fresh id. Raises RequestTimedOut while there is no active controller to get a block from."""
        async with self._refilling:
            if self._next == self._end:
                request = controller_pb2.AllocateProducerIdsRequest(
                    broker_id=self._me, broker_epoch=self._broker_epoch()
                )
                block = await self._controller.call("AllocateProducerIds", request, timeout_s=TIMEOUT_S)
                self._next, self._end = block.first_producer_id, block.first_producer_id + block.count
            self._next += 1
            return self._next - 1
