"""One leg of the determinism check: a process of its own that runs seeds and prints their trace hashes.

`python -m tests.simulation.legs '{"seeds": [1, 2], "storm_s": 5, "gc": 37, "leak": "clock", "denied": true}'`

What differs between legs is what must not matter: the hash seed and the allocator (the environment), the order of the
seeds, when the garbage collector runs. A leg can plant a leak, as the check's own control, and can refuse all that
reaches past the seams while it runs.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rpds import HashTrieMap

from dohle.broker.broker import Broker
from dohle.testing.campaigns.simulation import simulate

DENIED: frozenset[Callable[..., Any]] = frozenset(
    {time.time, time.time_ns, time.monotonic, time.perf_counter, time.sleep, os.urandom, threading._start_new_thread}  # type: ignore[attr-defined]
)
_EXCUSED = ("logging/__init__.py",)  # a record's time is noted, and never looked at by what is simulated


class _Thing:
    """Hashes by its address."""


def _by_address() -> int:
    things = [_Thing() for _ in range(32)]
    return things.index(next(iter(set(things))))


def _by_hash_seed() -> int:
    names = [f"node{number}" for number in range(32)]
    return names.index(next(iter(set(names))))


def _by_persistent_map() -> int:
    return int(next(iter(HashTrieMap({f"{number}": None for number in range(32)}))))


def _by_clock() -> int:
    return int(time.perf_counter() * 1e6) % 32


LEAKS: dict[str, Callable[[], int]] = {
    "a set of objects": _by_address,
    "a set of texts": _by_hash_seed,
    "a persistent map": _by_persistent_map,
    "the clock": _by_clock,
}


@contextmanager
def planted(leak: str | None) -> Iterator[None]:
    """Has every broker's tick wait for as long as something says that a run must not depend on."""
    if leak is None:
        yield
        return
    tick, chosen = Broker._tick, LEAKS[leak]

    async def leaking(broker: Broker) -> None:
        await broker._surroundings.clock.sleep(chosen() / 1e6)
        await tick(broker)

    Broker._tick = leaking  # type: ignore[method-assign]
    try:
        yield
    finally:
        Broker._tick = tick  # type: ignore[method-assign]


@contextmanager
def denying(denied: bool) -> Iterator[None]:
    """Raises in whoever reads a clock, draws from a global source of chance, or starts a thread."""

    def look(frame: types.FrameType, event: str, called: Any) -> None:
        if event != "c_call" or frame.f_code.co_filename.endswith(_EXCUSED):
            return
        is_global_chance = getattr(called, "__self__", None) is random._inst  # type: ignore[attr-defined]
        if is_global_chance or (isinstance(called, types.BuiltinFunctionType) and called in DENIED):
            raise AssertionError(f"{frame.f_code.co_filename}:{frame.f_lineno} calls {called.__name__}")

    sys.setprofile(look if denied else None)
    try:
        yield
    finally:
        sys.setprofile(None)


def hashes(leg: dict[str, Any]) -> dict[int, str]:
    """Runs a leg. Raises AssertionError for a call that is denied, or a violation."""
    if leg.get("gc") == "off":
        gc.disable()
    elif leg.get("gc"):
        gc.set_threshold(leg["gc"])
    found: dict[int, str] = {}
    with planted(leg.get("leak")), denying(bool(leg.get("denied"))):
        for seed in leg["seeds"]:
            outcome = simulate(seed, storm_s=leg["storm_s"])
            assert not outcome.violations, outcome.violations
            found[seed] = outcome.trace_hash
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(hashes(json.loads(sys.argv[1]))))
