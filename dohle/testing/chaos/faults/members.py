"""Faults of members: replicas, votes and whole nodes that go and come back, as operators have them do.

What an operator asks for takes a cluster that can decide. If it cannot yet when such a fault begins, because something
else is wrong besides, the change is made when it is healed, just before it is taken back.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random

from dohle.client.admin import Admin
from dohle.client.drain import moves_away
from dohle.client.partition_changes import Reassignment
from dohle.model.errors import ConfigurationError, DohleError, RequestTimedOut
from dohle.model.ids import TopicPartition
from dohle.storage.data_folder import META_FILE, FolderIdentity
from dohle.testing.chaos.fault import Arguments, Effect
from dohle.testing.chaos.faults.nodes import NodeFault, killed, up_again
from dohle.testing.chaos.world import World

_BEGIN_PATIENCE_S = 10.0
_HEAL_PATIENCE_S = 90.0
_REQUEST_MS = 10_000
_LOOK_S = 0.2
_MOST_MOVES = 3
_LEAST_REPLICAS = 2


class MemberFault(NodeFault):
    """A change that an operator makes, and then takes back. Both may be tried more than once."""

    needs = frozenset({"members"})

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self.count = 0
        self._has_changed = False

    @abstractmethod
    async def change(self, admin: Admin) -> None: ...

    @abstractmethod
    async def change_back(self, admin: Admin) -> None: ...

    async def begin(self) -> None:
        try:
            await self._within(_BEGIN_PATIENCE_S, self.change)
        except RequestTimedOut:
            return  # `heal` makes it
        self._has_changed = True

    async def heal(self) -> None:
        if not self._has_changed:
            await self._within(_HEAL_PATIENCE_S, self.change)
            self._has_changed = True
        await self._within(_HEAL_PATIENCE_S, self.change_back)

    async def _within(self, patience_s: float, work: Callable[[Admin], Awaitable[None]]) -> None:
        """Tries until it succeeds. Raises RequestTimedOut, with what was wrong last."""
        failure: Exception = TimeoutError("no answer")
        try:
            async with asyncio.timeout(patience_s):
                async with Admin(self.world.bootstrap("dohle"), request_timeout_ms=_REQUEST_MS) as admin:
                    while True:
                        try:
                            return await work(admin)
                        except DohleError as error:
                            failure = error
                        await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise RequestTimedOut(f"{self.name}: not within {patience_s:g} s: {failure!r}") from None


class Moves(MemberFault):
    """A change that moves replicas, and moves them back."""

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self.before: dict[TopicPartition, tuple[int, ...]] = {}

    async def move(self, admin: Admin, wanted: Sequence[Reassignment]) -> None:
        """Returns once all have arrived, those left out whose topic is gone."""
        outcomes = await admin.alter_partition_reassignments(wanted)
        begun = {name for name, failure in outcomes.items() if failure is None}
        if len(begun) < len(wanted):  # all of a plan begins, or nothing
            raise next(failure for failure in outcomes.values() if failure is not None)
        while begun & {one.name for one in (await admin.list_partition_reassignments()).reassignments}:
            await asyncio.sleep(_LOOK_S)

    async def move_back(self, admin: Admin) -> None:
        now = await assigned(admin)
        wanted = [
            Reassignment(name.topic, name.partition, replicas)
            for name, replicas in self.before.items()
            if now.get(name, replicas) != replicas
        ]
        if wanted:
            moved = sum(len({*now[one.name]} ^ {*(one.replicas or ())}) for one in wanted)
            await self.move(admin, wanted)
            self.count += moved
        self.before = {}


class ReassignedReplicas(Moves):
    """Some partitions get other replicas, or, where each node has one, fewer; then those that they had."""

    name = "reassignment"
    least_nodes = 3

    @classmethod
    def draw(cls, chance: Random, _: tuple[int, ...]) -> Arguments:
        return {"seed": chance.randrange(1 << 32)}

    async def change(self, admin: Admin) -> None:
        if not self.before:
            chance, now = self.chance, await assigned(admin)
            movable = sorted(name for name, replicas in now.items() if len(replicas) > _LEAST_REPLICAS)
            if not movable:
                raise ConfigurationError("there is no partition yet that has more than two replicas")
            self.before = {name: now[name] for name in chance.sample(movable, min(len(movable), _MOST_MOVES))}
        chance, now = self.chance, await assigned(admin)
        wanted = []
        for name, replicas in self.before.items():
            if now.get(name) == replicas:  # neither gone nor moved already
                wanted.append(Reassignment(name.topic, name.partition, self._elsewhere(chance, replicas)))
        if wanted:
            moved = sum(len({*self.before[one.name]} ^ {*(one.replicas or ())}) for one in wanted)
            await self.move(admin, wanted)
            self.count += moved

    def _elsewhere(self, chance: Random, replicas: tuple[int, ...]) -> tuple[int, ...]:
        leaving = chance.choice(replicas)
        free = [node for node in self.world.nodes if node not in replicas]
        kept = [node for node in replicas if node != leaving]
        chance.shuffle(kept)
        return (*kept, chance.choice(free)) if free else tuple(kept)

    async def change_back(self, admin: Admin) -> None:
        await self.move_back(admin)

    async def effect(self) -> Effect:
        return Effect(self.count, "replicas added or removed")


class Drain(Moves):
    """A node is drained: all that it has moves to others, and it gets nothing new. Then it takes replicas again."""

    name = "drain"
    least_nodes = 4  # so that partitions of three replicas have somewhere to go

    async def change(self, admin: Admin) -> None:
        await admin.drain_broker(self.node)
        now = await assigned(admin)
        while plan := await moves_away(admin, self.node):
            self.before.update({one.name: now[one.name] for one in plan if one.name in now})
            await self.move(admin, plan)
            self.count += 2 * len(plan)
        if left := (await admin.drain_broker(self.node, validate_only=True)).replicas:
            raise RequestTimedOut(f"node {self.node} has {left} replicas still")

    async def change_back(self, admin: Admin) -> None:
        await admin.drain_broker(self.node, cancel=True)
        await self.move_back(admin)

    async def effect(self) -> Effect:
        return Effect(self.count, "replicas added or removed")


class LostVote(MemberFault):
    """A controller's vote is taken away; then it gets one again."""

    name = "membership"
    takes_nodes = True
    least_nodes = 3

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._voter: int | None = None

    async def change(self, admin: Admin) -> None:
        if self._voter is None:
            voters = sorted(voter.node_id for voter in (await admin.describe_quorum()).voters)
            self._voter = self.node if self.node in voters else voters[0]
        self.count += await admin.remove_voter(self._voter)

    async def change_back(self, admin: Admin) -> None:
        assert self._voter is not None, "its vote was taken away"
        self.count += await admin.add_voter(self._voter)

    async def effect(self) -> Effect:
        return Effect(self.count, "changes of who votes")


class DiskWipe(MemberFault):
    """A node's disk is lost and replaced by an empty one, with which the node joins anew, and gets its vote again."""

    name = "disk-wipe"
    needs = frozenset({"processes", "files", "members"})
    destroys = True
    takes_nodes = True
    least_nodes = 3

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._command: list[str] = []
        self._cluster_id = ""

    @property
    def _folder(self) -> Path:
        return self.world.data_folder(self.node)

    async def begin(self) -> None:
        await up_again(self.world, self.node)
        pid = self.world.pid(self.node)
        assert pid is not None, "it was started"
        self._command = command_of(pid)
        self._cluster_id = _identity(self._folder).cluster_id
        await killed(self.world, self.node)
        self.count = wipe(self._folder)

    async def heal(self) -> None:
        if self._command and not (self._folder / META_FILE).exists():
            await asyncio.to_thread(self._format)
        await up_again(self.world, self.node)
        if self._command:
            await self._within(_HEAL_PATIENCE_S, self.change_back)

    def _format(self) -> None:
        wipe(self._folder)  # what a format that was interrupted has left
        node = self._command.index("node")
        command = [*self._command[:node], "format", *_config(self._command), "--cluster-id", self._cluster_id, "--join"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigurationError(f"node {self.node} could not be formatted anew: {done.stderr.strip()}")

    async def change(self, admin: Admin) -> None:
        raise AssertionError("the disk is wiped without asking anybody")

    async def change_back(self, admin: Admin) -> None:
        """The disk that was lost votes no more; the new one does."""
        now = _identity(self._folder).directory_id
        voters = {voter.node_id: voter.directory_id for voter in (await admin.describe_quorum()).voters}
        if self.node in voters and voters[self.node] != now:
            self._had_vote = await admin.remove_voter(self.node)
        if self._had_vote and voters.get(self.node) != now:
            await admin.add_voter(self.node)

    _had_vote = False

    async def effect(self) -> Effect:
        return Effect(self.count, "bytes of a node's data wiped")


async def assigned(admin: Admin) -> dict[TopicPartition, tuple[int, ...]]:
    """Returns each partition's replicas."""
    return {
        TopicPartition(topic.name, partition.partition): partition.assigned_replicas
        for topic in await admin.list_topics()
        for partition in topic.partitions
    }


def wipe(folder: Path) -> int:
    """Deletes all that is in a folder, which may be where a disk is mounted; returns how many bytes that was."""
    wiped = 0
    for path in folder.iterdir():
        if path.name == "lost+found":
            continue
        wiped += sum(one.stat().st_size for one in (path, *path.rglob("*")) if one.is_file())
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return wiped


def command_of(pid: int) -> list[str]:
    """Returns with what a node's process was started. Raises ConfigurationError if it is no node of ours."""
    content = Path(f"/proc/{pid}/cmdline").read_bytes()
    command = [os.fsdecode(word) for word in content.split(b"\0")[:-1]]
    if "node" not in command or not _config(command):
        raise ConfigurationError(f"process {pid} is no `dohle node --config FILE`: {' '.join(command)}")
    return command


def _config(command: Sequence[str]) -> list[str]:
    at = command.index("--config") if "--config" in command else -1
    return list(command[at : at + 2]) if at >= 0 else []


def _identity(folder: Path) -> FolderIdentity:
    path = folder / META_FILE
    return FolderIdentity.decode(str(path), path.read_text())
