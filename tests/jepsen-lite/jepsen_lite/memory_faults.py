"""Faults of memory: a node that gets hardly any more than it has, by a control group of its own.

What it had stays with the group that it came from. What it touches from now on, page cache included, is bounded: the
kernel takes back what it can, has the node wait for that, and ends the node where that does not suffice.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random

from dohle.model.errors import ConfigurationError
from dohle.testing.chaos.fault import Arguments, Effect
from dohle.testing.chaos.faults.nodes import NodeFault, up_again
from dohle.testing.chaos.world import World
from tests.machine.left_overs import control_group

_ROOT = Path("/sys/fs/cgroup")


class Memory(NodeFault):
    """A node gets hardly any more memory than it has."""

    name = "memory"
    needs = frozenset({"processes", "memory"})
    takes_nodes = True

    def __init__(self, world: World, arguments: Arguments) -> None:
        super().__init__(world, arguments)
        self._group: MemoryGroup | None = None
        self._hits = 0

    @classmethod
    def draw(cls, chance: Random, nodes: tuple[int, ...]) -> Arguments:
        return {**super().draw(chance, nodes), "spare_kib": chance.choice((64, 256, 1024))}

    async def begin(self) -> None:
        await up_again(self.world, self.node)
        pid = self.world.pid(self.node)
        assert pid is not None, "it was started"
        self._group = MemoryGroup.for_process(pid, control_group(os.getpid(), self.node))
        self._group.begin(pid, int(self.arguments["spare_kib"]) << 10)

    async def heal(self) -> None:
        if self._group is not None:
            self._hits += self._group.hits()
            self._group.end()
            self._group = None
        await up_again(self.world, self.node)

    async def effect(self) -> Effect:
        return Effect(self._hits, "times a node wanted more memory than it could have")


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A group in `folder`, made when it begins. `before`: the group that its process comes from, and goes back to."""

    folder: Path
    before: Path
    is_unified: bool

    @classmethod
    def for_process(cls, pid: int, name: str, root: Path = _ROOT) -> MemoryGroup:
        """Raises ConfigurationError where the kernel bounds no memory by groups."""
        lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
        for _, controllers, path in lines:
            if "memory" in controllers.split(","):
                before = root / "memory" / path.lstrip("/")
                return cls(before / name, before, is_unified=False)
        [path] = [path for number, _, path in lines if number == "0"]
        before = root / path.lstrip("/")
        # a group with processes of its own bounds no groups in it: beside it, then
        parent = root if before == root else before.parent
        if "memory" not in (parent / "cgroup.subtree_control").read_text().split():
            raise ConfigurationError(f"groups in {parent} cannot be given a bound of memory")
        return cls(parent / name, before, is_unified=True)

    def begin(self, pid: int, most_bytes: int) -> None:
        self.folder.mkdir()
        self._write(self.folder / ("memory.max" if self.is_unified else "memory.limit_in_bytes"), most_bytes)
        self._write(self.folder / "cgroup.procs", pid)

    def hits(self) -> int:
        """Returns how often something was wanted beyond the bound."""
        if not self.folder.exists():
            return 0
        if not self.is_unified:
            return int((self.folder / "memory.failcnt").read_text())
        events = dict(line.split() for line in (self.folder / "memory.events").read_text().splitlines())
        return int(events["max"])

    def end(self) -> None:
        """Takes it away; its processes go back to where they came from."""
        if not self.folder.exists():
            return
        for pid in (self.folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):  # it has ended
                self._write(self.before / "cgroup.procs", int(pid))
        self.folder.rmdir()

    @staticmethod
    def _write(path: Path, value: int) -> None:
        path.write_text(f"{value}\n")


def why_not() -> str:
    """Returns what keeps this machine from bounding a node's memory, or nothing."""
    if sys.platform != "linux":
        return "control groups need Linux"
    if os.geteuid():
        return "only root may make a control group"
    group: MemoryGroup | None = None
    try:
        group = MemoryGroup.for_process(os.getpid(), f"dohle-jx-tried-{os.getpid()}")
        group.folder.mkdir()
        return ""
    except (OSError, ConfigurationError) as error:
        return f"no control group can be made here: {error}"
    finally:
        if group is not None:
            group.end()
