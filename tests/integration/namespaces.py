"""A cluster whose nodes have networks of their own (`tests/machine/networks.py`).

What one node sends another can be made to get nowhere, silently, as if a cable were out, while both reach everybody
else.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.integration.clusters import until
from tests.machine.commands import run
from tests.machine.left_overs import tidy_up
from tests.machine.networks import LINK, Network, unmake
from tests.machine.slots import Slot

_NOBODY = "02:00:00:00:00:99"


class Apart:
    """Three nodes, each controller and broker. This process reaches all of them."""

    def __init__(self, folder: Path) -> None:
        self.node_ids = (1, 2, 3)
        self._folder = folder
        tidy_up()
        self._slot = Slot.take(folder)
        self._network = Network(self._slot, self.node_ids)
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def address(self, node_id: int) -> str:
        return self._network.address(node_id)

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{self.address(node_id)}:7092" for node_id in self.node_ids)

    def join(self) -> None:
        self._network.make()

    def format(self) -> None:
        listed = ",".join(f"{node_id}@{self.address(node_id)}:7092" for node_id in self.node_ids)
        words = self._dohle("format", "--new", "--voters", listed).split()
        cluster_id, voters = words[2], ",".join(word for word in words if word.count(":") == 2 and "@" in word)
        for node_id in self.node_ids:
            (self._folder / f"{node_id}.toml").write_text(
                f'node_id = {node_id}\ndata_dir = "{self._folder}/node-{node_id}"\n'
                f'host = "{self.address(node_id)}"\nvoters = "{listed}"\n'
            )
            config = str(self._folder / f"{node_id}.toml")
            self._dohle("format", "--config", config, "--cluster-id", cluster_id, "--voters", voters)

    def _dohle(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dohle", *arguments], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def up(self) -> None:
        for node_id in self.node_ids:
            node = (sys.executable, "-m", "dohle", "node", "--config", str(self._folder / f"{node_id}.toml"))
            with self.log(node_id).open("wb") as log:
                self._running[node_id] = subprocess.Popen(self._network.within(node_id, *node), stdout=log, stderr=log)

    def log(self, node_id: int) -> Path:
        return self._folder / f"{node_id}.log"

    def cut(self, one: int, other: int) -> None:
        """Neither hears the other any more; nobody is told."""
        for here, there in ((one, other), (other, one)):
            who = ("replace", self.address(there), "lladdr", _NOBODY, "nud", "permanent", "dev", LINK)
            run("ip", "-n", self._network.namespace(here), "neigh", *who)

    def mend(self, one: int, other: int) -> None:
        for here, there in ((one, other), (other, one)):
            run("ip", "-n", self._network.namespace(here), "neigh", "del", self.address(there), "dev", LINK)

    def end(self) -> None:
        for process in self._running.values():
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        unmake(self._slot)
        self._slot.give_back()


@contextlib.contextmanager
def apart(folder: Path) -> Iterator[Apart]:
    """Three nodes that run, and that are ended afterwards with all that was made for them."""
    made = Apart(folder)
    try:
        made.join()
        made.format()
        made.up()
        until(lambda: all("ready" in made.log(node_id).read_text() for node_id in made.node_ids), "all are ready", 30)
        yield made
    finally:
        made.end()
