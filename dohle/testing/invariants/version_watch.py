"""VersionWatch: in a cluster of several versions, nobody is given what it does not know.

When a metadata.version is finalised, every voter and every broker that is up or holds replicas supports it; and no
record lies in a log or a snapshot in a form that was not finalised before it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import msgpack

from dohle.controller.part import ControllerPart
from dohle.model.batch import split_batches
from dohle.model.image import ClusterImage
from dohle.model.metadata import METADATA_VERSION, FeatureLevel
from dohle.model.metadata_forms import decode_record
from dohle.model.records import decode_records
from dohle.testing.invariants.sure_log import durable_content
from dohle.testing.world.world import World

_READ_BYTES = 1 << 20


class VersionWatch:
    """Those of one world; asked for little where all nodes are of one version."""

    def __init__(self, world: World, violated: Callable[[str], None]) -> None:
        self._world = world
        self._violated = violated
        self._level = world.formatted_at

    def image_moved(self, image: ClusterImage) -> None:
        """`image` is the newest that is committed."""
        level = image.metadata_version
        if level <= self._level:
            return
        self._level = level
        for broker in image.brokers_in_order():
            supported = [one.max_level for one in broker.features if one.name == METADATA_VERSION]
            if supported < [level] and (not broker.fenced or image.replica_count(broker.node_id)):
                self._violated(f"metadata.version {level} was finalised, and broker {broker.node_id} knows {supported}")
        for voter in image.voters:
            known = self._world.machines[voter.node_id].newest_version
            if known < level:
                self._violated(f"metadata.version {level} was finalised, and voter {voter.node_id} knows up to {known}")

    async def records(self, name: str, part: ControllerPart) -> None:
        """Looks at all that lies in a controller's log and snapshots."""
        quorum = part.quorum
        versions = [one async for one in _versions_in(part)]
        begins_at = part.controller.committed.metadata_version
        if any(said is not None for _, _, said in versions):
            begins_at = self._world.formatted_at
        self._compare(name, begins_at, versions)
        for snapshot in quorum.snapshots.files.sound:
            machine = self._world.machines[quorum.identity.node_id]
            content = durable_content(machine, quorum.snapshots.files.path(snapshot))
            said = [one for _, _, one in _versions_of(content) if one is not None]
            for record_type, version, _ in _versions_of(content):
                if version > said[0]:
                    self._violated(f"{name} has a record {record_type} of version {version} in a snapshot of {said[0]}")

    def _compare(self, name: str, level: int, versions: list[tuple[int, int, int | None]]) -> None:
        for record_type, version, said in versions:
            if version > level and said is None:
                self._violated(f"{name} has a record {record_type} of version {version} in its log, at level {level}")
            level = level if said is None else said


async def _versions_in(part: ControllerPart) -> AsyncIterator[tuple[int, int, int | None]]:
    quorum = part.quorum
    offset = quorum.log_start_offset
    while batches := await quorum.read_committed(offset, _READ_BYTES):
        for one in _versions_of(batches):
            yield one
        for _, header in split_batches(batches):
            offset = header.next_offset


def _versions_of(batches: bytes) -> Iterator[tuple[int, int, int | None]]:
    """Yields type and version of each record, and the metadata.version that it finalises, if it does."""
    for position, _ in split_batches(batches):
        for record in decode_records(batches, position):
            value = record.value or b""
            record_type, version, *_ = msgpack.unpackb(value)
            said = decode_record(value)
            level = said.level if isinstance(said, FeatureLevel) and said.name == METADATA_VERSION else None
            yield record_type, version, level
