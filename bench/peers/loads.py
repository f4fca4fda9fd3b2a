"""Runs a load of one client to its end and reads its figures. Throughput counts what topics hold, not what was sent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from bench.peers import asking
from bench.peers.asking import PARTITIONS
from bench.peers.nodes import Peer, bootstrap

_PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How records are produced: their size in bytes, linger in ms, and how many bytes a batch may have."""

    size: int
    linger_ms: int
    batch_bytes: int


BIG = Shape(1000, 5, 1_000_000)
UNLINGERED = Shape(1000, 0, 16_384)
SMALL = Shape(100, 5, 1_000_000)


@dataclass(frozen=True, slots=True)
class Client:
    """`name` is that of the library, `command` what runs its load."""

    name: str
    command: Sequence[str]

    def produced_per_s(
        self, peer: Peer, topic: str, shape: Shape, warm_s: float, seconds: float, records: int = 0
    ) -> float:
        """Returns records a second, by the end offsets of a topic that was empty."""
        said = self.produce(bootstrap(peer), topic, shape, warm_s, seconds, records)
        there = asking.records_in(peer.port(1), topic)
        if there < said["warm"] + said["records"]:
            raise AssertionError(f"{peer.name} acknowledged {said} to {self.name}, and {topic} holds {there} records")
        return (there - said["warm"]) / said["seconds"]

    def produce(
        self, servers: str, topic: str, shape: Shape, warm_s: float, seconds: float, records: int = 0
    ) -> dict[str, float]:
        what = (shape.size, shape.linger_ms, shape.batch_bytes, warm_s, seconds, records)
        return self._run("produce", servers, topic, *what)

    def rate(self, servers: str, topic: str, per_s: int, *, in_turn: bool, warm_s: float, seconds: float) -> Rate:
        """1 KB records at a fixed rate, no linger; to the partitions in turn, or as the client chooses."""
        said = self._run("rate", servers, topic, 1000, per_s, PARTITIONS if in_turn else 0, warm_s, seconds)
        return Rate(said["p50_ms"], said["p99_ms"], said["longest_gap_s"], int(said["failed"]))

    def consumed_mb_per_s(self, servers: str, topic: str, records: int) -> float:
        """The first so many records of all partitions, from offset 0 on."""
        said = self._run("consume", servers, topic, PARTITIONS, records)
        return said["bytes"] / 1e6 / said["seconds"]

    def _run(self, *arguments: object) -> dict[str, float]:
        done = subprocess.run(
            [*self.command, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
        if done.returncode:
            raise AssertionError(f"{self.name} failed at {' '.join(map(str, arguments))}:\n{done.stderr[-2000:]}")
        said: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return said


@dataclass(frozen=True, slots=True)
class Rate:
    """Latencies are from when a record was due to its acknowledgement."""

    p50_ms: float
    p99_ms: float
    longest_gap_s: float
    failed: int
