"""The parts of a comparison: each takes rounds in which all sides have their turn, in another order each time."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

from bench.measures import cpu_s, rss_mb
from bench.peers import asking, figures, groups, loads, nodes
from bench.peers.figures import CEILING, DOHLE, KAFKA, KAFKA_ALIKE, RELAXED, Figures, Measure
from bench.peers.loads import Client, Shape
from bench.peers.nodes import DURABLE, NODES, Peer
from dohle.cluster.config import NodeConfig
from dohle.cluster.local import free_base_port

PRODUCED: Sequence[tuple[Measure, Shape, Sequence[str]]] = (
    (figures.BIG, loads.BIG, (KAFKA, DOHLE, KAFKA_ALIKE, RELAXED)),
    (figures.UNLINGERED, loads.UNLINGERED, (KAFKA, DOHLE, KAFKA_ALIKE)),
    (figures.SMALL, loads.SMALL, (KAFKA, DOHLE, KAFKA_ALIKE)),
)
RATES = (1000, 5000, 10_000)
_FLUSH = {KAFKA: nodes.RELAXED, KAFKA_ALIKE: DURABLE, DOHLE: DURABLE, RELAXED: nodes.RELAXED}
_GAP_S = 20.0
_GAP_WARM_S = 2.0
_GAP_PER_S = 1000
_KILL_AFTER = 4000
"""Records: how long a client takes to start does not count."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: `seconds` of each load in each of so many rounds, after `warm_s` of it. Both peers are
    warmed up by `warm_up` records before. `idle_s` is how long nodes are watched that nobody asks much. `beating` and
    `waiting` are members of groups: those that only send heartbeats, and those that also wait for records."""

    rounds: int = 5
    seconds: float = 5.0
    warm_s: float = 2.0
    warm_up: int = 3_000_000
    idle_s: float = 20.0
    beating: int = 5000
    waiting: int = 200


SMOKE = Size(rounds=1, seconds=1.0, warm_s=0.3, warm_up=9000, idle_s=2.0, beating=300, waiting=10)


class Comparison:
    """One run. Its nodes live until its end, or until a part closes them."""

    def __init__(self, clients: Sequence[Client], size: Size) -> None:
        self.figures = Figures()
        self.size = size
        self.clients = clients
        self._nodes = contextlib.ExitStack()
        self._pair: dict[str, Peer] | None = None
        self._topics = 0

    def close(self) -> None:
        """Ends all nodes and removes their folders."""
        self._pair = None
        self._nodes.close()

    def pair(self) -> dict[str, Peer]:
        """Returns both peers by side, started and warmed up with first use."""
        if self._pair is None:
            kafka, dohle = self._started_pair()
            for peer in (kafka, dohle):
                self._warm_up(peer)
            self._pair = {KAFKA: kafka, KAFKA_ALIKE: kafka, DOHLE: dohle, RELAXED: dohle}
        return self._pair

    def _started_pair(self) -> tuple[Peer, Peer]:
        kafka = self._nodes.enter_context(nodes.kafka())
        nodes.start_all(kafka)
        dohle = self._nodes.enter_context(nodes.dohle())
        nodes.start_all(dohle)
        return kafka, dohle

    def _warm_up(self, peer: Peer) -> None:
        for _, shape, _ in PRODUCED:
            with self._topic(peer, nodes.RELAXED) as topic:
                self.clients[0].produced_per_s(peer, topic, shape, 0.0, 0.0, self.size.warm_up // len(PRODUCED))

    @contextlib.contextmanager
    def _topic(self, peer: Peer, flush: str) -> Iterator[str]:
        self._topics += 1
        with nodes.topic(peer, f"peers-{self._topics}", flush) as topic:
            yield topic

    def _turns(self, sides: Sequence[str]) -> Iterator[tuple[Client, str, Peer]]:
        """Every side with every client, each round; another side begins each time."""
        pair = self.pair()
        for turn in range(self.size.rounds):
            first = turn % len(sides)
            for client in self.clients:
                for side in (*sides[first:], *sides[:first]):
                    yield client, side, pair[side]

    def throughput(self) -> None:
        for measure, shape, sides in PRODUCED:
            for client, side, peer in self._turns(sides):
                with self._topic(peer, _FLUSH[side]) as topic:
                    per_s = client.produced_per_s(peer, topic, shape, self.size.warm_s, self.size.seconds)
                self.figures.add(measure, side, _in_unit(measure, per_s, shape), client.name)

    def latency(self) -> None:
        for per_s in RATES:
            for client, side, peer in self._turns((KAFKA, DOHLE, KAFKA_ALIKE)):
                with self._topic(peer, _FLUSH[side]) as topic:
                    taken = client.rate(
                        nodes.bootstrap(peer),
                        topic,
                        per_s,
                        in_turn=False,
                        warm_s=self.size.warm_s,
                        seconds=self.size.seconds,
                    )
                _no_failure(taken, side)
                self.figures.add(figures.p50(per_s), side, taken.p50_ms, client.name)
                self.figures.add(figures.p99(per_s), side, taken.p99_ms, client.name)

    def consume(self) -> None:
        """Everything is in the page cache; each topic was written by the same client."""
        pair, records = self.pair(), max(10_000, round(100_000 * self.size.seconds))
        with contextlib.ExitStack() as topics:
            written = {}
            for side in (KAFKA, DOHLE):
                written[side] = topics.enter_context(self._topic(pair[side], nodes.RELAXED))
                self.clients[0].produced_per_s(pair[side], written[side], loads.BIG, 0.0, 0.0, records)
            for client, side, peer in self._turns((KAFKA, DOHLE)):
                taken = client.consumed_mb_per_s(nodes.bootstrap(peer), written[side], records)
                self.figures.add(figures.CONSUME, side, taken, client.name)

    def ceilings(self) -> None:
        """What the clients do alone."""
        port = free_base_port(1)
        server = subprocess.Popen([sys.executable, "-m", "bench.peers.canned", str(port)], start_new_session=True)
        try:
            asking.until("the canned server answers", lambda: bool(asking.brokers(port)))
            servers = f"{asking.HOST}:{port}"
            for _ in range(self.size.rounds):
                for client in self.clients:
                    for measure, shape, _ in PRODUCED:
                        said = client.produce(servers, "canned", shape, self.size.warm_s, self.size.seconds)
                        value = _in_unit(measure, said["records"] / said["seconds"], shape)
                        self.figures.add(measure, CEILING, value, client.name)
                    records = max(10_000, round(200_000 * self.size.seconds))
                    taken = client.consumed_mb_per_s(servers, "canned", records)
                    self.figures.add(figures.CONSUME, CEILING, taken, client.name)
        finally:
            server.kill()
            server.wait()

    def starts(self) -> None:
        """From the start of the processes on formatted folders."""
        self.close()
        made: Mapping[str, Callable[[], contextlib.AbstractContextManager[Peer]]] = {
            KAFKA: nodes.kafka,
            DOHLE: nodes.dohle,
        }
        for _ in range(self.size.rounds):
            for side, make in made.items():
                with make() as peer:
                    began = time.perf_counter()
                    peer.start()
                    asking.first_write([peer.port(node) for node in NODES], "first")
                    self.figures.add(figures.START, side, time.perf_counter() - began)

    def gaps(self) -> None:
        """Each node is killed in turn, under 1,000 records a second to six partitions of which it leads some."""
        self.close()
        session_ms: Any = next(field.default for field in fields(NodeConfig) if field.name == "session_timeout_ms")
        alike = {"broker.session.timeout.ms": str(session_ms), "broker.heartbeat.interval.ms": str(session_ms * 2 // 9)}
        made: Mapping[str, Callable[[], contextlib.AbstractContextManager[Peer]]] = {
            KAFKA: nodes.kafka,
            KAFKA_ALIKE: lambda: nodes.kafka(alike),
            DOHLE: nodes.dohle,
        }
        for side, make in made.items():
            with make() as peer:
                nodes.start_all(peer)
                self._warm_up(peer)
                for client in self.clients:
                    taken = [self._gap_s(peer, side, client, victim) for victim in NODES[: self.size.rounds]]
                    for gap_s in taken:
                        self.figures.add(figures.GAP, side, gap_s, client.name)
                    self.figures.add(figures.WORST_GAP, side, max(taken), client.name)

    def _gap_s(self, peer: Peer, side: str, client: Client, victim: int) -> float:
        with self._topic(peer, _FLUSH[side]) as topic, ThreadPoolExecutor(1) as thread:
            led = [one.leader for one in asking.partitions(peer.port(victim), topic).values()].count(victim)
            if not led:
                raise AssertionError(f"{side}'s node {victim} leads none of the partitions of {topic}")
            running = thread.submit(
                client.rate,
                nodes.bootstrap(peer),
                topic,
                _GAP_PER_S,
                in_turn=True,
                warm_s=_GAP_WARM_S,
                seconds=_GAP_S,
            )
            asking.until("the load runs", lambda: asking.records_in(peer.port(victim), topic) >= _KILL_AFTER)
            peer.kill(victim)
            taken = running.result()
            _no_failure(taken, side)
            peer.start([victim])
            nodes.all_say(peer, "is whole again", lambda port: asking.is_whole(port, topic, asking.PARTITIONS))
        return taken.longest_gap_s

    def idle(self) -> None:
        """Fresh nodes of both, all at once: the one that takes most."""
        self.close()
        kafka, dohle = self._started_pair()
        time.sleep(self.size.idle_s)
        watched = {KAFKA: kafka.pids(), DOHLE: dohle.pids()}
        before = {pid: cpu_s(pid) for pids in watched.values() for pid in pids}
        time.sleep(self.size.idle_s)
        for side, pids in watched.items():
            share = max(100 * (cpu_s(pid) - before[pid]) / self.size.idle_s for pid in pids)
            self.figures.add(figures.IDLE_RSS, side, max(map(rss_mb, pids)))
            self.figures.add(figures.IDLE_CPU, side, share)
        self.close()


PARTS: Mapping[str, Callable[[Comparison], None]] = {
    "throughput": Comparison.throughput,
    "latency": Comparison.latency,
    "consume": Comparison.consume,
    "ceilings": Comparison.ceilings,
    "idle": Comparison.idle,
    "starts": Comparison.starts,
    "gaps": Comparison.gaps,
    "groups": groups.measure,
}


def _in_unit(measure: Measure, per_s: float, shape: Shape) -> float:
    return per_s if measure.unit == "records/s" else per_s * shape.size / 1e6


def _no_failure(taken: loads.Rate, side: str) -> None:
    if taken.failed:
        raise AssertionError(f"{side} did not write {taken.failed} records")
