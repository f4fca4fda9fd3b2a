"""Where foreign suites lie: fetched, unpacked and built once, outside of the source tree, by their packages' names.

Each package is pinned by its version and the digest of its archive. `DOHLE_SUITES` names another folder than the one in
the user's cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import rmtree, which
from tempfile import mkdtemp
from types import MappingProxyType

MOST_S = 1800


class Unavailable(Exception):
    """A suite cannot be had here: a program is missing, or the network. Says what to do."""


@dataclass(frozen=True, slots=True)
class Package:
    """An archive of a registry: `fetch` downloads it into the working folder, where it lies as `archive`."""

    name: str
    version: str
    fetch: Sequence[str]
    archive: str
    digest: str


def pip_download(requirement: str) -> Sequence[str]:
    """Returns the command that fetches a source distribution from PyPI."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    return [*pip, "--no-deps", "--no-binary", ":all:", requirement]


def cache_folder() -> Path:
    chosen = os.environ.get("DOHLE_SUITES")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dohle-suites"


def prepared(package: Package, recipe: str, build: Callable[[Path], None]) -> Path:
    """Returns the folder in which the package lies, built: at once if that was done before by the same `recipe`, a text
    that changes when what `build` does is changed. An interrupted build leaves nothing."""
    key = sha256(f"{package.digest} {recipe}".encode()).hexdigest()[:12]
    folder = cache_folder() / f"{package.name}-{package.version}-{key}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(mkdtemp(dir=folder.parent, prefix=f".{package.name}-"))
    try:
        unpack(package, making)
        build(making)
        making.rename(folder)
    finally:
        rmtree(making, ignore_errors=True)
    return folder


def unpack(package: Package, into: Path) -> None:
    """Fetches the archive, and unpacks it without its first folder."""
    run(package.fetch, into)
    archive = into / package.archive
    digest = sha256(archive.read_bytes()).hexdigest()
    if digest != package.digest:
        raise Unavailable(f"{package.archive} is not the file that is pinned: its SHA-256 is {digest}")
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            first, _, member.name = member.name.partition("/")
            if first and member.name:
                tar.extract(member, into, filter="data")
    archive.unlink()


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
    """Runs what fetches or builds, as an unimportant process."""
    if "/" not in command[0] and which(command[0]) is None:
        raise Unavailable(f"{command[0]} is missing: install it")
    try:
        done = subprocess.run(
            ["nice", "-n", "10", *command],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=MOST_S,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"not done after {MOST_S} s: {' '.join(command)}") from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise Unavailable(f"{' '.join(command)} failed with {done.returncode}:\n{last}")
