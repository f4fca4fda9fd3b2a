"""Network: hosts that have networks of their own on one machine, a network namespace each, joined by a bridge.

The bridge lives in a namespace of its own, too, so that no firewall of the machine's has a say between hosts. This
process is on it by one link, and reaches all of them. It takes root, or what root may; `why_not` says what is missing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.machine.commands import CommandFailed, missing, run, runs, until
from tests.machine.slots import PREFIX, Slot

LINK = "eth0"
"""What a host's only link to others is called, in its namespace."""
_BRIDGE = "bridge"
_HUB = "hub"
_NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000


def why_not() -> str:
    """Returns what keeps this machine from having networks, or nothing."""
    lack = missing("ip", "nsenter")
    if lack:
        return f"network namespaces: {lack}"
    name = f"{PREFIX}-tried-{os.getpid()}"
    try:
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "add", _BRIDGE, "type", "bridge")
        run("ip", "-n", name, "link", "add", "one", "type", "veth", "peer", "name", "other")
        return ""
    except CommandFailed as error:
        return f"network namespaces cannot be made here: {error.message}"
    finally:
        runs("ip", "netns", "delete", name)


class Network:
    """Hosts go by numbers, 1 to 253. Addresses and names come from the slot, so two networks never meet."""

    def __init__(self, slot: Slot, hosts: Sequence[int]) -> None:
        assert all(0 < host < 254 for host in hosts), hosts
        self.hosts = tuple(hosts)
        self._slot = slot
        self._net = f"10.214.{slot.number}"

    def address(self, host: int) -> str:
        return f"{self._net}.{host}"

    @property
    def own_address(self) -> str:
        """This process', as hosts see it."""
        return f"{self._net}.254"

    def namespace(self, host: int) -> str:
        return f"{self._slot.name}-{host}"

    def within(self, host: int, *command: str) -> list[str]:
        """Returns a command that runs another one on a host. It becomes that process: its number is the same."""
        return within(self.namespace(host), *command)

    def make(self) -> None:
        hub = f"{self._slot.name}-{_HUB}"
        run("ip", "netns", "add", hub)
        run("ip", "-n", hub, "link", "add", _BRIDGE, "type", "bridge")
        run("ip", "-n", hub, "link", "set", _BRIDGE, "up")
        run("ip", "link", "add", self._slot.name, "type", "veth", "peer", "name", "here", "netns", hub)
        run("ip", "address", "add", f"{self.own_address}/24", "dev", self._slot.name)
        run("ip", "link", "set", self._slot.name, "up")
        run("ip", "-n", hub, "link", "set", "here", "master", _BRIDGE, "up")
        for host in self.hosts:
            namespace, near = self.namespace(host), f"host{host}"
            run("ip", "netns", "add", namespace)
            run("ip", "-n", hub, "link", "add", near, "type", "veth", "peer", "name", LINK, "netns", namespace)
            run("ip", "-n", hub, "link", "set", near, "master", _BRIDGE, "up")
            run("ip", "-n", namespace, "address", "add", f"{self.address(host)}/24", "dev", LINK)
            run("ip", "-n", namespace, "link", "set", LINK, "up")
            run("ip", "-n", namespace, "link", "set", "lo", "up")


def within(namespace: str, *command: str) -> list[str]:
    """Returns a command that runs another one in a namespace."""
    return ["nsenter", f"--net={_NAMESPACES / namespace}", "--", *command]


def socket_in(namespace: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """Returns a socket of a host's, which this process has: sockets stay where the thread was that made them.

    Raises OSError.
    """
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def make() -> None:
        try:
            with (_NAMESPACES / namespace).open("rb") as entrance:
                if ctypes.CDLL(None, use_errno=True).setns(entrance.fileno(), _CLONE_NEWNET):
                    code = ctypes.get_errno()
                    raise OSError(code, f"cannot enter {namespace}: {os.strerror(code)}")
            made.append(socket.socket(family, kind, protocol))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def unmake(slot: Slot) -> None:
    """Ends all processes on hosts of this slot's, and takes the network away, however much of it is there."""
    namespaces = [
        name
        for name in (line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.strip())
        if name.startswith(f"{slot.name}-")
    ]
    for namespace in namespaces:
        _end_all_in(namespace)
        run("ip", "netns", "delete", namespace)
    runs("ip", "link", "delete", slot.name)  # went with the hub, if that was there


def _end_all_in(namespace: str) -> None:
    def left() -> list[int]:
        return [int(word) for word in run("ip", "netns", "pids", namespace).split()]

    for process in left():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    until(lambda: not left(), f"the processes in {namespace} have ended")
