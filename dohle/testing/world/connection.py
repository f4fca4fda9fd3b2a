"""Connection: what TCP and HTTP/2 give two processes: two directions, each in order, until it breaks.

Each side learns of a break by itself: the one that breaks it at once, the other when the reset reaches it, or when its
keepalive has gone unanswered for too long. What was under way from the one that broke it and arrives before the reset
is delivered: any prefix of what was sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from dohle.testing.world.links import MESSAGE_BYTES, Links
from dohle.testing.world.process_loop import ProcessLoop
from dohle.testing.world.scheduler import Scheduler

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
        self.machine = party.machine
        self.broken = False
        self.loop = party.loop
        self.on_break: dict[int, Callable[[], None]] = {}
        self.last_arrival = 0.0
        self.held: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    @property
    def gone(self) -> bool:
        """Whether nobody is there any more who would answer."""
        return self.broken or not self.loop.alive


class Connection:
    """Between a client's process (side 0) and a server's (side 1)."""

    def __init__(self, scheduler: Scheduler, links: Links, client: Party, server: Party) -> None:
        self.sides = (Side(client), Side(server))
        self._scheduler = scheduler
        self._links = links
        self._unheard = 0

    @property
    def over(self) -> bool:
        """Whether both sides have forgotten it."""
        return self.sides[0].gone and self.sides[1].gone

    def transmit(
        self,
        target: int,
        deliver: Callable[..., object],
        args: tuple[Any, ...] = (),
        size_bytes: int = MESSAGE_BYTES,
    ) -> None:
        """Has `deliver(*args)` run when this gets to side `target`, after all that was sent there before.

        It runs as the network and not as the process there, which may be paused: it leaves something and wakes a task.
        """
        here, there = self.sides[1 - target], self.sides[target]
        if here.broken or not here.loop.alive:
            return
        scheduler = self._scheduler
        arrival = scheduler.now + self._links.delay_s(here.machine, there.machine, size_bytes)
        if arrival < there.last_arrival:
            arrival = there.last_arrival
        there.last_arrival = arrival
        scheduler.at(arrival, self._arrived, here, there, deliver, args)

    def _arrived(self, here: Side, there: Side, deliver: Callable[..., object], args: tuple[Any, ...]) -> None:
        if there.broken or not there.loop.alive:
            return
        if there.held or (self._links.hindered and not self._links.passes(here.machine, there.machine)):
            there.held.append((deliver, args))
        else:
            deliver(*args)

    def break_off(self, by: int) -> None:
        """Ends it on side `by`; the far side hears of it as soon as a reset can reach it."""
        self._break(by)
        self.world_changed()

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
        """Links were cut or mended, a process was paused, went on or died: held messages go on, patience begins."""
        for target in (0, 1):
            here, there = self.sides[1 - target], self.sides[target]
            passes = self._links.passes(here.machine, there.machine)
            if there.held and passes:
                there.party.loop.call_soon(self._release, target)
            if here.gone and not there.gone and passes:
                delay = self._links.delay_s(here.machine, there.machine)
                arrival = max(self._scheduler.now + delay, there.last_arrival)
                self._scheduler.at(arrival, there.party.loop.call_soon, self._reset_arrived, target)
        if self._reachable():
            self._unheard = 0
        elif not self._unheard:
            self._unheard = self._scheduler.serial()
            for at in (0, 1):
                patience = self._scheduler.now + KEEPALIVE_S
                loop = self.sides[at].party.loop
                self._scheduler.at(patience, loop.call_soon, self._lost_patience, at, self._unheard)

    def _reset_arrived(self, at: int) -> None:
        if self._links.passes(self.sides[1 - at].machine, self.sides[at].machine):
            self._break(at)

    def _release(self, target: int) -> None:
        here, there = self.sides[1 - target], self.sides[target]
        while there.held and not there.broken and self._links.passes(here.machine, there.machine):
            deliver, args = there.held.popleft()
            deliver(*args)

    def _reachable(self) -> bool:
        if self.sides[0].gone or self.sides[1].gone:
            return False
        client, server = self.sides[0].party, self.sides[1].party
        awake = not client.loop.paused and not server.loop.paused
        return awake and self._links.both_ways(client.machine, server.machine)

    def _lost_patience(self, at: int, since: int) -> None:
        if self._unheard == since:
            self.break_off(at)
