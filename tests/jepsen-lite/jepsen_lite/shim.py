"""Shim: what is loaded into a node before the C library (shim.c), told and asked through a file that both have mapped.

It is compiled once a run, with the machine's `cc`. Told to do nothing, it costs a node a comparison a call, so nodes
are started with it where it may be needed (`Fault.prepare`). One that runs without it is restarted with it.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

from dohle.model.errors import ConfigurationError
from dohle.testing.chaos.world import World

_SOURCE = Path(__file__).with_name("shim.c")
_CONTROL = "JEPSEN_LITE_SHIM"
OWN_CLOCK = "FAKETIME_TIMESTAMP_FILE"
"""A variable of libfaketime's: the file that says what the time is."""
_FIELDS = (
    *("failing_writes", "failing_syncs", "write_delay_us", "sync_delay_us"),
    *("writes", "syncs", "failed_writes", "failed_syncs", "delayed_calls", "skewed_reads", "skew_ms"),
)
_FIELD = struct.Struct("=q")
_FOLDER_AT = len(_FIELDS) * _FIELD.size
_FOLDER_BYTES = 4096


def why_not() -> str:
    """Returns what keeps this machine from having the shim, or nothing."""
    return "" if shutil.which("cc") else "there is no C compiler here (Debian: gcc and libc6-dev)"


def why_no_clocks() -> str:
    """Returns what keeps nodes of this machine from having clocks of their own, or nothing."""
    return why_not() or ("" if clocks_library() else "there is no libfaketime here (Debian: faketime)")


def clocks_library() -> Path | None:
    """Returns libfaketime for processes with threads, if it is there."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None


def compile_into(folder: Path) -> Path:
    """Returns the library, which is compiled unless it is there already. Raises ConfigurationError."""
    library = folder / "shim.so"
    if not library.exists():
        if reason := why_not():
            raise ConfigurationError(reason)
        made = library.with_suffix(f".{os.getpid()}")
        command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(made), str(_SOURCE), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigurationError(f"{_SOURCE} cannot be compiled (Debian: gcc and libc6-dev):\n{done.stderr}")
        made.rename(library)  # another may have been as quick
    return library


class Shim:
    """That of one node. Made in the run's folder, where others of the same node find the same."""

    def __init__(self, world: World, node: int) -> None:
        self.world = world
        self.node = node
        self._folder = world.folder / "shim"
        self._path = self._folder / f"node-{node}"
        self._clock = self._folder / f"clock-{node}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._library = compile_into(self._folder)
        if not self._clock.exists():
            self.set_clock(0.0)
        if not self._path.exists():
            below = os.fsencode(os.path.realpath(world.data_folder(node))) + b"/"
            self._path.write_bytes(bytes(_FOLDER_AT) + below.ljust(_FOLDER_BYTES, b"\0"))
        with self._path.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), 0)

    def tell(self, field: str, value: int) -> None:
        _FIELD.pack_into(self._control, _FIELDS.index(field) * _FIELD.size, value)

    def ask(self, field: str) -> int:
        value: int = _FIELD.unpack_from(self._control, _FIELDS.index(field) * _FIELD.size)[0]
        return value

    def environment(self, *, clock: bool = False) -> dict[str, str]:
        """Returns what a node's process must be started with to have this, and a clock of its own."""
        libraries = [str(self._library)]
        own_clock = {}
        if clock:
            found = clocks_library()
            if found is None:
                raise ConfigurationError(why_no_clocks())
            libraries.append(str(found))
            own_clock = {
                OWN_CLOCK: str(self._clock),
                "FAKETIME_CACHE_DURATION": "1",  # seconds until a change is noticed; each look opens the file
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
            }
        return {"LD_PRELOAD": ":".join(libraries), _CONTROL: str(self._path), **own_clock}

    def set_clock(self, offset_s: float) -> None:
        """Has the node's wall clock be off by so much; it takes note within a second.

        libfaketime's own rates are not used: they would have waits end too early or too late, too.
        """
        made = self._clock.with_suffix(".new")
        made.write_text(f"{offset_s:+.3f}\n")
        made.rename(self._clock)  # a node that reads it now reads one or the other

    async def loaded(self, *, clock: bool = False) -> None:
        """Returns once the node's process has it, for which it may have to be restarted. Raises ConfigurationError."""
        pid = self.world.pid(self.node)
        if pid is not None and self._is_in(pid, clock=clock):
            return
        if pid is not None:
            self.world.resume(self.node)  # paused, it would not stop
            await self.world.stop(self.node)
        await self.world.start(self.node, environment=self.environment(clock=clock))
        pid = self.world.pid(self.node)
        if pid is None or not self._is_in(pid, clock=clock):
            raise ConfigurationError(f"node {self.node} was started to have {self._library}, and runs without it")

    def _is_in(self, pid: int, *, clock: bool) -> bool:
        mapped = Path(f"/proc/{pid}/maps").read_text()
        return str(self._library) in mapped and (not clock or str(clocks_library()) in mapped)
