"""MetadataCache: the view of the cluster that a client works with, kept fresh.

One refresh at a time, for everything that is of interest; who asks meanwhile waits for the next one. Nodes of the last
view and bootstrap addresses are asked in turn, each refresh another one: a node that is cut off from the others answers
readily, and does not know that it leads no more. One that did not answer is asked after all others for a second: it is
dialled no more often than that as long as another answers, and as ever when none does. Refreshes that are asked for
keep a growing pause between them; without being asked, one comes every five minutes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from dohle.client.backoff import Backoff
from dohle.client.cluster_view import ClusterView, TopicView
from dohle.client.seams import Seams
from dohle.model.errors import BrokerNotAvailable, DohleError, UnknownTopicOrPartition
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address, Lane
from dohle.runtime.tasks import Tasks

log = logging.getLogger(__name__)

_METADATA: Final = methods_of(broker_pb2.DESCRIPTOR.services_by_name["Broker"])["Metadata"]
_STALE_AFTER_S: Final = 300.0
_TRY_S: Final = 1.0
"""How long one node may take to answer, before the next is asked."""
_DOWN_S: Final = 1.0
"""For how long a node that could not be reached is asked only where no other answers."""
_UNKNOWN_TOPIC_S: Final = 5.0
"""For how long a topic that no broker knows may be on its way: just created, and not yet everywhere."""


class MetadataCache:
    """Follows the cluster for one client. `on_change` is called after each refresh, from the refreshing task."""

    def __init__(
        self,
        bootstrap: Sequence[Address],
        seams: Seams,
        tasks: Tasks,
        on_change: Callable[[ClusterView], None] = lambda _: None,
    ) -> None:
        self.view = ClusterView()
        self._bootstrap = tuple(bootstrap)
        self._seams = seams
        self._tasks = tasks
        self._on_change = on_change
        self._topics: dict[str, None] = {}
        self._line: dict[Address, None] = dict.fromkeys(self._bootstrap)
        self._down_until: dict[Address, float] = {}
        self._requested = asyncio.Event()
        self._refreshed = asyncio.Event()
        self._started = False
        self._failure: DohleError = BrokerNotAvailable("no node was asked yet")

    def request_refresh(self) -> None:
        """Makes the view be refreshed soon: at once, or after a pause if it was just done."""
        if not self._started:
            self._started = True
            self._tasks.spawn(self._run(), "metadata")
        self._requested.set()

    def follow(self, names: Iterable[str]) -> None:
        """Has topics be known soon, if they are there."""
        self._topics.update(dict.fromkeys(names))
        self.request_refresh()

    async def topic(self, name: str, timeout_s: float) -> TopicView:
        """Returns what is known of topic `name`, which is followed from now on.

        Raises UnknownTopicOrPartition, or whatever the brokers say of it; BrokerNotAvailable if none can be reached in
        time.
        """
        clock = self._seams.clock
        deadline = clock.now() + timeout_s
        unknown_until = min(deadline, clock.now() + _UNKNOWN_TOPIC_S)
        self._topics[name] = None
        while (known := self.view.topics.get(name)) is None or name in self.view.failures:
            failure = self.view.failures.get(name)
            if failure is not None and (not failure.retriable or clock.now() >= unknown_until):
                self._topics.pop(name, None)
                raise _unknown_topic(name) if isinstance(failure, UnknownTopicOrPartition) else failure
            if clock.now() >= deadline:
                raise self.unreachable()
            self.request_refresh()
            await self.next_refresh(min(deadline, unknown_until if failure else deadline) - clock.now())
        return known

    def unreachable(self) -> DohleError:
        """Returns what to say when no node could be asked."""
        asked = ", ".join(str(address) for address in self._line)
        return BrokerNotAvailable(f"no node serves at {asked}; is the cluster up? {self._failure.message}")

    async def next_refresh(self, timeout_s: float) -> bool:
        """Waits until the view has been refreshed; False if `timeout_s` passed before."""
        try:
            async with asyncio.timeout(max(timeout_s, 0)):
                await self._refreshed.wait()
        except TimeoutError:
            return False
        return True

    async def any_node(self, timeout_s: float) -> Address:
        """Returns the address of a node that answered just now. Raises BrokerNotAvailable."""
        deadline = self._seams.clock.now() + timeout_s
        while True:
            self.request_refresh()
            if await self.next_refresh(deadline - self._seams.clock.now()):
                return next(iter(self._line))
            if self._seams.clock.now() >= deadline:
                raise self.unreachable()

    async def _run(self) -> None:
        backoff = Backoff(self._seams.random)
        while True:
            try:
                async with asyncio.timeout(_STALE_AFTER_S):
                    await self._requested.wait()
                urgent = True
            except TimeoutError:
                urgent = False
                backoff.reset()
            self._requested.clear()
            if await self._refresh():
                refreshed, self._refreshed = self._refreshed, asyncio.Event()
                refreshed.set()
                self._on_change(self.view)
            else:
                self._requested.set()
            if urgent:
                await self._pause(backoff)

    async def _pause(self, backoff: Backoff) -> None:
        """Keeps refreshes apart; a request that comes only after the pause finds the shortest one again."""
        await self._seams.clock.sleep(backoff.next_s())
        self._to_the_end(next(iter(self._line)))
        if not self._requested.is_set():
            backoff.reset()

    async def _refresh(self) -> bool:
        request = broker_pb2.MetadataRequest(topics=list(self._topics))
        now = self._seams.clock.now()
        for address in [one for one in self._line if now < self._down_until.get(one, now)]:
            self._to_the_end(address)
        for address in list(self._line):
            try:
                answer: Any = await self._seams.network.call(
                    address, _METADATA, request, lane=Lane.CLIENT, timeout_s=_TRY_S
                )
            except DohleError as failure:
                self._failure = failure
                self._to_the_end(address)
                self._down_until[address] = self._seams.clock.now() + _DOWN_S
                continue
            self._down_until.pop(address, None)
            self.view = self.view.merged(answer)
            self._renew_line()
            return True
        log.debug("no node answered a metadata request: %s", self._failure)
        return False

    def _to_the_end(self, address: Address) -> None:
        self._line.pop(address)
        self._line[address] = None

    def _renew_line(self) -> None:
        nodes = dict.fromkeys(self.view.nodes[node] for node in sorted(self.view.nodes))
        current = nodes | dict.fromkeys(self._bootstrap)
        self._line = {address: None for address in self._line if address in current} | current
        self._down_until = {address: until for address, until in self._down_until.items() if address in current}


def _unknown_topic(name: str) -> UnknownTopicOrPartition:
    return UnknownTopicOrPartition(f"topic {name!r} does not exist; create it with `dohle topic create {name}`")
