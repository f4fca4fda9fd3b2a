"""Forks: this broker makes its replicas of topics that are being forked, and tells the controller what they have.

The leader of a source's partition goes first: it finds the border between batches where the fork is cut, at or below
what was asked for and never above the watermark, and what it then says is the cut for all. The other replicas make
theirs when metadata tells it. A replica that was made lies among the logs of its folder at once, and has no role before
the topic is there (`replicas` takes it over then); if the fork comes to nothing, it is deleted.

Everything here may be done twice: what was made before, by an earlier process too, is compared with the cut, and kept
or made anew. Before the controller hears of a replica it is durable, and so is that this broker knew of it: if it is
gone at the next start, it is missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dohle.broker.controller_client import ControllerClient
from dohle.broker.leading import Leading
from dohle.broker.partition import Partition
from dohle.broker.replicas import Replicas
from dohle.broker.surroundings import Surroundings
from dohle.model.errors import DohleError, OffsetOutOfRange, ReplicaNotAvailable, StorageFailure
from dohle.model.ids import PartitionKey, TopicId
from dohle.model.image import ClusterImage, ForkImage
from dohle.model.metadata import UNSET, ForkedPartition
from dohle.rpc.v1 import common_pb2, controller_pb2
from dohle.storage.forked_logs import headers_checksum
from dohle.storage.log import Log
from dohle.storage.log_dirs import LogDirs
from dohle.storage.new_log import NewLog

log = logging.getLogger(__name__)

_AT_ONCE = 100  # replicas that are made before the controller is told
_COMPARED_OFFSETS = 16  # before the cut: by the headers of the batches there replicas are compared
_PAUSE_S = 0.2


class Forks:
    """Of one broker."""

    def __init__(
        self,
        surroundings: Surroundings,
        dirs: LogDirs,
        replicas: Replicas,
        controller: ControllerClient,
        broker_epoch: Callable[[], int],
    ) -> None:
        self._surroundings = surroundings
        self._dirs = dirs
        self._replicas = replicas
        self._controller = controller
        self._broker_epoch = broker_epoch
        self._made: dict[PartitionKey, Log] = {}
        self._said: dict[PartitionKey, controller_pb2.ForkedReplica] = {}
        """That replicas have been made. The controller may rely on each of them, whether or not it has answered."""
        self._wanted = asyncio.Event()

    def look(self) -> None:
        """Metadata has moved, and the replicas are as it says: there may be something to make."""
        if self._replicas.image.forks:
            self._wanted.set()

    def find(self) -> None:
        """Takes note of what an earlier process has made. `acting` is the caller's, who has just begun."""
        for fork in self._replicas.image.forks_in_order():
            for number in range(len(fork.partitions)):
                made = self._present(fork, number)
                if made is not None:
                    self._made[PartitionKey(fork.topic_id, number)] = made

    async def drop_ended(self, image: ClusterImage) -> None:
        """Deletes what was made for forks that have come to nothing. `acting` is the caller's, who then acts."""
        for key in [key for key in self._made if key.topic_id not in image.forks]:
            made = self._made.pop(key)
            self._said.pop(key, None)
            partition = image.partition(key)
            if partition is None or self._surroundings.me not in partition.assigned_replicas:
                log.info("%s was forked, and the fork came to nothing: it is deleted", made.name)
                await self._dirs.delete_log(made)

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while todo := self._todo()[:_AT_ONCE]:
                said = [await self._say(fork, number) for fork, number in todo]
                await self._tell([one for one in said if one is not None])
                await self._something_new()

    def _todo(self) -> list[tuple[ForkImage, int]]:
        return [
            (fork, number)
            for fork in self._replicas.image.forks_in_order()
            for number, partition in enumerate(fork.partitions)
            if self._is_due(fork, number, partition)
        ]

    def _is_due(self, fork: ForkImage, number: int, partition: ForkedPartition) -> bool:
        me = self._surroundings.me
        if me not in partition.assigned_replicas or me in (*partition.confirmed, *partition.unable):
            return False
        return partition.end != UNSET or self._source_led(fork, number) is not None

    def _source_led(self, fork: ForkImage, number: int) -> Leading | None:
        source = self._replicas.partitions.get(PartitionKey(fork.source_id, number))
        return source.role if source is not None and isinstance(source.role, Leading) else None

    async def _something_new(self) -> None:
        try:
            async with asyncio.timeout(_PAUSE_S):
                await self._wanted.wait()
        except TimeoutError:
            pass
        self._wanted.clear()

    async def _tell(self, said: list[controller_pb2.ForkedReplica]) -> None:
        if not said:
            return
        self._said |= {PartitionKey(TopicId(one.topic_id), one.partition): one for one in said if not one.failure.code}
        request = controller_pb2.ConfirmForksRequest(
            broker_id=self._surroundings.me, broker_epoch=self._broker_epoch(), replicas=said
        )
        try:
            await self._controller.call("ConfirmForks", request)
        except DohleError as error:
            log.warning("the controller was not told of %d replicas of forks: %s", len(said), error)

    async def _say(self, fork: ForkImage, number: int) -> controller_pb2.ForkedReplica | None:
        """Makes a replica; returns what there is to say of it. None where that is to be seen later."""
        said = self._said_before(fork, number)
        if said is not None:
            return said
        said = controller_pb2.ForkedReplica(topic_id=fork.topic_id, partition=number, source_leader_epoch=-1)
        wanted = fork.partitions[number]
        leading = self._source_led(fork, number)
        if wanted.end == UNSET:
            if leading is None or not leading.watermark_is_current:
                return None
            said.source_leader_epoch = leading.leader_epoch
        try:
            source = self._source(fork, number)
            if source.exchanged is not None:
                return None
            said.end, said.checked_from = wanted.end, wanted.checked_from
            if wanted.end == UNSET:
                present = self._present(fork, number)  # an earlier process may have said where it is cut
                said.end = await _cut(fork, wanted, source.log) if present is None else present.log_end_offset
                said.checked_from = _compared_from(source.log, said.end)
            made = await self._make(fork, number, source.log, said.end)
            if made is None:
                return None
            said.log_dir = self._dirs.folder_of(made).directory_id
            if said.checked_from != UNSET:
                said.checksum = await headers_checksum(made, said.checked_from, said.end)
            if wanted.end != UNSET and said.checksum != wanted.checksum:
                raise ReplicaNotAvailable(f"its replica of {source.name} is not the leader's below {wanted.end}")
        except DohleError as error:
            await self._drop(fork, number)
            said.failure.CopyFrom(common_pb2.Failure(code=error.code, message=error.message))
        return said

    def _said_before(self, fork: ForkImage, number: int) -> controller_pb2.ForkedReplica | None:
        """Returns what was said of a replica that is there as it was, unless it was cut elsewhere meanwhile."""
        key, wanted = PartitionKey(fork.topic_id, number), fork.partitions[number]
        said = self._said.get(key)
        if said is None or wanted.end not in (UNSET, said.end):
            return None
        made = self._present(fork, number)
        if made is None or made is not self._made.get(key) or made.damage is not None:
            return None
        leading = self._source_led(fork, number)
        said.source_leader_epoch = -1 if leading is None else leading.leader_epoch  # a later one, it may be
        return said

    def _source(self, fork: ForkImage, number: int) -> Partition:
        source = self._replicas.partitions.get(PartitionKey(fork.source_id, number))
        if source is None:
            raise ReplicaNotAvailable("it has no replica of the source any more, or in a directory that is offline")
        return source

    def _present(self, fork: ForkImage, number: int) -> Log | None:
        found = self._dirs.log((fork.name, number))
        return found if found is not None and found.topic_id == fork.topic_id else None

    async def _make(self, fork: ForkImage, number: int, source: Log, cut: int) -> Log | None:
        """Returns the replica, which ends at `cut`; None where nobody wants it any more."""
        present = self._present(fork, number)
        if present is not None and present.damage is None and present.log_end_offset == cut:
            return present
        await self._drop(fork, number)
        folder = self._dirs.folder_of(source)
        if folder.headroom.is_low:
            raise StorageFailure(folder.headroom.words())
        made = await folder.forking.make(source, NewLog(fork.name, number, fork.topic_id, source.config), cut)
        async with self._replicas.acting:
            taken_in = False
            try:
                if fork.topic_id in self._replicas.image.forks and self._dirs.log((fork.name, number)) is None:
                    await folder.take_in_fork(made)
                    self._made[PartitionKey(fork.topic_id, number)] = made
                    taken_in = True
                    await self._replicas.note_offset()
            finally:
                if not taken_in:
                    await folder.drop_copy(made)
        return made if taken_in else None

    async def _drop(self, fork: ForkImage, number: int) -> None:
        """Deletes what was made of a replica, if anything was and no topic has it."""
        async with self._replicas.acting:
            key = PartitionKey(TopicId(fork.topic_id), number)
            self._said.pop(key, None)
            made = self._made.pop(key, None)
            if made is None:
                return
            if fork.topic_id in self._replicas.image.forks and self._dirs.log(made.key) is made:
                await self._dirs.delete_log(made)


async def _cut(fork: ForkImage, partition: ForkedPartition, source: Log) -> int:
    """Returns the border between batches at or below what is wanted; everything below is committed."""
    end, wanted = source.high_watermark, partition.wanted
    if fork.timestamp_ms != UNSET:
        found = await source.times.first_at(fork.timestamp_ms, up_to=end)
        wanted = end if found is None else found.offset
    elif wanted == UNSET:
        wanted = end
    elif not source.log_start_offset <= wanted <= end:
        raise OffsetOutOfRange(
            f"{source.name} cannot be forked at {wanted}: what is committed spans {source.log_start_offset} to {end}"
        )
    border = await source.checked(source.sealed.border(wanted), source.version)
    if border is None:
        raise ReplicaNotAvailable(f"{source.name} was cut just now: ask again")
    return border[2]


def _compared_from(source: Log, cut: int) -> int:
    """Returns from which offset on replicas are compared by the headers of their batches.

    Compacted ones may differ in all but where they end, and in which epoch; of empty ones there is nothing to compare.
    """
    if cut <= source.log_start_offset:
        return UNSET
    if source.config.is_compacted or source.cleaned_to:
        return cut
    return max(source.log_start_offset, cut - _COMPARED_OFFSETS)
