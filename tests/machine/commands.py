"""Programs of this machine that tests call, and what to install where one is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from dohle.model.errors import DohleError

_POLL_S = 0.02
_PACKAGES = {
    "ip": "iproute2",
    "iptables-restore": "iptables",
    "iptables-save": "iptables",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "mount": "mount",
    "nsenter": "util-linux",
    "ss": "iproute2",
    "umount": "mount",
}


class CommandFailed(DohleError):
    """A program of the machine's did not do what it was called for."""


def missing(*programs: str) -> str:
    """Returns what keeps this user from calling these as root, or nothing."""
    if sys.platform != "linux":
        return "it takes Linux"
    if os.geteuid():
        return "it takes root: run it with sudo"
    absent = [program for program in programs if shutil.which(program) is None]
    if absent:
        packages = " ".join(sorted({_PACKAGES[program] for program in absent}))
        return f"there is no {', no '.join(absent)} here: apt-get install {packages}"
    return ""


def run(*command: str, stdin: str = "") -> str:
    """Returns what it printed. Raises CommandFailed."""
    done = runs(*command, stdin=stdin)
    if done.returncode:
        raise CommandFailed(f"`{' '.join(command)}` failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def runs(*command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The same, whatever comes of it."""
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)


def until(holds: Callable[[], object], what: str, within_s: float = 20) -> None:
    """Returns once `holds` does. Raises CommandFailed if it does not in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise CommandFailed(f"not within {within_s:g} s: {what}")
        time.sleep(_POLL_S)
