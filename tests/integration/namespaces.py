"""A cluster whose nodes have networks of their own, on one machine: a network namespace each, joined by a bridge.

What one node sends another can be made to get nowhere, silently, as if a cable were out, while both reach everybody
else. It takes root, or what root may; where that is not to be had, `why_not` says so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.integration.clusters import until

_NOBODY = "02:00:00:00:00:99"
_LINK = "eth0"


def why_not() -> str:
    """Returns what keeps this machine from having namespaces, or nothing."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        return "network namespaces need Linux and the command ip"
    name = f"dohle{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"this user may make no network namespace: {made.stderr.strip()}"
    _ip("netns", "delete", name)
    return ""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Apart:
    """Three nodes, each controller and broker. This process is on the bridge, and reaches all of them."""

    def __init__(self, folder: Path) -> None:
        self.node_ids = (1, 2, 3)
        self._folder = folder
        self._name = f"d{os.getpid() % 100_000}"
        self._net = f"10.213.{os.getpid() % 250}"
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def address(self, node_id: int) -> str:
        return f"{self._net}.{node_id}"

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{self.address(node_id)}:7092" for node_id in self.node_ids)

    def join(self) -> None:
        _ip("link", "add", self._name, "type", "bridge")
        _ip("address", "add", f"{self._net}.254/24", "dev", self._name)
        _ip("link", "set", self._name, "up")
        for node_id in self.node_ids:
            namespace, near = f"{self._name}-{node_id}", f"{self._name}v{node_id}"
            _ip("netns", "add", namespace)
            _ip("link", "add", near, "type", "veth", "peer", "name", _LINK, "netns", namespace)
            _ip("link", "set", near, "master", self._name, "up")
            _ip("-n", namespace, "address", "add", f"{self.address(node_id)}/24", "dev", _LINK)
            _ip("-n", namespace, "link", "set", _LINK, "up")
            _ip("-n", namespace, "link", "set", "lo", "up")

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
            command = ["ip", "netns", "exec", f"{self._name}-{node_id}", sys.executable, "-m", "dohle", "node"]
            with self.log(node_id).open("wb") as log:
                self._running[node_id] = subprocess.Popen(
                    [*command, "--config", str(self._folder / f"{node_id}.toml")], stdout=log, stderr=log
                )

    def log(self, node_id: int) -> Path:
        return self._folder / f"{node_id}.log"

    def cut(self, one: int, other: int) -> None:
        """Neither hears the other any more; nobody is told."""
        for here, there in ((one, other), (other, one)):
            who = ("replace", self.address(there), "lladdr", _NOBODY, "nud", "permanent", "dev", _LINK)
            _ip("-n", f"{self._name}-{here}", "neigh", *who)

    def mend(self, one: int, other: int) -> None:
        for here, there in ((one, other), (other, one)):
            _ip("-n", f"{self._name}-{here}", "neigh", "del", self.address(there), "dev", _LINK)

    def end(self) -> None:
        for process in self._running.values():
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        for node_id in self.node_ids:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", f"{self._name}-{node_id}")
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "delete", self._name)


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
