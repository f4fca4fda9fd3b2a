"""Identities: who and what a message speaks of.

Universally unique ids (topics, directories, incarnations) are 16 raw bytes, made from the random source that is
handed in, and shown as Kafka shows them: 22 characters of unpadded URL-safe base64. Cluster ids are kept in that text
form everywhere, since people type and compare them.
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple, NewType, Protocol

NodeId = NewType("NodeId", int)
"""A node's number, chosen by the operator, >= 0; the same for its controller and its broker part."""

TopicId = NewType("TopicId", bytes)
"""16 bytes, new for every creation of a topic: a topic deleted and made again has another."""

DirectoryId = NewType("DirectoryId", bytes)
"""16 bytes, written when a data folder is formatted: a wiped disk has another."""

IncarnationId = NewType("IncarnationId", bytes)
"""16 bytes, new at every start of a node's process."""

ClusterId = NewType("ClusterId", str)
"""22 characters of URL-safe base64."""

NO_NODE = NodeId(-1)
"""Stands where a leader would, while there is none."""


class RandomBytes(Protocol):
    """What ids are made from; `random.Random` has it."""

    def randbytes(self, n: int, /) -> bytes: ...


class TopicPartition(NamedTuple):
    """A partition by the name that people use."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class PartitionKey(NamedTuple):
    """A partition by the id that never means another topic: what nodes tell each other."""

    topic_id: TopicId
    partition: int

    def __str__(self) -> str:
        return f"{id_text(self.topic_id)}-{self.partition}"


class SnapshotId(NamedTuple):
    """A snapshot of the metadata: everything below `end_offset`, whose last batch is of `term`. Later ones compare
    greater."""

    end_offset: int
    term: int


NO_SNAPSHOT = SnapshotId(0, 0)
"""Stands where a snapshot would, while there is none: it has nothing in it."""


def new_id(random: RandomBytes) -> bytes:
    """Returns 16 random bytes in the form of a version 4 UUID (RFC 9562); never one that starts with a dash in text."""
    while True:
        raw = bytearray(random.randbytes(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        if not id_text(bytes(raw)).startswith("-"):  # a leading dash reads as a flag on a command line
            return bytes(raw)


def id_text(raw: bytes) -> str:
    """Returns the 22 characters that people see for the 16 bytes `raw`."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def parse_id(text: str) -> bytes:
    """Returns the 16 bytes behind `text`. Raises ValueError if it is not 22 characters of URL-safe base64."""
    try:
        raw = base64.b64decode(text.encode("ascii") + b"==", altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"{text!r} is no id: expected 22 characters of URL-safe base64") from error
    if len(text) != 22 or len(raw) != 16:
        raise ValueError(f"{text!r} is no id: expected 22 characters of URL-safe base64, got {len(text)}")
    return raw
