"""Where foreign software lies: fetched and built once, outside of the source tree, again when its recipe changes.

`FOREIGN_CACHE` names another folder than the one in the user's cache. (Nodes take `DOHLE_...` for their own settings.)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from shutil import rmtree, which
from tempfile import mkdtemp
from types import MappingProxyType

MOST_S = 1800
_DEBIAN = {"java": "default-jdk-headless", "javac": "default-jdk-headless", "mvn": "maven", "setpriv": "util-linux"}
"""The packages of programs that are not called as they are."""


class Unavailable(Exception):
    """A program or a package cannot be had here. Says what to do."""


def cache_folder() -> Path:
    chosen = os.environ.get("FOREIGN_CACHE")
    if chosen:
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dohle"


def made(name: str, recipe: str, make: Callable[[Path], None]) -> Path:
    """Returns the folder that `make` fills: at once if that was done before by the same `recipe`, a text that changes
    when what `make` does is changed. What is interrupted leaves nothing. Raises Unavailable."""
    folder = cache_folder() / f"{name}-{sha256(recipe.encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    print(f"making {folder}", file=sys.stderr, flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(mkdtemp(dir=folder.parent, prefix=f".{name}-"))
    try:
        make(making)
        if not folder.exists():  # else another run was quicker
            making.rename(folder)
    finally:
        rmtree(making, ignore_errors=True)
    return folder


def needed(*programs: str) -> None:
    """Raises Unavailable for those that are not here."""
    missing = [program for program in programs if which(program) is None]
    if missing:
        packages = dict.fromkeys(_DEBIAN.get(program, program) for program in missing)
        raise Unavailable(f"missing: {', '.join(missing)} (Debian: apt-get install {' '.join(packages)})")


def run(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] = MappingProxyType({}),
    most_s: float = MOST_S,
) -> None:
    """Runs what fetches or builds, as an unimportant process. Raises Unavailable with the last that it said."""
    if "/" not in command[0]:
        needed(command[0])
    try:
        done = subprocess.run(
            ["nice", "-n", "10", *command],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=most_s,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"not done after {most_s} s: {' '.join(command)}") from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise Unavailable(f"{' '.join(command)} failed with {done.returncode}:\n{last}")
