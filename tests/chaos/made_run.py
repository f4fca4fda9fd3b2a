"""A run that nobody ran: a folder as a harness leaves it, of any length, for what reads such folders.

Clients write to each partition in turn, evenly; a fault that takes a node has its partitions stand still until another
node leads, and doubles what writes take meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from dohle.testing.chaos.run_folder import Lines, RunFolder
from dohle.testing.chaos.verdict import Verdict

BEGUN_AT = datetime(2026, 11, 22, 20, 15, 30, 125_000, UTC)
TAKES_NODES = ("kill", "pause", "partition", "power-cut", "isolated-leader", "rolling-restart")
OTHERS = ("delay", "slow-disk", "disk-full", "failed-fsync", "clock-jump", "throttle", "reset", "loss", "bit-rot")
FAILOVER_S = 1.4
SAMPLE_S = 0.5
SOUND = Verdict()


@dataclass(frozen=True)
class Fault:
    at_s: float
    for_s: float
    fault: str
    node: int = 0


@dataclass(frozen=True)
class Making:
    """What a made run is to look like. `writes_per_s` over all partitions."""

    seconds: float
    faults: Sequence[Fault] = ()
    partitions: int = 6
    nodes: tuple[int, ...] = (1, 2, 3)
    writes_per_s: float = 120.0
    seed: int = 1
    verdict: Verdict | None = SOUND


def drawn(seconds: float, count: int, seed: int, kinds: Sequence[str] = TAKES_NODES + OTHERS) -> list[Fault]:
    """Returns so many faults, one after the other, each of a kind drawn."""
    chance, every_s = Random(seed), seconds * 0.9 / count
    return [
        Fault(round(3 + every_s * number, 3), chance.uniform(0.2, 0.7) * every_s, chance.choice(kinds), 1 + number % 3)
        for number in range(count)
    ]


def make(path: Path, making: Making) -> RunFolder:
    """Writes the folder at `path`, which does not exist."""
    path.mkdir(parents=True)
    folder = RunFolder(path, 0.0)
    about = {
        "seed": making.seed,
        "system": "dohle",
        "version": "0.1.0",
        "world": "namespaces",
        "nodes": making.nodes,
        "faults": sorted({fault.fault for fault in making.faults}),
        "workloads": ["append by sdk", "append by librdkafka", "groups by java"],
        "cannot": {"clock-jump": "libfaketime is missing: apt-get install faketime"},
        "again": f"make jepsen-lite SEED={making.seed} MINUTES={making.seconds / 60:g}",
        "begun_at": BEGUN_AT.isoformat(),
    }
    if making.verdict is not None:
        about |= {"ended_s": making.seconds, "verdict": making.verdict.to_json()}
    folder.run.write_text(json.dumps(about))
    _write_events(folder, making)
    leaders = _write_states(folder, making)
    _write_history(folder, making, leaders)
    _write_logs(folder, making)
    return folder


def _write_events(folder: RunFolder, making: Making) -> None:
    events = []
    for step, fault in enumerate(making.faults):
        said = {"step": step, "fault": fault.fault, "arguments": {"nodes": [fault.node]}}
        events.append({"time": fault.at_s, "what": "begin", **said})
        events.append({"time": fault.at_s + fault.for_s, "what": "heal", **said})
        counted = {"count": 1 + step % 7 * 113, "counted": "packets dropped"}
        events.append({"time": fault.at_s + fault.for_s, "what": "effect", **said, **counted})
    events.append({"time": 0.0, "what": "phase", "phase": "faults"})
    events.append({"time": making.seconds * 0.96, "what": "phase", "phase": "healing"})
    events.append({"time": making.seconds * 0.98, "what": "phase", "phase": "final reads"})
    lines = Lines(folder.events)
    for event in sorted(events, key=lambda event: float(str(event["time"]))):
        lines.write(event)
    lines.close()


def _taken(making: Making, time_s: float) -> tuple[int, float]:
    """Returns who is taken away at that time, and for how long already; 0: nobody."""
    for fault in making.faults:
        if fault.fault in TAKES_NODES and fault.at_s <= time_s < fault.at_s + fault.for_s:
            return fault.node, time_s - fault.at_s
    return 0, 0.0


Leading = list[dict[str, tuple[int, int, list[int]]]]


def _write_states(folder: RunFolder, making: Making) -> Leading:
    """Writes the samples; returns them, one each SAMPLE_S."""
    nodes, lines, samples = making.nodes, Lines(folder.state), Leading()
    leader = {number: nodes[number % len(nodes)] for number in range(making.partitions)}
    epoch = dict.fromkeys(leader, 0)
    controller = nodes[0]
    for turn in range(int(making.seconds / SAMPLE_S)):
        time_s = turn * SAMPLE_S
        gone, since_s = _taken(making, time_s)
        if gone == controller and since_s > FAILOVER_S:
            controller = next(node for node in nodes if node != gone)
        for number, led_by in leader.items():
            best = nodes[number % len(nodes)]
            if (led_by == gone and since_s > FAILOVER_S) or (not gone and led_by != best):
                leader[number] = next(node for node in nodes if node != gone) if gone else best
                epoch[number] += 1
        in_sync = [node for node in nodes if node != gone or since_s < 0.8]
        sample = {f"append-{number}": (leader[number], epoch[number], in_sync) for number in leader}
        samples.append(sample)
        lines.write({"time": time_s, "controller": controller, "partitions": sample})
    lines.close()
    return samples


def _write_history(folder: RunFolder, making: Making, samples: Leading) -> None:
    chance, events = Random(making.seed), []
    for number in range(int(making.seconds * 0.96 * making.writes_per_s)):
        at_s = number / making.writes_per_s
        log = f"append-{number % making.partitions}"
        leader, _, in_sync = samples[min(len(samples) - 1, int(at_s / SAMPLE_S))][log]
        gone, since_s = _taken(making, at_s)
        took_s = 0.004 * chance.lognormvariate(0, 0.5) * (2 + 2 * (len(in_sync) < 3))
        if gone == leader:
            took_s += max(0.0, FAILOVER_S - since_s) + chance.random() * 0.2
        fate = "ok" if took_s < 1 or chance.random() < 0.9 else chance.choice(("info", "fail"))
        event = {"operation": number, "process": f"writer{number % 4}"}
        send = ["send", log, f"v{number}"]
        events.append((at_s, {**event, "type": "invoke", "value": [send]}))
        done = {"value": [["send", log, [number, send[2]]]]} if fate == "ok" else {"why": "request timed out"}
        events.append((at_s + took_s, {**event, "type": fate, **done}))
        if number % 10 == 9:
            poll = {"operation": 10**9 + number, "process": "reader0"}
            events.append((at_s, {**poll, "type": "invoke", "value": [["poll", {}]]}))
            records = [[at, f"v{at}"] for at in range(number - 9, number + 1)]
            events.append((at_s + 0.01, {**poll, "type": "ok", "value": [["poll", {log: records}]]}))
    events.sort(key=lambda event: event[0])
    with folder.history.open("w") as history:
        for at_s, event in events:
            history.write(json.dumps({**event, "time": round(at_s, 6)}) + "\n")


def _write_logs(folder: RunFolder, making: Making) -> None:
    (folder.path / "nodes").mkdir()
    (folder.path / "workers").mkdir()
    folder.worker_log("writer").write_text("4 writers, 120 writes a second\n")
    for node in making.nodes:
        with (folder.path / "nodes" / f"{node}.log").open("w") as log:
            for turn in range(int(making.seconds * 2)):
                local = (BEGUN_AT + timedelta(seconds=turn / 2)).astimezone().replace(tzinfo=None)
                stamp = local.isoformat(timespec="milliseconds")
                log.write(f"{stamp} INFO    node-{node} dohle.broker.replicas: turn {turn} of <append> & others\n")
