"""The broker's place in the cluster: its registration, its heartbeats, its controlled shutdown (rules 12, 18)."""

from __future__ import annotations

import asyncio
import logging

from dohle.broker.controller_client import METHODS, ControllerClient
from dohle.broker.world import World
from dohle.model.errors import (
    BrokerIdNotRegistered,
    DohleError,
    NetworkException,
    NotController,
    RequestTimedOut,
    StaleBrokerEpoch,
    StorageFailure,
    UnknownServerError,
    error_for,
)
from dohle.rpc.v1 import controller_pb2
from dohle.runtime.network import Lane, Stream

log = logging.getLogger(__name__)

ANSWER_S = 2.0
"""After this long without an answer another controller is asked."""
SHUTDOWN_S = 5.0
SHUTDOWN_ALONE_S = 1.0
"""How long a controlled shutdown waits, with a controller and without one (amendment 9)."""

HeartbeatStream = Stream[controller_pb2.HeartbeatRequest, controller_pb2.HeartbeatResponse]


class Membership:
    """Registration and session of one incarnation. `metadata_offset` is up to where its image reaches."""

    def __init__(self, world: World, controller: ControllerClient, heartbeat_interval_s: float) -> None:
        self.broker_epoch = -1
        self.metadata_offset = 0
        self.fenced = True
        self.serving = asyncio.Event()  # set from the first unfencing on
        self._world = world
        self._controller = controller
        self._interval_s = heartbeat_interval_s
        self._ready = False
        self._leaving = False
        self._may_leave = asyncio.Event()
        self._beat_now = asyncio.Event()
        self._answered = -1.0  # when a controller last answered

    async def register(self, request: controller_pb2.RegisterBrokerRequest, *, timeout_s: float | None) -> int:
        """Returns the broker epoch. Raises what the controller objects to, RequestTimedOut without a controller."""
        response = await self._controller.call("RegisterBroker", request, timeout_s=timeout_s)
        self.broker_epoch = response.broker_epoch
        log.info("registered with broker epoch %d", self.broker_epoch)
        return self.broker_epoch

    def ready(self) -> None:
        """The replicas are what the image says: from now on the controller is asked to unfence."""
        self._ready = True
        self._beat_now.set()

    async def run(self) -> None:
        """Keeps the session; raises only if another process has taken this node's place."""
        failures = 0
        while True:
            node_id, address = self._controller.believed
            try:
                stream = self._world.network.stream(address, METHODS["Heartbeat"], lane=Lane.CONTROL)
                try:
                    await self._session(stream)
                finally:
                    stream.close()
            except (StaleBrokerEpoch, BrokerIdNotRegistered) as error:
                raise DohleError(
                    f"node {self._world.me} lost its registration to another process with the same node id:"
                    f" {error.message}; give each node its own id"
                ) from error
            except (NotController, NetworkException, RequestTimedOut, StorageFailure, UnknownServerError) as error:
                log.debug("heartbeats to node %d: %s", node_id, error)
            failures = 1 if self._world.clock.now() - self._answered < ANSWER_S else failures + 1
            self._controller.move_on(node_id)
            await self._controller.pause(failures)

    async def _session(self, stream: HeartbeatStream) -> None:
        first = True
        while True:
            self._beat_now.clear()
            await stream.send(
                controller_pb2.HeartbeatRequest(
                    hello=self._world.identity.hello() if first else None,
                    broker_epoch=self.broker_epoch,
                    metadata_offset=self.metadata_offset,
                    wants_fence=not self._ready,
                    wants_shutdown=self._leaving,
                )
            )
            first = False
            await self._answer(stream)
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._beat_now.wait()
            except TimeoutError:
                pass

    async def _answer(self, stream: HeartbeatStream) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                response = await stream.receive()
        except TimeoutError:
            raise RequestTimedOut(f"no answer to a heartbeat within {ANSWER_S} s") from None
        if response is None:
            raise NetworkException("the controller ended the heartbeats")
        if response.failure.code:
            self._controller.learn(response.leader_id)
            raise error_for(response.failure.code, response.failure.message)
        self._answered = self._world.clock.now()
        if response.fenced != self.fenced:
            log.info("this broker is %s", "fenced" if response.fenced else "unfenced")
        self.fenced = response.fenced
        if not response.fenced:
            self.serving.set()
        if response.may_shut_down:
            self._may_leave.set()

    async def leave(self) -> None:
        """Asks to hand everything over, and returns once it has been, or when waiting longer makes no sense."""
        self._leaving = True
        self._beat_now.set()
        started = self._world.clock.now()
        while not self._may_leave.is_set():
            waited = self._world.clock.now() - started
            alone = self._answered < started and waited >= SHUTDOWN_ALONE_S
            if alone or waited >= SHUTDOWN_S:
                log.warning("controlled shutdown was not finished after %.1f s; stopping all the same", waited)
                return
            try:
                async with asyncio.timeout(0.1):
                    await self._may_leave.wait()
            except TimeoutError:
                continue
