"""Links: what lies between machines: delays, losses, and cuts, each way by itself.

A throttled link passes so many bytes a second, one message after the other; how many wait there is up to who sends.

Connections are TCP's: nothing inside one is lost or overtaken, a lost packet is one that comes late, and what was sent
across a cut arrives when the cut is gone, unless somebody gave the connection up before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from random import Random

FAIR_DELAY_S = 0.0005
_RETRANSMISSION_S = 0.2
MESSAGE_BYTES = 200
"""What a message is taken for whose size nobody says."""


@dataclass(slots=True)
class Weather:
    """How the network is at the moment, everywhere."""

    mean_delay_s: float = FAIR_DELAY_S
    loss: float = 0.0


class Links:
    """The links between machines, by their names."""

    def __init__(self, random: Random, now: Callable[[], float]) -> None:
        self.weather = Weather()
        self.on_change: list[Callable[[], None]] = []
        self._random = random
        self._now = now
        self._bytes_per_s: dict[str, float] = {}  # by a machine that is throttled
        self._busy_until: dict[tuple[str, str], float] = {}
        self._detours_s: dict[tuple[str, str], float] = {}
        self._cut: dict[tuple[str, str], None] = {}
        self._silent: dict[str, None] = {}
        self._refusing: dict[str, None] = {}
        self.hindered = False  # something may not pass somewhere

    def delay_s(self, source: str, target: str, size_bytes: int = MESSAGE_BYTES) -> float:
        """Returns how long the next message takes."""
        if source == target:
            return 0.00005
        chance, weather = self._random.random, self.weather
        delay = -log(1.0 - chance()) / (1 / weather.mean_delay_s)  # exponential
        pause = _RETRANSMISSION_S
        while chance() < weather.loss and pause < 2:
            delay += pause
            pause *= 2
        if self._bytes_per_s:
            delay += self._queued_s(source, target, size_bytes)
        if self._detours_s:
            delay += self._detours_s.get((source, target), 0.0)
        return delay

    def _queued_s(self, source: str, target: str, size_bytes: int) -> float:
        """Returns how long a message waits for those before it on a throttled link, and then takes to pass."""
        rates = [self._bytes_per_s[end] for end in (source, target) if end in self._bytes_per_s]
        if not rates:
            return 0.0
        now = self._now()
        free_at = max(self._busy_until.get((source, target), now), now) + size_bytes / min(rates)
        self._busy_until[source, target] = free_at
        return free_at - now

    def throttle(self, machine: str, bytes_per_s: float) -> None:
        """Every link of `machine` passes only so much."""
        self._bytes_per_s[machine] = bytes_per_s

    def unthrottle(self, machine: str) -> None:
        self._bytes_per_s.pop(machine, None)

    def detour(self, source: str, target: str, longer_s: float) -> None:
        """What `source` sends from now on takes so much longer to `target`; it is on its way, and nobody misses it."""
        self._detours_s[source, target] = longer_s

    def passes(self, source: str, target: str) -> bool:
        """Whether what `source` sends reaches `target`."""
        if self._silent and (source in self._silent or target in self._silent):
            return False
        return not self._cut or source == target or (source, target) not in self._cut

    def both_ways(self, one: str, other: str) -> bool:
        return self.passes(one, other) and self.passes(other, one)

    def cut(self, source: str, target: str) -> None:
        """Nothing from `source` reaches `target`."""
        self._cut[source, target] = None
        self._changed()

    def mend(self, source: str, target: str) -> None:
        self._cut.pop((source, target), None)
        self._changed()

    def silence(self, machine: str) -> None:
        """The machine is off: nobody there says so much as that nobody listens."""
        self._silent[machine] = None
        self._changed()

    def speak(self, machine: str) -> None:
        self._silent.pop(machine, None)
        self._changed()

    def refuse(self, machine: str) -> None:
        """New connections to `machine` are refused, as by a firewall, though somebody listens; the open ones stay."""
        self._refusing[machine] = None

    def accept(self, machine: str) -> None:
        self._refusing.pop(machine, None)

    def refuses(self, source: str, target: str) -> bool:
        """Whether `target` turns down whoever comes from `source`; nobody is refused at home."""
        return target in self._refusing and source != target

    def mend_all(self) -> None:
        self._cut.clear()
        self._refusing.clear()
        self._bytes_per_s.clear()
        self._detours_s.clear()
        self.weather.loss, self.weather.mean_delay_s = 0.0, FAIR_DELAY_S
        self._changed()

    def _changed(self) -> None:
        self.hindered = bool(self._cut or self._silent)
        for look in self.on_change:
            look()
