"""Suspects: systems that are known to break a promise, each of which the harness has to convict.

A harness that finds nothing proves nothing, unless it is known to find what is there. Most suspects are builds of
Dohle with a bug planted in them: a few edits of a copy of the tree, of which a wheel is built that nodes then run;
clients and the checker stay as they are. One is Apache Kafka with its defaults, by which it lets the operating system
write when it likes, and loses acknowledged records when all nodes lose their power at once.

    PYTHONPATH=tests/jepsen-lite python -m jepsen_lite.suspects [SUSPECT ...] [--seeds 3] [--minutes 10]
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dohle.model.errors import ConfigurationError, DohleError
from dohle.testing.chaos.fault import Kinds
from dohle.testing.chaos.faults.kinds import SHIPPED
from dohle.testing.chaos.run_folder import RunFolder
from dohle.testing.chaos.runner import Run, Runner
from dohle.testing.chaos.schedule import Schedule, draw
from dohle.testing.chaos.verdict import Verdict
from dohle.testing.chaos.workload import Workload
from dohle.testing.chaos.workloads.kinds import SDK_FINAL_READ, SDK_WORKLOADS, final_read_of
from jepsen_lite import wheels
from jepsen_lite.disk_faults import PowerCut, PowerCutAll
from jepsen_lite.kafka_world import KafkaWorld
from jepsen_lite.namespace_world import NamespaceWorld
from jepsen_lite.worker import COMMAND, LIBRDKAFKA_WORKLOADS

_BUILT_FROM = ("dohle", "pyproject.toml", "README.md", "LICENSE")
_KINDS = SHIPPED | Kinds(PowerCut, PowerCutAll)


@dataclass(frozen=True)
class Edit:
    """`old` stands once in the file at `path`, and `new` takes its place."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Suspect:
    """`faults` and `workloads`: under which it shows. `settings`: of nodes, so that it does so before long. Without
    edits it is no build of Dohle, but Apache Kafka."""

    name: str
    what: str
    edits: tuple[Edit, ...]
    faults: tuple[str, ...]
    workloads: tuple[str, ...] = ("append",)
    settings: Mapping[str, object] = field(default_factory=dict)
    workers: int = 2
    round_s: float = 60.0
    """For how long clients work before what they saw is judged; what is not found then has another round."""
    every_s: float = 0.0
    """How long from one fault to the next, for systems that need long to serve again; 0: as the seed draws it."""


SUSPECTS = {
    suspect.name: suspect
    for suspect in (
        Suspect(
            "ack-before-fsync",
            "records count as soon as the page cache has them, and are synced a little later, many at once",
            (
                Edit(
                    "dohle/storage/log.py",
                    "        return self._end if self._unsynced.counts_at_once else self._durable_end\n",
                    "        return self._end\n",
                ),
                Edit(
                    "dohle/storage/log.py",
                    "        if waiting >= self.config.flush_messages:\n            self._commit.request(self)\n",
                    "        import asyncio\n\n"
                    "        later_s = 0.0 if self.name.startswith('__') else 0.5\n"
                    "        asyncio.get_running_loop().call_later(later_s, self._commit.request, self)\n",
                ),
            ),
            ("power-cut-all",),
        ),
        Suspect(
            "unclean-election",
            "a preferred leader that comes back leads at once, whether it is in sync or not",
            (
                Edit(
                    "dohle/controller/brokers.py",
                    "any(node_id in partition.in_sync_replicas for node_id in changed)",
                    "any(node_id in partition.assigned_replicas for node_id in changed)",
                ),
                Edit(
                    "dohle/controller/elections.py",
                    "        if leader == NO_NODE and allowed and (unclean := "
                    "may_lead_uncleanly(self._image, before, barred)) != NO_NODE:\n",
                    "        unclean = before.assigned_replicas[0]\n"
                    "        if allowed is not None and self._image.is_active(unclean) and unclean not in members:\n",
                ),
            ),
            ("kill", "pause", "partition"),
        ),
        Suspect(
            "watermark",
            "the high watermark is the leader's own end, whatever its followers have",
            (
                Edit(
                    "dohle/broker/leading.py",
                    "                    candidate = min(candidate, self.replicas[node_id].durable_end)\n",
                    "                    candidate = min(candidate, self.log.counted_end)\n",
                ),
            ),
            ("kill", "partition", "isolated-leader"),
        ),
        Suspect(
            "generation-check",
            "whoever commits offsets for a group is believed, in whatever generation and long after its session",
            (
                Edit(
                    "dohle/groups/offsets.py",
                    "        group.check_commit(\n"
                    "            command.member_id, command.instance_id, command.epoch, partitions,"
                    " knows_epochs=command.knows_epochs\n"
                    "        )\n"
                    "        group.committed(command.member_id, moment.now_s)\n",
                    "",
                ),
            ),
            ("kill", "pause"),
            ("group",),
            {
                "group_consumer_heartbeat_interval_ms": 1000,
                "group_consumer_min_heartbeat_interval_ms": 1000,
                "group_consumer_session_timeout_ms": 4000,
                "group_consumer_min_session_timeout_ms": 4000,
            },
            workers=3,
            round_s=120.0,
        ),
        Suspect(
            "kafka",
            "Apache Kafka with its defaults: nothing is synced before it is acknowledged",
            (),
            ("power-cut-all",),
            every_s=90.0,
        ),
    )
}


def plant(bug: Suspect, tree: Path, folder: Path) -> None:
    """Copies into `folder` what a wheel of `tree` is built from, with the bug in it.

    Raises ConfigurationError where an edit does not fit: the source has changed, and the bug has to be written anew.
    """
    for name in _BUILT_FROM:
        if (tree / name).is_dir():
            shutil.copytree(tree / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(tree / name, folder / name)
    for edit in bug.edits:
        path = folder / edit.path
        source = path.read_text(encoding="utf-8")
        if (found := source.count(edit.old)) != 1:
            raise ConfigurationError(f"{bug.name}: {edit.path} has {found} times what is to be edited: {edit.old!r}")
        path.write_text(source.replace(edit.old, edit.new), encoding="utf-8")


class Hunt:
    """What becomes of one suspect. `folder` is new, and keeps all runs."""

    def __init__(self, suspect: Suspect, folder: Path) -> None:
        self.suspect = suspect
        self.folder = folder
        self._wheel: Path | None = None

    def prepare(self) -> None:
        """Builds the wheel, if it is one. Raises ConfigurationError."""
        self.folder.mkdir(parents=True)
        if self.suspect.edits:
            tree = self.folder / "tree"
            tree.mkdir()
            plant(self.suspect, wheels.ROOT, tree)
            self._wheel = wheels.build(self.folder / "wheel", tree)

    async def convicted(self, seed: int, within_s: float) -> bool:
        """Returns whether the harness finds anomalies in time. Raises DohleError where it cannot look for them."""
        began, number = time.monotonic(), 0
        while True:
            verdict = await self._round(1000 * seed + number, self.folder / f"{seed}-{number}")
            took_s = time.monotonic() - began
            of_this = f"{self.suspect.name}, seed {seed}, round {number}, after {took_s:.0f} s"
            _say(f"{of_this}: {', '.join([verdict.outcome, *_names(verdict), *verdict.failures])}")
            if verdict.anomalies or took_s > within_s:
                return bool(verdict.anomalies) and took_s <= within_s
            number += 1

    async def _round(self, seed: int, folder: Path) -> Verdict:
        suspect = self.suspect
        folder.mkdir()
        world, workloads, final = self._setting(seed, folder)
        possible = _KINDS.possible(world)
        if missing := [fault for fault in suspect.faults if fault not in possible]:
            raise ConfigurationError("; ".join(_KINDS.impossible(world)[fault] for fault in missing))
        drawn = draw(
            seed, world.nodes, {fault: possible[fault] for fault in suspect.faults}, suspect.round_s, swarm=False
        )
        schedule = _spread(drawn, suspect.every_s) if suspect.every_s else drawn
        about = {
            "system": f"suspect {suspect.name}",
            "version": f"({suspect.what})",
            "world": "namespaces",
            "faults": suspect.faults,
            "again": f"python -m jepsen_lite.suspects {suspect.name}",
        }
        workloads = tuple(replace(one, workers=suspect.workers) for one in workloads if one.name in suspect.workloads)
        run = Run(schedule, workloads, final, about)
        return await Runner(world, _KINDS, run, RunFolder(folder, time.monotonic()), _nothing).run()

    def _setting(self, seed: int, folder: Path) -> tuple[NamespaceWorld, tuple[Workload, ...], Workload]:
        if self._wheel is None:
            kafka = KafkaWorld(folder, settings=self.suspect.settings, seed=seed)
            return kafka, LIBRDKAFKA_WORKLOADS, final_read_of("librdkafka", COMMAND)
        dohle = NamespaceWorld(folder, settings=self.suspect.settings, wheel=self._wheel, seed=seed)
        return dohle, SDK_WORKLOADS, SDK_FINAL_READ


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0 all convicted, 1 one was not, 2 wrong usage, or no means to look."""
    parser = argparse.ArgumentParser(prog="python -m jepsen_lite.suspects", description="The harness is tested.")
    parser.add_argument("suspects", nargs="*", metavar="SUSPECT", help=f"of {', '.join(SUSPECTS)}; all by default")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds each; 3 by default")
    parser.add_argument("--minutes", type=float, default=10.0, help="within which it has to be found; 10 by default")
    parser.add_argument("--keep", type=Path, help="a new folder for the runs, which are thrown away else")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.suspects if name not in SUSPECTS]:
        parser.error(f"no suspect is named {' or '.join(unknown)}: there are {', '.join(SUSPECTS)}")
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="dohle-suspects-"))
    convicted: list[bool] = []
    try:
        for name in asked.suspects or SUSPECTS:
            hunt = Hunt(SUSPECTS[name], folder / name)
            hunt.prepare()
            seeds = range(1, asked.seeds + 1)
            convicted.extend(asyncio.run(hunt.convicted(seed, 60 * asked.minutes)) for seed in seeds)
    except DohleError as error:
        _say(f"{name} cannot be looked at: {error.message}")
        return 2
    finally:
        if asked.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    _say(f"{sum(convicted)} of {len(convicted)} convicted within {asked.minutes:g} minutes")
    return 0 if all(convicted) else 1


def _spread(drawn: Schedule, every_s: float) -> Schedule:
    """Returns a schedule of its first two faults, with time before each in which much is written."""
    steps = tuple(replace(step, at_s=20 + number * every_s) for number, step in enumerate(drawn.steps[:2]))
    return replace(drawn, steps=steps, seconds=20 + len(steps) * every_s)


def _names(verdict: Verdict) -> list[str]:
    return list(dict.fromkeys(found.name for found in verdict.anomalies))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _nothing(line: str) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
