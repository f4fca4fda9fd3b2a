"""Connection: what TCP and HTTP/2 give two processes: two directions, each in order, until it breaks.

Each side learns of a break by itself: the one that breaks it at once, the other when the reset reaches it, or when its
keepalive has gone unanswered for too long. What was under way from the one that broke it and arrives before the reset
is delivered: any prefix of what was sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from dohle.testing.links import Links
from dohle.testing.process_loop import ProcessLoop
from dohle.testing.scheduler import Scheduler

KEEPALIVE_S = 2.5
"""After so long without a word from the far side a connection is given up, as the options of gRPC here have it."""


class Party(Protocol):
    """A process as the network sees it."""

    @property
    def name(self) -> str: ...
    @property
    def machine(self) -> str: ...
    @property
    def loop(self) -> ProcessLoop: ...


class Side:
    """One end of a connection: what is on its way to it, and whom to tell when it breaks."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.broken = False
        self.on_break: dict[int, Callable[[], None]] = {}
        self.last_arrival = 0.0
        self.held: deque[Callable[[], None]] = deque()


class Connection:
    """Between a client's process (side 0) and a server's (side 1)."""

    def __init__(self, scheduler: Scheduler, links: Links, client: Party, server: Party) -> None:
        self.sides = (Side(client), Side(server))
        self._scheduler = scheduler
        self._links = links
        self._unheard = 0

    @property
    def broken(self) -> bool:
        return self.sides[0].broken or self.sides[1].broken

    def transmit(self, target: int, deliver: Callable[[], None], *, in_order: bool = True) -> None:
        """Has `deliver` run in the process of side `target`, after all that was sent there before."""
        here, there = self.sides[1 - target], self.sides[target]
        if here.broken:
            return
        arrival = self._scheduler.now + self._links.delay_s(here.party.machine, there.party.machine)
        if in_order:
            arrival = there.last_arrival = max(arrival, there.last_arrival)
        self._at(there, arrival, lambda: self._arrived(target, deliver))

    def _at(self, side: Side, when: float, work: Callable[[], None]) -> None:
        loop = side.party.loop
        loop.call_later(max(when - self._scheduler.now, 0.0), work)

    def _arrived(self, target: int, deliver: Callable[[], None]) -> None:
        here, there = self.sides[1 - target], self.sides[target]
        if there.broken:
            return
        if there.held or not self._links.passes(here.party.machine, there.party.machine):
            there.held.append(deliver)
        else:
            deliver()

    def break_off(self, by: int) -> None:
        """Ends it on side `by`; the far side hears of it if a reset can reach it."""
        far = self.sides[1 - by]
        delay = self._links.delay_s(self.sides[by].party.machine, far.party.machine)
        self._break(by)
        self._at(far, max(self._scheduler.now + delay, far.last_arrival), lambda: self._reset_arrived(1 - by))

    def _reset_arrived(self, at: int) -> None:
        if self._links.passes(self.sides[1 - at].party.machine, self.sides[at].party.machine):
            self._break(at)

    def _break(self, at: int) -> None:
        side = self.sides[at]
        if side.broken:
            return
        side.broken = True
        side.held.clear()
        watchers, side.on_break = list(side.on_break.values()), {}
        for tell in watchers:
            tell()

    def world_changed(self) -> None:
        """Links were cut or mended, a process was paused or went on: what was held up goes on, keepalives begin."""
        for target in (0, 1):
            here, there = self.sides[1 - target], self.sides[target]
            if there.held and self._links.passes(here.party.machine, there.party.machine):
                there.party.loop.call_soon(self._release, target)
        if self._reachable():
            self._unheard = 0
        elif not self._unheard:
            self._unheard = self._scheduler.serial()
            for at in (0, 1):
                patience = self._scheduler.now + KEEPALIVE_S
                self._at(self.sides[at], patience, lambda at=at, since=self._unheard: self._lost_patience(at, since))

    def _release(self, target: int) -> None:
        here, there = self.sides[1 - target], self.sides[target]
        while there.held and not there.broken and self._links.passes(here.party.machine, there.party.machine):
            there.held.popleft()()

    def _reachable(self) -> bool:
        client, server = self.sides[0].party, self.sides[1].party
        awake = not client.loop.paused and not server.loop.paused
        return awake and self._links.both_ways(client.machine, server.machine)

    def _lost_patience(self, at: int, since: int) -> None:
        if self._unheard == since and not self.broken:
            self.break_off(at)
        elif self._unheard == since:
            self._break(at)
