"""NodeProcess: one node as a process of its own, started, stopped and broken by signals.

Keeps: only a process that was started here is ever signalled; a start returns once the node serves, or raises with what
it printed last.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dohle.cluster.config_sources import ENVIRONMENT_PREFIX, READY_VARIABLE
from dohle.cluster.local import NodeFailed, last_lines

_START_PATIENCE_S = 120.0  # on a machine that is busy, through links that are broken
_STOP_PATIENCE_S = 30.0
_POLL_S = 0.01
_LINES_SHOWN = 15


class NodeProcess:
    """`command` runs the node in the foreground, whatever it begins with: "ip netns exec …". `log` has its output."""

    def __init__(self, node: int, command: Sequence[str], log: Path, watch: Callable[[int], None]) -> None:
        """`watch` is told of each process."""
        self.node = node
        self.command = tuple(command)
        self.log = log
        self._watch = watch
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process, paused or not; None if it does not run."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Raises NodeFailed if it ends, or does not serve in time; then it does not run."""
        assert self.pid is None, f"node {self.node} runs"
        heard, said = os.pipe()
        try:
            log_start = self._spawn(said, environment or {})
        finally:
            os.close(said)
        try:
            await self._serves(heard, log_start)
        except BaseException:
            self.kill()
            raise
        finally:
            os.close(heard)

    async def stop(self) -> None:
        """Asks it to end, and waits for it. Raises NodeFailed if it does not, and kills it."""
        child = self._child
        if child is None or child.poll() is not None:
            return
        child.send_signal(signal.SIGTERM)
        child.send_signal(signal.SIGCONT)  # a paused one hears of nothing
        try:
            async with asyncio.timeout(_STOP_PATIENCE_S):
                while child.poll() is None:
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise NodeFailed(
                f"node {self.node} has not ended {_STOP_PATIENCE_S:.0f} s after SIGTERM: see {self.log}"
            ) from None
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends it as `kill -9` does, if it runs, and waits for that."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def _spawn(self, said: int, environment: Mapping[str, str]) -> int:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
        with open(self.log, "ab") as log:
            start = log.tell()
            self._child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**kept, **environment, READY_VARIABLE: str(said)},
                pass_fds=(said,),
                start_new_session=True,  # a terminal's Ctrl-C is for the harness to deal with
            )
        self._watch(self._child.pid)
        return start

    async def _serves(self, heard: int, log_start: int) -> None:
        os.set_blocking(heard, False)
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(heard, readable.set)
        try:
            async with asyncio.timeout(_START_PATIENCE_S):
                await readable.wait()
        except TimeoutError:
            raise self._failed(f"does not serve after {_START_PATIENCE_S:.0f} s", log_start) from None
        finally:
            loop.remove_reader(heard)
        if not os.read(heard, 64):
            raise self._failed("ended while starting", log_start)

    def _failed(self, how: str, log_start: int) -> NodeFailed:
        tail = "\n".join(f"  {line}" for line in last_lines(str(self.log), _LINES_SHOWN, log_start))
        return NodeFailed(f"node {self.node} {how}; the end of {self.log}:\n{tail}")
