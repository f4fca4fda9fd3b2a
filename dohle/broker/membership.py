"""The broker's place in the cluster: its registration, its heartbeats, its controlled shutdown (rules 12, 18)."""

from __future__ import annotations

import asyncio
import logging

from dohle.broker.controller_client import METHODS, ControllerClient
from dohle.broker.surroundings import Surroundings
from dohle.model.errors import (
    BrokerIdNotRegistered,
    BrokerNotAvailable,
    DohleError,
    DuplicateBrokerRegistration,
    NetworkException,
    NotController,
    RequestTimedOut,
    StaleBrokerEpoch,
    StorageFailure,
    UnknownServerError,
    error_for,
)
from dohle.model.ids import NodeId
from dohle.rpc.v1 import controller_pb2
from dohle.runtime.network import Lane, Stream
from dohle.runtime.tasks import cancel

log = logging.getLogger(__name__)

ANSWER_S = 2.0
"""After this long without an answer another controller is asked."""
ASSURED_SHARE = 2 / 3
"""For so much of a session after an answer nobody else can have been made leader in this broker's place."""
SETTLED_BEATS = 6
"""How many heartbeats fit into a session while the broker is unfenced and wants nothing; a process that ends is found
by its connections, so more would find nothing sooner."""
SHUTDOWN_S = 5.0
SHUTDOWN_ALONE_S = 1.0
"""How long a controlled shutdown waits, with a controller and without one (amendment 9)."""
SHUTDOWN_FENCING_S = 0.3
"""How long a broker that has handed everything over waits to be fenced."""
PROBE_S = 1.0
"""How long the controller's probe of a process that may still live takes at most."""

HeartbeatStream = Stream[controller_pb2.HeartbeatRequest, controller_pb2.HeartbeatResponse]


class Membership:
    """Registration and session of one incarnation. `metadata_offset` is up to where its image reaches."""

    def __init__(
        self,
        surroundings: Surroundings,
        controller: ControllerClient,
        heartbeat_interval_s: float,
        session_timeout_s: float,
    ) -> None:
        self.broker_epoch = -1
        self.metadata_offset = 0
        self.fenced = True
        self.serving = asyncio.Event()  # set from the first unfencing on
        self._surroundings = surroundings
        self._controller = controller
        self._interval_s = heartbeat_interval_s
        self._session_timeout_s = session_timeout_s
        self._ready = False
        self._leaving = False
        self._may_leave = asyncio.Event()
        self._is_fenced = asyncio.Event()
        self._beat_now = asyncio.Event()
        self._answered = -1.0  # when a controller last answered
        self._failure: DohleError | None = None  # what ended the heartbeat stream
        self._is_heard = False  # on the heartbeat stream that there is
        self._heard = asyncio.Event()

    async def register(self, request: controller_pb2.RegisterBrokerRequest, *, timeout_s: float | None) -> int:
        """Returns the broker epoch. Raises what the controller objects to, RequestTimedOut without a controller.

        Asks again while the process that was registered before may live: for as long as it is silent, and where it
        answers, for as long as a session lasts, since it may be this node's last start, about to end.
        """
        patient_until = self._surroundings.clock.now() + self._session_timeout_s + PROBE_S
        while True:
            try:
                response = await self._controller.call("RegisterBroker", request, timeout_s=timeout_s)
                break
            except DuplicateBrokerRegistration as error:
                if self._surroundings.clock.now() >= patient_until:
                    raise
                log.warning("not registered yet: %s", error.message)
            except BrokerNotAvailable as error:
                log.warning("not registered yet: %s", error.message)
            except (StorageFailure, UnknownServerError) as error:  # of the controller's, which another may not have
                log.warning("not registered yet: the controller answers %s", error.message)
            await self._surroundings.clock.sleep(PROBE_S / 2)
        self.broker_epoch = response.broker_epoch
        log.info("registered with broker epoch %d", self.broker_epoch)
        return self.broker_epoch

    @property
    def node_id(self) -> NodeId:
        return self._surroundings.me

    @property
    def in_doubt(self) -> bool:
        """Whether no controller has answered for longer than a session: others may lead what this broker leads."""
        return self.unanswered_s > max(self._session_timeout_s, ANSWER_S)

    @property
    def is_assured(self) -> bool:
        """Whether a controller has told lately, and by the connection that there is, that the session holds."""
        return self._is_heard and not self.fenced and self.unanswered_s <= self._session_timeout_s * ASSURED_SHARE

    async def assured(self, within_s: float) -> bool:
        """Waits until `is_assured`; returns False if it is not by then."""
        try:
            async with asyncio.timeout(within_s):
                while not self.is_assured:
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            return False
        return True

    @property
    def unanswered_s(self) -> float:
        """For how long no controller has answered a heartbeat; not every one is."""
        return self._surroundings.clock.now() - self._answered

    def ready(self) -> None:
        """The replicas are what the image says: from now on the controller is asked to unfence."""
        self._ready = True
        self._beat_now.set()

    async def run(self) -> None:
        """Keeps the session; raises only if another process has taken this node's place."""
        failures = 0
        while True:
            node_id, address = self._controller.believed
            answered = self._answered
            try:
                await self._controller.reach(node_id)
                stream = self._surroundings.network.stream(address, METHODS["Heartbeat"], lane=Lane.CONTROL)
                try:
                    await self._session(stream)
                finally:
                    stream.close()
            except BrokerIdNotRegistered as error:
                raise DohleError(
                    f"broker {self._surroundings.me} was taken out of the cluster while it was away; started again it"
                    f" joins as an empty one: {error.message}"
                ) from error
            except StaleBrokerEpoch as error:
                raise DohleError(
                    f"node {self._surroundings.me} lost its registration to another process with the same node id:"
                    f" {error.message}; give each node its own id"
                ) from error
            except (NotController, NetworkException, RequestTimedOut, StorageFailure, UnknownServerError) as error:
                log.debug("heartbeats to node %d: %s", node_id, error.message)
                self._controller.failed(node_id, error)
            failures = 1 if self._answered > answered else failures + 1
            await self._controller.pause(failures)

    async def _session(self, stream: HeartbeatStream) -> None:
        """Beats, more rarely while there is nothing to ask for; not every beat is answered: idle clusters are quiet."""
        first, began = True, self._surroundings.clock.now()
        self._failure = None
        listening = self._surroundings.tasks.spawn(self._listen(stream), "heartbeat answers")
        try:
            while self._failure is None:
                if self._surroundings.clock.now() - max(began, self._answered) > ANSWER_S:
                    raise RequestTimedOut(f"no answer to heartbeats within {ANSWER_S} s")
                self._beat_now.clear()
                await stream.send(
                    controller_pb2.HeartbeatRequest(
                        hello=self._surroundings.identity.hello() if first else None,
                        broker_epoch=self.broker_epoch,
                        metadata_offset=self.metadata_offset,
                        wants_fence=not self._ready,
                        wants_shutdown=self._leaving,
                    )
                )
                first = False
                await self._surroundings.clock.wait(self._beat_now, self._pause_s())
            raise self._failure
        finally:
            self._is_heard = False
            await cancel(listening)

    def _pause_s(self) -> float:
        settled = self._ready and not self.fenced and not self._leaving
        return max(self._interval_s, self._session_timeout_s / SETTLED_BEATS) if settled else self._interval_s

    async def _listen(self, stream: HeartbeatStream) -> None:
        """Takes answers until the stream ends; why it did ends the session at once."""
        try:
            while (response := await stream.receive()) is not None:
                self._take(response)
            self._failure = NetworkException("the controller ended the heartbeats")
        except DohleError as error:
            self._failure = error
        self._beat_now.set()

    def _take(self, response: controller_pb2.HeartbeatResponse) -> None:
        if response.failure.code:
            self._controller.learn(response.leader_id)
            raise error_for(response.failure.code, response.failure.message)
        self._answered = self._surroundings.clock.now()
        self._is_heard = True
        self._heard.set()
        if response.fenced != self.fenced:
            log.info("this broker is %s", "fenced" if response.fenced else "unfenced")
        self.fenced = response.fenced
        if response.fenced:
            self._is_fenced.set()
        else:
            self._is_fenced.clear()
            self.serving.set()
        if response.may_shut_down:
            self._may_leave.set()

    async def leave(self) -> None:
        """Asks to hand everything over, and returns once it has been, or when waiting longer makes no sense.

        Then asks to be fenced, so that nobody has to find out that this process has ended.
        """
        self._leaving = True
        self._beat_now.set()
        started = self._surroundings.clock.now()
        while not self._may_leave.is_set():
            waited = self._surroundings.clock.now() - started
            alone = self._answered < started and waited >= SHUTDOWN_ALONE_S
            if alone or waited >= SHUTDOWN_S:
                log.warning("controlled shutdown was not finished after %.1f s; stopping all the same", waited)
                return
            await _set_within(self._may_leave, 0.1)
        self._ready = False
        self._beat_now.set()
        await _set_within(self._is_fenced, SHUTDOWN_FENCING_S)


async def _set_within(event: asyncio.Event, timeout_s: float) -> None:
    """Returns when `event` is set, or after that time."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
