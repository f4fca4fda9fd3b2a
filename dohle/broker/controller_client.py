"""Finding the active controller, and asking it.

Voters are tried in turn, beginning with the one that is believed to be active; NOT_CONTROLLER, a lost connection or a
time-out moves on to the next, with a growing pause once a whole round has failed. A voter that knows of no active
controller answers only when it does, or after a second, so nobody is asked again and again during an election.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

from dohle.model.errors import DohleError, NetworkException, NotController, RequestTimedOut
from dohle.model.ids import NodeId
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import controller_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.network import Address, Dial, Lane, Network

METHODS = methods_of(controller_pb2.DESCRIPTOR.services_by_name["Controller"])

ATTEMPT_S = 2.0
DIAL_S = 1.0
PAUSE_FIRST_S = 0.02
PAUSE_MOST_S = 0.1
"""A broker without a controller learns nothing of new leaders: the price of looking ten times a second is worth it."""


class ControllerClient:
    """The way from one broker to whichever node is the active controller."""

    def __init__(self, voters: Mapping[NodeId, Address], network: Network, clock: Clock, random: random.Random) -> None:
        assert voters, "a broker needs the address of at least one controller"
        self._configured = dict(voters)
        self._voters = dict(sorted(voters.items()))
        self._network = network
        self._clock = clock
        self._random = random
        self._believed = next(iter(self._voters))
        self._unreached: dict[NodeId, None] = dict.fromkeys(self._voters)

    @property
    def voters(self) -> Mapping[NodeId, Address]:
        return self._voters

    @property
    def believed(self) -> tuple[NodeId, Address]:
        """Which voter to ask next."""
        return self._believed, self._voters[self._believed]

    def know(self, voters: Mapping[NodeId, Address]) -> None:
        """These vote by the metadata; those of the configuration stay known, in case that is out of date here."""
        before, self._voters = self._voters, dict(sorted({**self._configured, **voters}.items()))
        self._unreached |= dict.fromkeys(node for node in self._voters if before.get(node) != self._voters[node])
        if self._believed not in self._voters:
            self._believed = next(iter(self._voters))

    def learn(self, node_id: int, address: Address | None = None) -> bool:
        """Takes somebody's word on who is active; returns False if that names no voter.

        With an address it may be one that is not known yet: a broker that starts knows only its configuration.
        """
        if node_id not in self._voters:
            if address is None:
                return False
            self.know({**self._voters, NodeId(node_id): address})
        self._believed = NodeId(node_id)
        return True

    def move_on(self, failed: NodeId) -> None:
        """The next voter's turn, unless somebody has already moved on from `failed`."""
        if self._believed == failed:
            order = list(self._voters)
            self._believed = order[(order.index(failed) + 1) % len(order)]

    async def reach(self, node_id: NodeId) -> None:
        """Raises NetworkException if this voter could not be reached the last time and does not listen now either.

        A call that is refused would make gRPC pause, for up to half a second, while the voter may be there any moment.
        """
        if node_id in self._unreached:
            if await self._network.dial(self._voters[node_id], timeout_s=DIAL_S) is not Dial.ACCEPTED:
                raise NetworkException(f"node {node_id} does not listen at {self._voters[node_id]}")
            self._unreached.pop(node_id, None)

    def failed(self, node_id: NodeId, error: DohleError) -> None:
        """This voter did not help: the next one's turn."""
        if isinstance(error, NetworkException):
            self._unreached[node_id] = None
        self.move_on(node_id)

    async def pause(self, failures: int) -> None:
        """Waits as long as is due after so many failures in a row: not at all within the first round of voters."""
        rounds = failures // len(self._voters)
        longest = min(PAUSE_FIRST_S * 2**rounds, PAUSE_MOST_S)
        await self._clock.sleep(self._random.uniform(longest / 2, longest) if rounds else 0)

    async def ask_each(self, method: str, request: Any, *, timeout_s: float) -> dict[NodeId, Any]:
        """Returns the answers of those voters that give one in time, whoever of them is active."""

        async def ask(node_id: NodeId, address: Address) -> tuple[NodeId, Any]:
            try:
                return node_id, await self._network.call(
                    address, METHODS[method], request, lane=Lane.CONTROL, timeout_s=timeout_s
                )
            except DohleError:
                return node_id, None

        answers = await asyncio.gather(*(ask(node_id, address) for node_id, address in self._voters.items()))
        return {node_id: answer for node_id, answer in answers if answer is not None}

    async def call(
        self,
        method: str,
        request: Any,
        *,
        timeout_s: float | None = None,
        prepare: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> Any:
        """Returns the active controller's answer, or raises the DohleError that it answered with.

        Asks until one answers, and calls `prepare` before each attempt, `on_lost` after one that may have been taken
        and has no answer; with `timeout_s`, raises RequestTimedOut once that has passed without one.
        """
        deadline = None if timeout_s is None else self._clock.now() + timeout_s
        failures = 0
        while True:
            remaining = ATTEMPT_S if deadline is None else deadline - self._clock.now()
            if remaining <= 0:
                raise RequestTimedOut(
                    f"no active controller answered {method} within {timeout_s} s; is a majority of the"
                    f" {len(self._voters)} controllers up?"
                )
            node_id, address = self.believed
            prepare()
            sent = False
            try:
                await self.reach(node_id)
                sent = True
                return await self._network.call(
                    address, METHODS[method], request, lane=Lane.CONTROL, timeout_s=min(ATTEMPT_S, remaining)
                )
            except (NotController, NetworkException, RequestTimedOut) as error:
                self.failed(node_id, error)
                if sent and not error.definite:
                    on_lost()
            failures += 1
            await self.pause(failures)
