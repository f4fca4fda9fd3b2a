"""The command: a cluster in a world as real as this machine has one, broken for some minutes, and judged."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dohle.model.errors import ConfigurationError, DohleError
from dohle.testing.chaos.fault import Kinds
from dohle.testing.chaos.faults.kinds import SHIPPED
from dohle.testing.chaos.launch import Harness, Wish, choices, launch, prepare, told
from dohle.testing.chaos.loopback import LOOPBACK
from dohle.testing.chaos.workload import Workload, Workloads
from dohle.testing.chaos.workloads.kinds import SDK_FINAL_READ, SDK_WORKLOADS, final_read_of
from jepsen_lite.kafka_world import KafkaWorld, kafka_version
from jepsen_lite.machine_faults import OF_MACHINES
from jepsen_lite.namespace_world import NamespaceWorld, why_not
from jepsen_lite.packet_faults import Loss
from jepsen_lite.worker import COMMAND, LIBRDKAFKA_WORKLOADS, java_workloads
from tests.compat.builds import Missing

NO_ROOT = "DOHLE_NO_ROOT"
_FOLDER = Path("jepsen-runs")
_KINDS = SHIPPED | OF_MACHINES | Kinds(Loss)
_INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Runs it; returns the exit code: 0 sound, 1 anything wrong or without effect, 2 wrong usage, 130 interrupted."""
    asked = _parser().parse_args(arguments)
    try:
        return _run(asked)
    except DohleError as error:
        print(f"jepsen-lite: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python tests/jepsen-lite", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="for so long (3)")
    parser.add_argument("--seed", type=int, help="decides what happens when; by lot if none is given")
    parser.add_argument(
        "--faults", type=_names, help="these and no others, with commas; some of all otherwise; none: ''"
    )
    parser.add_argument("--workloads", type=_names, default=(), help="append, or append:java; some of all otherwise")
    parser.add_argument("--schedule", type=Path, help="faults as in this file, a run's schedule.json")
    parser.add_argument("--nodes", type=int, default=3, help="3 or 5")
    parser.add_argument(
        "--system", choices=("dohle", "kafka"), default="dohle", help="what is broken; kafka: Apache Kafka (dohle)"
    )
    parser.add_argument(
        "--world",
        choices=("any", "namespaces", "loopback"),
        default="any",
        help="networks and disks of the nodes' own, which takes root, or loopback; any: what can be had (any)",
    )
    parser.add_argument("--dir", type=Path, default=_FOLDER, help=f"where runs are kept ({_FOLDER})")
    parser.add_argument(
        "--list", action="store_true", help="only list faults and workloads, and what cannot be had here"
    )
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _run(asked: argparse.Namespace) -> int:
    harness = _harness(asked.world) if asked.system == "dohle" else _kafka()
    if asked.list:
        for line in choices(harness, harness.world(asked.dir, asked.nodes, 0)):
            print(line)
        return 0
    wish = Wish(
        asked.dir,
        again=f"python tests/jepsen-lite --minutes {asked.minutes:g} --nodes {asked.nodes}"
        + (f" --world {asked.world}" if asked.world != "any" else "")
        + (f" --system {asked.system}" if asked.system != "dohle" else "")
        + (f" --faults '{','.join(asked.faults)}'" if asked.faults is not None else "")
        + (f" --workloads {','.join(asked.workloads)}" if asked.workloads else "")
        + (f" --schedule {asked.schedule}" if asked.schedule else ""),
        minutes=asked.minutes,
        seed=asked.seed,
        faults=asked.faults,
        workloads=asked.workloads,
        schedule=asked.schedule,
        nodes=asked.nodes,
    )
    launched = prepare(wish, harness)
    began_s = time.monotonic()
    verdict = launch(launched, lambda line: print(f"{time.monotonic() - began_s:8.1f} s  {line}", flush=True))
    for line in told(verdict, launched.folder):
        print(line)
    if verdict.outcome != "sound":
        return 1
    shutil.rmtree(launched.folder / "disks", ignore_errors=True)  # hundreds of megabytes that nobody will look into
    return 0


def _harness(world: str) -> Harness:
    """Returns the most real one that this machine has, and says aloud what it lacks.

    Raises ConfigurationError where it is to be namespaces, and these cannot be had.
    """
    workloads = Workloads([*SDK_WORKLOADS, *LIBRDKAFKA_WORKLOADS, *_of_java()])
    if world == "loopback" or os.environ.get(NO_ROOT) == "1":
        lack = "that is what was asked for"
    else:
        with tempfile.TemporaryDirectory() as folder:
            lack = why_not(Path(folder))
    if lack:
        if world == "namespaces":
            raise ConfigurationError(f"there is no world of namespaces here: {lack}")
        print(f"on loopback, without disks, networks and clocks of the nodes' own: {lack}", file=sys.stderr)
        return replace(LOOPBACK, kinds=_KINDS, workloads=workloads)
    return Harness(
        "namespaces",
        lambda folder, nodes, seed: NamespaceWorld(folder, nodes, seed=seed),
        _KINDS,
        workloads,
        SDK_FINAL_READ,
        at_once=4,
    )


def _kafka() -> Harness:
    """Returns Apache Kafka, and who can speak to it. Raises ConfigurationError where it cannot be had."""
    return Harness(
        "namespaces",
        lambda folder, nodes, seed: KafkaWorld(folder, nodes, seed=seed),
        _KINDS,
        Workloads([*LIBRDKAFKA_WORKLOADS, *_of_java()]),
        final_read_of("librdkafka", COMMAND),
        at_once=4,
        system="kafka",
        version=kafka_version(),
    )


def _of_java() -> tuple[Workload, ...]:
    try:
        return java_workloads()
    except Missing as missing:
        print(f"without Kafka's Java client: {missing}", file=sys.stderr)
        return ()
