"""The network in memory with delays, so that what different streams carry overtakes one another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

from dohle.runtime.network import Address, Dial, Lane, Method, Server, Service
from tests.controller.memory_network import MemoryNetwork


class SlowEnd:
    """The calling end of a stream: each message takes up to `slowest_s` either way, in order."""

    def __init__(self, end: Any, random: Random, slowest_s: float) -> None:
        self._end = end
        self._random = random
        self._slowest_s = slowest_s

    async def send(self, message: Any) -> None:
        await asyncio.sleep(self._random.uniform(0, self._slowest_s))
        await self._end.send(message)

    async def receive(self) -> Any:
        message = await self._end.receive()
        await asyncio.sleep(self._random.uniform(0, self._slowest_s))
        return message

    def close(self) -> None:
        self._end.close()


class SlowNetwork:
    def __init__(self, inner: MemoryNetwork, random: Random, slowest_s: float) -> None:
        self._inner = inner
        self._random = random
        self._slowest_s = slowest_s

    async def call(
        self, address: Address, method: Method[Any, Any], request: Any, *, lane: Lane, timeout_s: float
    ) -> Any:
        await asyncio.sleep(self._random.uniform(0, self._slowest_s))
        return await self._inner.call(address, method, request, lane=lane, timeout_s=timeout_s)

    def stream(self, address: Address, method: Method[Any, Any], *, lane: Lane) -> Any:
        return SlowEnd(self._inner.stream(address, method, lane=lane), self._random, self._slowest_s)

    async def dial(self, address: Address, *, timeout_s: float) -> Dial:
        return await self._inner.dial(address, timeout_s=timeout_s)

    async def serve(self, address: Address, services: Sequence[Service], *, listener: str) -> Server:
        return await self._inner.serve(address, services, listener=listener)

    async def close(self) -> None:
        await self._inner.close()
