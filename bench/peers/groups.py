"""Consumer groups side by side: rebalances, commits, heartbeats, first records, and coordinators that are killed.

Both peers have three nodes, no delay of a group's first rebalance, and a least heartbeat interval of 200 ms, to which
one group's own configuration lowers it; `__consumer_offsets` is there before anything is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

from bench.measures import cpu_s
from bench.peers import asking, figures, nodes
from bench.peers.figures import DOHLE, KAFKA, PROTOCOLS, Measure
from bench.peers.nodes import Peer, bootstrap
from bench.peers.software import group_load
from dohle.kafka.messages.configs import IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse
from dohle.kafka.messages.groups import FindCoordinatorRequest, FindCoordinatorResponse
from dohle.model.group_config import HEARTBEAT_INTERVAL

if TYPE_CHECKING:
    from bench.peers.parts import Comparison

MEMBERS: Final = 10
SHARED: Final = 66
"""Partitions: as many for each of 11 members."""
COMMITTING: Final = 50
FIRSTS: Final = 5
_QUICK_MS: Final = 200
_GROUP: Final = 32
_TWO_BEATS_S: Final = 10.0
_GAP_S: Final = 15.0
_KILL_AFTER_S: Final = 3.0
_PATIENCE_S: Final = 600.0
_KAFKA: Final = {
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.min.heartbeat.interval.ms": str(_QUICK_MS),
    "offsets.topic.replication.factor": "3",
}
_DOHLE: Final = {"group_initial_rebalance_delay_ms": 0, "group_consumer_min_heartbeat_interval_ms": _QUICK_MS}


def measure(comparison: Comparison) -> None:
    """Measures all of it, on nodes of its own."""
    comparison.close()
    with nodes.kafka(_KAFKA) as kafka, nodes.dohle(_DOHLE) as dohle:
        groups = _Groups(comparison, {KAFKA: kafka, DOHLE: dohle}, dohle.own_bootstrap)
        for peer in (kafka, dohle):
            nodes.start_all(peer)
            groups.prepare(peer)
        for part in (groups.first_records, groups.rebalances, groups.commits, groups.heartbeats, groups.idle):
            part()
        groups.gaps()  # at last: nodes come back cold


class _Groups:
    def __init__(self, comparison: Comparison, peers: dict[str, Peer], sdk_bootstrap: str) -> None:
        self._sdk_bootstrap = sdk_bootstrap
        self._figures = comparison.figures
        self._size = comparison.size
        self._peers = peers
        self._java = group_load()
        self._made = 0

    def _turns(self) -> Iterator[tuple[str, Peer]]:
        """Every side, each round; another side begins each time."""
        sides = list(self._peers.items())
        for turn in range(self._size.rounds):
            yield from sides if turn % 2 == 0 else reversed(sides)

    def prepare(self, peer: Peer) -> None:
        """Has `__consumer_offsets` made, and the peer's code for groups run for the first time."""
        asking.until(f"{peer.name} has a coordinator", lambda: bool(coordinator(peer.port(1), "warm")))
        with self._topic(peer, 1) as topic:
            write_one(peer, topic)
            for protocol in PROTOCOLS:
                self._said("first", peer, topic, self._name("warm"), protocol, 0, self._size.rounds)

    def _name(self, what: str) -> str:
        self._made += 1
        return f"{what}-{self._made}"

    @contextlib.contextmanager
    def _topic(self, peer: Peer, partitions: int) -> Iterator[str]:
        with nodes.topic(peer, self._name("groups"), nodes.DURABLE, partitions) as topic:
            yield topic

    def _said(self, load: str, peer: Peer, *rest: object) -> dict[str, Any]:
        with _running([*self._java, load, bootstrap(peer), *map(str, rest)]) as running:
            return running.said()

    def first_records(self) -> None:
        for side, peer in self._turns():
            with self._topic(peer, 1) as topic:
                write_one(peer, topic)
                for protocol in PROTOCOLS:
                    said = self._said("first", peer, topic, self._name("first"), protocol, 2, FIRSTS)
                    self._add_all(figures.first_record(protocol, figures.JAVA), side, said["ms"])
                    python = _python("group_clients", "first", "librdkafka", bootstrap(peer), topic)
                    with _running([*python, self._name("first"), protocol, "2", str(FIRSTS)]) as running:
                        measure = figures.first_record(protocol, figures.LIBRDKAFKA)
                        self._add_all(measure, side, running.said()["ms"])
                if side == DOHLE:
                    python = _python("group_clients", "first", "dohle", self._sdk_bootstrap, topic)
                    with _running([*python, self._name("first"), "-", "2", str(FIRSTS)]) as running:
                        self._add_all(figures.FIRST_SDK, side, running.said()["ms"])

    def _add_all(self, measure: Measure, side: str, values: Sequence[float]) -> None:
        for value in values:
            self._figures.add(measure, side, value)

    def rebalances(self) -> None:
        for side, peer in self._turns():
            for measure, interval_ms in ((figures.REBALANCE, None), (figures.QUICK_REBALANCE, _QUICK_MS)):
                group = self._name("joined")
                if interval_ms is not None:
                    set_interval(peer, group, interval_ms)
                with self._topic(peer, SHARED) as topic:
                    said = self._said("rebalance", peer, topic, SHARED, group, MEMBERS)
                self._figures.add(measure, side, said["seconds"])
                self._figures.add(figures.MOVED, side, said["moved"])

    def commits(self) -> None:
        for side, peer in self._turns():
            with self._topic(peer, COMMITTING) as topic:
                how = (self._name("committed"), COMMITTING, self._size.warm_s, self._size.seconds)
                said = self._said("commits", peer, topic, COMMITTING, *how)
            self._figures.add(figures.COMMITS, side, said["commits"] / said["seconds"])

    def heartbeats(self) -> None:
        for side, peer in self._turns():
            with self._topic(peer, asking.PARTITIONS) as topic:
                command = _python("heartbeats", str(peer.port(1)), topic, str(self._size.beating))
                with _running(command) as running:
                    running.until_ready()
                    percent = self._cpu_percent(peer, least_s=_TWO_BEATS_S)
                    said = running.said()
            if said["failed"] or said["per_s"] < self._size.beating / 20:
                raise AssertionError(f"{side} answered {said} of {self._size.beating} members")
            self._figures.add(figures.HEARTBEATS, side, percent)

    def idle(self) -> None:
        for side, peer in self._turns():
            waiting = self._size.waiting
            with self._topic(peer, waiting) as topic:
                how = [bootstrap(peer), topic, str(waiting), self._name("idle"), str(waiting)]
                with _running([*self._java, "idle", *how]) as running:
                    running.until_ready()
                    time.sleep(self._size.warm_s)
                    percent = self._cpu_percent(peer)
                    running.said()
            self._figures.add(figures.IDLE_MEMBERS, side, percent)

    def _cpu_percent(self, peer: Peer, least_s: float = 0.0) -> float:
        """Of one core, by all three nodes."""
        before = {pid: cpu_s(pid) for pid in peer.pids()}
        watched_s = max(self._size.idle_s, least_s)
        time.sleep(watched_s)
        return 100 * sum(cpu_s(pid) - taken for pid, taken in before.items()) / watched_s

    def gaps(self) -> None:
        """The coordinator of a group is killed in the middle of its commits, and started again."""
        for side, peer in self._turns():
            for client in (figures.JAVA, figures.LIBRDKAFKA, *((figures.SDK,) if side == DOHLE else ())):
                group = self._name("killed")
                victim = 0

                def found(peer: Peer = peer, group: str = group) -> bool:
                    nonlocal victim
                    victim = coordinator(peer.port(1), group)
                    return victim > 0

                asking.until(f"{peer.name} has a coordinator of {group}", found)
                with self._topic(peer, 1) as topic:
                    write_one(peer, topic)
                    with _running(self._gap_command(client, peer, topic, group)) as running:
                        running.until_ready()
                        time.sleep(_KILL_AFTER_S)
                        peer.kill(victim)
                        said = running.said()
                    peer.start([victim])
                    nodes.all_say(peer, "knows all three", lambda port: len(asking.brokers(port)) == len(nodes.NODES))
                    nodes.all_say(peer, "is whole again", lambda port, topic=topic: asking.is_whole(port, topic, 1))
                self._figures.add(figures.coordinator_gap(client), side, said["longest_gap_s"])

    def _gap_command(self, client: str, peer: Peer, topic: str, group: str) -> list[str]:
        if client == figures.JAVA:
            return [*self._java, "gap", bootstrap(peer), topic, group, "consumer", str(_GAP_S)]
        if client == figures.LIBRDKAFKA:
            return _python("group_clients", "gap", "librdkafka", bootstrap(peer), topic, group, "consumer", str(_GAP_S))
        return _python("group_clients", "gap", "dohle", self._sdk_bootstrap, topic, group, "-", str(_GAP_S))


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"bench.peers.{module}", *arguments]


class _Running:
    """A load that says `ready`, or its figures as its last line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self._out: IO[str] = process.stdout

    def until_ready(self) -> None:
        line = self._out.readline()
        if line != "ready\n":
            raise AssertionError(f"{self._process.args} did not get ready: {line!r}{self._errors()}")

    def said(self) -> dict[str, Any]:
        """Ends its standard input, and returns what it says then."""
        out, errors = self._process.communicate(timeout=_PATIENCE_S)
        if self._process.returncode:
            raise AssertionError(f"{self._process.args} failed:\n{errors[-2000:]}")
        said: dict[str, Any] = json.loads(out.splitlines()[-1])
        return said

    def _errors(self) -> str:
        self._process.kill()
        _, errors = self._process.communicate()
        return f"\n{errors[-2000:]}"


@contextlib.contextmanager
def _running(command: Sequence[str]) -> Iterator[_Running]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=os.environ
    )
    try:
        yield _Running(process)
    finally:
        process.kill()
        process.wait()


def coordinator(port: int, group: str) -> int:
    """Returns the node that coordinates the group; 0 if there is none at the moment."""
    request = FindCoordinatorRequest(key_type=0, coordinator_keys=[group])
    (answer,) = asking.ask(port, request, FindCoordinatorResponse, 4).coordinators
    return answer.node_id if answer.error_code == 0 else 0


def set_interval(peer: Peer, group: str, interval_ms: int) -> None:
    """Gives the group a heartbeat interval of its own. Raises Refused."""
    kind = IncrementalAlterConfigsRequest.Resource
    config = kind.Config(name=HEARTBEAT_INTERVAL, config_operation=0, value=str(interval_ms))
    resource = kind(resource_type=_GROUP, resource_name=group, configs=[config])
    request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=False)
    (answer,) = asking.ask(peer.port(1), request, IncrementalAlterConfigsResponse).responses
    if answer.error_code:
        raise asking.Refused(f"{HEARTBEAT_INTERVAL} of {group}: error {answer.error_code}, {answer.error_message}")


def write_one(peer: Peer, topic: str) -> None:
    """Writes a record to the topic's only partition."""
    asking.until("a record can be written", lambda: asking.write(peer.port(1), topic, 0, b"first"))
