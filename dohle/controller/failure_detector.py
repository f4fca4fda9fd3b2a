"""The failure detector: finds out which brokers are gone, and has them fenced (replication.md, rule 18).

A broker is fenced when its session is over; or early, when its heartbeat stream breaks and a probe proves that its
process is gone: the connection is refused again and again, or another incarnation answers. Silence proves nothing. A
controller that takes office probes every unfenced broker once, since the stream that broke was not its own; those that
are gone are fenced in one batch, since none of them is a member for whom another may leave an ISR. What the quorum has
proven of another voter, the last leader before all, needs no probe. Registrations wait until that is done. Every broker
has a whole session then, less the silence, if its process was the last leader, by which this controller was elected.

One task looks for expired sessions, whatever the number of brokers. It notices by its own lateness when this process
has not run, and gives that time back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from dohle.controller.brokers import FencingSteps
from dohle.controller.controller import Controller
from dohle.controller.decision import MOST_CHANGES, Decision
from dohle.controller.registration import GRPC_LISTENER
from dohle.controller.sessions import Sessions
from dohle.model.errors import BrokerNotAvailable, DohleError, DuplicateBrokerRegistration
from dohle.model.ids import IncarnationId, NodeId
from dohle.model.image import BrokerImage, ClusterImage
from dohle.rpc.probe import Verdict, probe
from dohle.runtime.clock import Clock
from dohle.runtime.network import Address, Network
from dohle.runtime.tasks import OnFailure, Tasks

log = logging.getLogger(__name__)

_LATE_S = 0.1
_OFFICE_PROBES_S = 0.3  # three refusals take a tenth of a second; who is silent for longer delays nobody's fencing


@dataclass(slots=True)
class _OfficeProbes:
    """The probes that this node began together when it took office."""

    left: int
    gone: list[BrokerImage] = field(default_factory=list)
    answered: asyncio.Event = field(default_factory=asyncio.Event)  # all of them
    closed: bool = False  # the batch is made; who is found gone later is fenced alone
    over: asyncio.Event = field(default_factory=asyncio.Event)  # the batch is committed, or never will be

    def add(self, broker: BrokerImage | None) -> None:
        """One probe has ended, and found this broker gone, or nothing."""
        self.gone += [] if broker is None else [broker]
        self.left -= 1
        if not self.left:
            self.answered.set()


class FailureDetector:
    """Watches the brokers while this node is the active controller."""

    def __init__(
        self,
        controller: Controller,
        *,
        clock: Clock,
        network: Network,
        on_failure: OnFailure,
        session_timeout_ms: int = 3000,
    ) -> None:
        self.sessions = Sessions(session_timeout_ms / 1000)
        self._controller = controller
        self._clock = clock
        self._network = network
        self._tasks = Tasks("failure detector", on_failure)
        self._probing: dict[NodeId, None] = {}
        self._office_probes: _OfficeProbes | None = None
        self._closed = False
        controller.on_office(self._office_changed)

    async def start(self) -> None:
        """Begins to watch."""
        self._tasks.spawn(self._watch_sessions(), "sessions")

    async def close(self) -> None:
        """Watches no longer."""
        self._closed = True
        await self._tasks.close()

    def stream_broke(self, node_id: NodeId, incarnation_id: IncarnationId) -> None:
        """The heartbeat stream of this incarnation has ended: asks whether it is still there."""
        if self._closed or not self._controller.is_active or node_id in self._probing:
            return
        broker = self._controller.committed.brokers.get(node_id)
        if broker is not None and broker.incarnation_id == incarnation_id and not broker.fenced:
            self._begin_probe(broker, None)

    async def may_replace(self, node_id: NodeId, incarnation_id: IncarnationId) -> IncarnationId | None:
        """Returns the registered incarnation of `node_id` if this one may take its place; None if there is no other.

        Raises DuplicateBrokerRegistration while the other one is proven alive, BrokerNotAvailable while it is silent
        and not fenced yet: it may be this node's last start, gone with its machine, so asking again helps.
        """
        await self._office_probes_over()
        broker = self._controller.pending.brokers.get(node_id)
        if broker is None or broker.incarnation_id == incarnation_id:
            return None
        verdict = await self._probe(broker)
        if verdict is Verdict.ALIVE:
            raise DuplicateBrokerRegistration(
                f"another process is registered as node {node_id} and {_state_of(verdict)}; give this node an id "
                "of its own, or stop the other one"
            )
        if verdict is Verdict.SILENT and not broker.fenced:
            raise BrokerNotAvailable(
                f"another process is registered as node {node_id} and {_state_of(verdict)}, until its session is over"
            )
        return broker.incarnation_id

    def _office_changed(self) -> None:
        self.sessions.clear()
        self._office_probes = None
        if self._closed or not self._controller.is_active:
            return
        unfenced = [broker for broker in self._controller.committed.brokers_in_order() if not broker.fenced]
        for broker in unfenced:
            self.sessions.begin(broker.node_id, self._clock.now())
        self._count_the_last_leaders_silence(unfenced)
        self._office_probes = probes = _OfficeProbes(left=len(unfenced))
        for broker in unfenced:
            if self._controller.quorum.incarnations.has_ended(broker.node_id, broker.incarnation_id):
                probes.add(broker)
            elif broker.node_id in self._probing:
                probes.add(None)  # since an earlier term of office; it will be fenced alone
            else:
                self._begin_probe(broker, probes)
        if unfenced:
            self._tasks.spawn(self._fence_together(probes), "office")
        else:
            probes.over.set()

    def _count_the_last_leaders_silence(self, brokers: Sequence[BrokerImage]) -> None:
        """Its silence is why this node leads now, and is of the same process as its broker's (decisions/0026)."""
        led = self._controller.quorum.incarnations.last_leader()
        for broker in brokers:
            if led is not None and led[:2] == (broker.node_id, broker.incarnation_id):
                self.sessions.begin_silent(broker.node_id, led[2], self._clock.now())

    async def _office_probes_over(self) -> None:
        probes = self._office_probes
        if probes is not None:
            await probes.over.wait()

    def _begin_probe(self, broker: BrokerImage, together: _OfficeProbes | None) -> None:
        self._probing[broker.node_id] = None
        self._tasks.spawn(self._fence_if_gone(broker, together), f"probe-{broker.node_id}")

    async def _watch_sessions(self) -> None:
        while True:
            before = self._clock.now()
            due = max(self.sessions.next_deadline(before), before)
            await self._clock.sleep(due - before)
            now = self._clock.now()
            if now - due > _LATE_S:
                self.sessions.forgive(now - due, now)
                continue
            expired = [
                broker
                for broker in map(self._controller.committed.brokers.get, list(self.sessions.expired(now)))
                if broker is not None
            ]
            if expired:
                await self._fence(expired, f"no heartbeat for {self.sessions.timeout_s:g} s")

    async def _fence_if_gone(self, broker: BrokerImage, together: _OfficeProbes | None) -> None:
        try:
            verdict = await self._probe(broker)
        finally:
            del self._probing[broker.node_id]
        if together is not None and not together.closed:
            together.add(broker if verdict.proves_end else None)
        elif verdict.proves_end:
            await self._fence_early([broker], f"its process {_state_of(verdict)}")

    async def _fence_together(self, probes: _OfficeProbes) -> None:
        try:
            async with asyncio.timeout(_OFFICE_PROBES_S):
                await probes.answered.wait()
        except TimeoutError:
            pass
        probes.closed = True
        try:
            if probes.gone:
                await self._fence_early(probes.gone, "its process is gone, or was replaced by another")
        finally:
            probes.over.set()

    async def _fence_early(self, brokers: Sequence[BrokerImage], why: str) -> None:
        for broker in brokers:
            self.sessions.fenced_early(broker.node_id, broker.broker_epoch, self._clock.now())
        await self._fence(brokers, why)

    async def _fence(self, brokers: Sequence[BrokerImage], why: str) -> None:
        """Fences these registrations; if this node leaves office, the next controller will see to it.

        In several steps where they have many partitions: in one the loops of all nodes would stand still for it, and
        what else is asked of the controller, and its quorum, would wait.
        """
        assert brokers, "nobody is to be fenced"
        steps = FencingSteps(self._controller.committed, brokers, MOST_CHANGES)

        def decide(image: ClusterImage) -> Decision[None]:
            decision = steps.next(image)
            for node_id in steps.current(image):
                self.sessions.end(node_id)
                if not decision.more:
                    log.warning("broker %d is fenced: %s", node_id, why)
            return decision

        try:
            await self._controller.change(decide)
        except DohleError as error:
            if not self._controller.is_active:
                return
            log.warning("brokers %s were not fenced: %s", [broker.node_id for broker in brokers], error.message)
            for broker in brokers:
                self.sessions.begin(broker.node_id, self._clock.now())  # to be looked at again

    async def _probe(self, broker: BrokerImage) -> Verdict:
        endpoint = broker.endpoint(GRPC_LISTENER)
        assert endpoint is not None, f"broker {broker.node_id} was registered without a {GRPC_LISTENER} listener"
        return await probe(self._network, self._clock, Address(endpoint.host, endpoint.port), broker.incarnation_id)


def _state_of(verdict: Verdict) -> str:
    match verdict:
        case Verdict.ALIVE:
            return "answers"
        case Verdict.SILENT:
            return "may still be running"
        case Verdict.GONE:
            return "is gone: nothing listens at its address"
        case Verdict.REPLACED:
            return "was replaced: another process answers at its address"
