"""Replicas compared on disk: whether the files of several nodes hold the same bytes up to an offset."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dohle.model.batch import read_header
from dohle.model.errors import CorruptLog, CorruptMessage


@dataclass(frozen=True, slots=True)
class Content:
    """What a replica holds up to an offset: where that ends, how long it is, and its hash."""

    next_offset: int
    size_bytes: int
    digest: str


def replica_content(folder: str, up_to: int) -> Content:
    """Returns what a partition's folder holds of batches that begin below `up_to`. Raises CorruptLog."""
    digest = hashlib.sha256()
    next_offset = 0
    size = 0
    for segment in _segments(folder):
        with open(segment, "rb") as file:
            content = file.read()
        position = 0
        while position < len(content):
            try:
                header = read_header(content, position)
            except CorruptMessage as error:
                raise CorruptLog(f"{segment}, byte {position}: {error.message}") from error
            if header.base_offset >= up_to:
                break
            digest.update(memoryview(content)[position : position + header.size_bytes])
            next_offset = header.next_offset
            size += header.size_bytes
            position += header.size_bytes
    return Content(next_offset, size, digest.hexdigest())


def differing(folders: Sequence[str], up_to: int) -> list[str]:
    """Returns, in words, which replicas lack something below `up_to` or differ from the first; nothing if none does."""
    found: list[str] = []
    first = replica_content(folders[0], up_to)
    for folder in folders:
        content = replica_content(folder, up_to)
        if content.next_offset < up_to:
            found.append(f"{folder} ends at offset {content.next_offset}, before the watermark {up_to}")
        elif content != first:
            found.append(f"{folder} differs from {folders[0]} below offset {up_to}")
    return found


def _segments(folder: str) -> Iterator[str]:
    for name in sorted(os.listdir(folder)):
        if name.endswith(".log"):
            yield os.path.join(folder, name)
