"""Failed log directories, on the broker that goes on without them: told to the controller, and taken out of service.

The controller's answer is waited for before a replica is made elsewhere (`reported`): at the next start only the
directories that it has as online may speak for what had been made (docs/decisions/0020).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from dohle.broker.controller_client import ControllerClient
from dohle.broker.surroundings import Surroundings
from dohle.model.errors import DohleError
from dohle.rpc.v1 import controller_pb2
from dohle.storage.log_folder import LogFolder

log = logging.getLogger(__name__)

PAUSE_S = 0.5
"""Before a controller that could not take a report is told again."""


class FailedDirs:
    """The directories that have failed since the start; `take_offline` ends the roles of their replicas."""

    def __init__(
        self,
        surroundings: Surroundings,
        controller: ControllerClient,
        broker_epoch: Callable[[], int],
        take_offline: Callable[[LogFolder], Awaitable[None]],
    ) -> None:
        self._surroundings = surroundings
        self._controller = controller
        self._broker_epoch = broker_epoch
        self._take_offline = take_offline
        self._failed: list[LogFolder] = []
        self._told = 0  # how many of them the controller knows of
        self._changed = asyncio.Event()
        self._reported = asyncio.Event()
        self._reported.set()

    def failed(self, folder: LogFolder) -> None:
        self._failed.append(folder)
        self._reported.clear()
        self._changed.set()
        self._surroundings.tasks.spawn(self._end_roles(folder), f"offline {folder.path}")

    async def _end_roles(self, folder: LogFolder) -> None:
        await self._take_offline(folder)

    async def reported(self) -> None:
        """Returns once the controller knows of every failure."""
        await self._reported.wait()

    async def run(self) -> None:
        """Tells the controller, as often as it takes; begins once the broker is registered."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._told < len(self._failed):
                count = len(self._failed)
                try:
                    await self._controller.call("FailLogDirs", self._request(), timeout_s=None)
                except DohleError as error:
                    log.warning("the controller was not told of %d failed directories: %s", count, error)
                    await self._surroundings.clock.sleep(PAUSE_S)
                else:
                    self._told = count
            self._reported.set()

    def _request(self) -> controller_pb2.FailLogDirsRequest:
        return controller_pb2.FailLogDirsRequest(
            broker_id=self._surroundings.me,
            broker_epoch=self._broker_epoch(),
            log_dirs=[folder.directory_id for folder in self._failed],
            replicas=[
                controller_pb2.HeldReplica(
                    topic_id=replica.topic_id,
                    partition=replica.key[1],
                    last_epoch=replica.durable_epoch,
                    durable_end=replica.durable_end,
                )
                for folder in self._failed
                for _, replica in sorted(folder.logs.items())
            ],
        )
