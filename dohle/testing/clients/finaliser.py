"""Finaliser: a simulated client that has the newest metadata.version finalised, and asks again until that is done.

Its cluster has nodes of two versions, which are upgraded as they start again. It is refused while one is left that
counts, and what it asks for is asked for at any moment of a storm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dohle.client.admin import Admin
from dohle.model.errors import DohleError, InvalidUpdateVersion
from dohle.model.metadata import NEWEST_METADATA_VERSION
from dohle.testing.clients.sim_client import SimClient

_REQUEST_TIMEOUT_MS = 8_000
_EVERY_S = 3.0


@dataclass(slots=True)
class Finaliser:
    """`finalised` and `refused` count its answers."""

    client: SimClient
    finalised: int = 0
    refused: int = 0

    async def run(self, over: Callable[[], bool]) -> None:
        async with Admin(self.client.bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS, **self.client.seams) as admin:
            while not over() and not self.finalised:
                try:
                    _, level = await admin.update_features()
                    self.finalised += level == NEWEST_METADATA_VERSION
                except InvalidUpdateVersion:
                    self.refused += 1
                except DohleError as error:
                    if error.definite and not error.retriable:
                        raise
                await self.client.clock.sleep(self.client.random.expovariate(1 / _EVERY_S))
