"""Watchman: a process that ends others when its parent is gone, however that ended: nobody else could then.

`python -m dohle.testing.chaos.watchman` reads a line `PID STARTED` for each from its standard input, and kills at its
end those that still run.
"""

from __future__ import annotations

import signal
import subprocess
import sys

from dohle.cluster.process_identity import ProcessIdentity


class Watchman:
    """Begins with the first process that it is given."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def watch(self, pid: int) -> None:
        """Has a process end with this one, at the latest."""
        identity = ProcessIdentity.of(pid)
        if identity is None:
            return
        if self._process is None:
            command = [sys.executable, "-m", "dohle.testing.chaos.watchman"]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
        assert self._process.stdin is not None, "it was started with a pipe"
        self._process.stdin.write(f"{identity.pid} {identity.started}\n")
        self._process.stdin.flush()

    def dismiss(self) -> None:
        """Has him look a last time, and go."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


def main() -> None:
    watched: list[ProcessIdentity] = []
    for line in sys.stdin:
        pid, _, started = line.rstrip("\n").partition(" ")
        watched.append(ProcessIdentity(int(pid), started))
    for process in watched:
        process.signal(signal.SIGKILL)


if __name__ == "__main__":
    main()
