"""What a run has measured, and the table of it beside the targets of design.

A figure belongs to a measure, a side (`DOHLE`, `KAFKA`, …) and a client. Of the rounds the median counts, of the
clients the better one. `TARGETS` are what is to be reached now; what is striven for goes beyond them.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

DOHLE, RELAXED, KAFKA, KAFKA_ALIKE, CEILING = "dohle", "dohle relaxed", "kafka", "kafka alike", "ceiling"
"""`KAFKA_ALIKE` gives what Dohle gives by default: an fsync before each acknowledgement, and a session as long."""
NOBODY = "-"
"""The client of what needs none."""
SDK, JAVA, LIBRDKAFKA = "SDK", "Java", "librdkafka"
GROUP_CLIENTS = (JAVA, LIBRDKAFKA)
PROTOCOLS = ("consumer", "classic")


@dataclass(frozen=True, slots=True)
class Measure:
    name: str
    unit: str
    is_higher_better: bool


BIG = Measure("1 KB, linger 5 ms", "MB/s", True)
UNLINGERED = Measure("1 KB, no linger", "MB/s", True)
SMALL = Measure("100 B, linger 5 ms", "records/s", True)
CONSUME = Measure("consume, 1 KB", "MB/s", True)
START = Measure("start to first write", "s", False)
GAP = Measure("gap after kill -9, median", "s", False)
WORST_GAP = Measure("gap after kill -9, worst", "s", False)
IDLE_RSS = Measure("idle node, RSS", "MB", False)
IDLE_CPU = Measure("idle node, CPU", "%", False)


REBALANCE = Measure("11th member joins, interval 5 s", "s", False)
QUICK_REBALANCE = Measure("11th member joins, interval 200 ms", "s", False)
MOVED = Measure("partitions that an 11th member moves, of 66", "partitions", False)
COMMITS = Measure("commits of 50 consumers", "commits/s", True)
HEARTBEATS = Measure("5,000 members that beat, CPU of 3 nodes", "%", False)
IDLE_MEMBERS = Measure("200 idle consumers, CPU of 3 nodes", "%", False)
FIRST_SDK = Measure("first record, SDK", "ms", False)


def first_record(protocol: str, client: str) -> Measure:
    return Measure(f"first record, {protocol}, {client}", "ms", False)


def coordinator_gap(client: str) -> Measure:
    return Measure(f"commits after kill -9, worst, {client}", "s", False)


def p50(per_s: int) -> Measure:
    return Measure(f"p50 at {per_s:,}/s", "ms", False)


def p99(per_s: int) -> Measure:
    return Measure(f"p99 at {per_s:,}/s", "ms", False)


@dataclass(frozen=True, slots=True)
class Best:
    """The median of the client that did best, and the rounds' least and most."""

    value: float
    client: str
    least: float
    most: float


class Figures:
    """All rounds of a run."""

    def __init__(self) -> None:
        self._rounds: dict[tuple[Measure, str, str], list[float]] = {}

    def add(self, measure: Measure, side: str, value: float, client: str = NOBODY) -> None:
        self._rounds.setdefault((measure, side, client), []).append(value)
        print(f"  {measure.name}: {value:.4g} {measure.unit}, {side}, {client}", file=sys.stderr, flush=True)

    def best(self, measure: Measure, side: str) -> Best | None:
        """Returns None where nothing was measured."""
        found = [
            Best(statistics.median(values), client, min(values), max(values))
            for (of, by, client), values in self._rounds.items()
            if of == measure and by == side
        ]
        return (max if measure.is_higher_better else min)(found, key=lambda one: one.value, default=None)

    def as_rows(self) -> list[dict[str, object]]:
        return [
            {"measure": measure.name, "unit": measure.unit, "side": side, "client": client, "rounds": values}
            for (measure, side, client), values in self._rounds.items()
        ]


@dataclass(frozen=True, slots=True)
class Target:
    """What `side` is to reach. `limit` is None where what it depends on was not measured."""

    measure: Measure
    text: str
    limit: Callable[[Figures], float | None]
    side: str = DOHLE


def _times_kafka(measure: Measure, factor: float, side: str = DOHLE) -> Target:
    def limit(figures: Figures) -> float | None:
        kafka = figures.best(measure, KAFKA)
        return None if kafka is None else factor * kafka.value

    return Target(measure, f"{factor:g} x Kafka", limit, side)


def _at_most(measure: Measure, most: float) -> Target:
    return Target(measure, f"{most:g} {measure.unit}", lambda _: most)


def _consume_limit(figures: Figures) -> float | None:
    kafka, ceiling = figures.best(CONSUME, KAFKA), figures.best(CONSUME, CEILING)
    if kafka is None or ceiling is None:
        return None
    return min(1.5 * kafka.value, 0.9 * ceiling.value)


TARGETS: Sequence[Target] = (
    _times_kafka(BIG, 1.0),
    _times_kafka(BIG, 1.3, RELAXED),
    _times_kafka(UNLINGERED, 3.0),
    _times_kafka(SMALL, 1.0),
    *(_at_most(p99(per_s), most) for per_s, most in ((1000, 8), (5000, 12), (10_000, 25))),
    Target(CONSUME, "1.5 x Kafka or 0.9 x ceiling", _consume_limit),
    _at_most(START, 1.5),
    _at_most(WORST_GAP, 0.6),
    _at_most(IDLE_RSS, 70),
    _at_most(IDLE_CPU, 1),
    _at_most(REBALANCE, 5.3),
    _times_kafka(REBALANCE, 1.0),
    _at_most(QUICK_REBALANCE, 0.6),
    _times_kafka(MOVED, 1.0),
    Target(COMMITS, "5,000 commits/s", lambda _: 5000),
    _at_most(HEARTBEATS, 15),
    _times_kafka(IDLE_MEMBERS, 1.0),
    _at_most(FIRST_SDK, 60),
    *(_times_kafka(first_record(protocol, client), 1.1) for protocol in PROTOCOLS for client in GROUP_CLIENTS),
    *(_at_most(coordinator_gap(client), 1) for client in (SDK, JAVA)),
    _times_kafka(coordinator_gap(LIBRDKAFKA), 1.0),
)
COLUMNS = ("MEASURE", "UNIT", "DOHLE", "KAFKA", "X KAFKA", "KAFKA ALIKE", "CLIENT'S CEILING", "TARGET", "REACHED")


def rows(figures: Figures) -> list[tuple[str, ...]]:
    """Returns a row for each target of whose measure anything is known."""
    found: list[tuple[str, ...]] = []
    for target in TARGETS:
        measure = target.measure
        ours, kafka, alike, ceiling = (
            figures.best(measure, side) for side in (target.side, KAFKA, KAFKA_ALIKE, CEILING)
        )
        if ours is None and kafka is None and alike is None and ceiling is None:
            continue
        ratio = "" if ours is None or kafka is None else f"{ours.value / kafka.value:.3g}"
        name = measure.name + (", relaxed" if target.side == RELAXED else "")
        cells = (_cell(ours), _cell(kafka), ratio, _cell(alike), _cell(ceiling))
        found.append((name, measure.unit, *cells, target.text, _reached(ours, target.limit(figures), measure)))
    return found


def _reached(ours: Best | None, limit: float | None, measure: Measure) -> str:
    if ours is None or limit is None:
        return "not known"
    return "yes" if (ours.value >= limit if measure.is_higher_better else ours.value <= limit) else "no"


def _cell(best: Best | None) -> str:
    if best is None:
        return ""
    client = "" if best.client == NOBODY else f" {best.client}"
    spread = "" if best.least == best.most else f" ({best.least:,.4g}-{best.most:,.4g})"
    return f"{best.value:,.4g}{spread}{client}"
