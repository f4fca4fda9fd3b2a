"""What a foreign suite is to the runner: names of tests, the brokers that each expects, and a way to run one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.suites.table import Outcome


@dataclass(frozen=True, slots=True)
class Setup:
    """What a test expects of its brokers: how many they are, how topics are made that a client just asks for, the
    shortest session that a group's member may ask for, and how long a new group waits for more members."""

    nodes: int = 3
    partitions: int = 4
    auto_create: bool = True
    least_session_ms: int = 6000
    rebalance_delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """Where one test runs: its brokers, a folder of its own, the log of what it prints, and how long it may take."""

    bootstrap: str
    folder: Path
    most_s: float

    @property
    def log(self) -> Path:
        return self.folder / "output.log"


class Suite(Protocol):
    """A suite of tests that know nothing of Dohle."""

    name: str

    def tests(self) -> Sequence[str]: ...
    def setup(self, test: str) -> Setup: ...
    def run(self, test: str, how: Run) -> Outcome: ...


def ended(
    command: Sequence[str], environment: Mapping[str, str], how: Run, within: Path | None = None
) -> tuple[float, int | None]:
    """Runs a test's process, in its folder or `within` another; returns the seconds that it took and its exit code,
    None if it was ended, with all its children, after its time."""
    began = time.monotonic()
    with how.log.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=within or how.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code: int | None
        try:
            code = process.wait(how.most_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return time.monotonic() - began, code
