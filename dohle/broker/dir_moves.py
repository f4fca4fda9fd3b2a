"""Directory moves: this broker's replicas go to other log directories of its own while they lead or follow.

A copy is filled from the live log at a bounded rate, a few replicas at a time. When it has all but the newest batches,
appends wait for a moment, the rest is copied, and the copy takes the log's place under the role that goes on
(`LogDirs.move` says what is durable when). What goes wrong before ends the move and deletes the copy, and nothing else.

Moves are this process's: a start deletes what is not whole, and whoever wants the move asks again. How the last moves
ended is remembered for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum

from dohle.broker.following import Following
from dohle.broker.partition import Partition
from dohle.broker.read_budget import ReadBudget
from dohle.broker.replicas import Replicas
from dohle.broker.surroundings import Surroundings
from dohle.model.batch import read_header
from dohle.model.errors import (
    BrokerNotAvailable,
    DamagedReplica,
    DohleError,
    InvalidRequest,
    LogDirNotFound,
    NoReassignmentInProgress,
    OffsetOutOfRange,
    ReassignmentInProgress,
    ReplicaNotAvailable,
    StorageFailure,
    UnknownTopicOrPartition,
)
from dohle.model.ids import PartitionKey, TopicPartition
from dohle.runtime.disk import Disk
from dohle.runtime.tasks import cancel
from dohle.storage.data_folder import is_there, unusable
from dohle.storage.headroom import LEAST_FREE_BYTES
from dohle.storage.log import Log
from dohle.storage.log_dirs import LogDirs
from dohle.storage.log_folder import LogFolder

log = logging.getLogger(__name__)

_AT_ONCE = 2
_CHUNK_BYTES = 128 << 10
_UNSYNCED_BYTES = 4 << 20
"""How far a copy runs ahead of what is durable of it."""
_REST_BYTES = 1 << 20
"""So much is copied at most while appends wait."""
_HOLD_S = 2.0
"""How long appends may wait for what must be durable before the copy can take over; then it is tried again."""
_TRIES = 5
"""How often a log may be cut under a copy, or hold appends up for too long."""
_PAUSE_S = 1.0
_KEPT = 100
"""Moves that have ended and are remembered."""
_MOST = 10_000
"""Moves that are on the way at once, nearly all of them waiting."""


class MoveState(Enum):
    WAITING = "waiting"
    COPYING = "copying"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self not in (MoveState.WAITING, MoveState.COPYING)


@dataclass(slots=True)
class DirMove:
    """One replica's move. `copied_bytes` are of `size_bytes`, which grows with the log."""

    key: PartitionKey
    name: TopicPartition
    source: str
    target: str
    size_bytes: int
    copied_bytes: int = 0
    copied_to: int = -1  # the copy's end
    state: MoveState = MoveState.WAITING
    failure: DohleError | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class _Cut(Exception):
    """The log was cut under the copy, or is another one by now."""


class DirMoves:
    """The moves of one broker, by partition."""

    def __init__(self, surroundings: Surroundings, dirs: LogDirs, replicas: Replicas, bytes_per_s: int) -> None:
        self._surroundings = surroundings
        self._dirs = dirs
        self._replicas = replicas
        self._budget = ReadBudget(surroundings.clock, lambda: bytes_per_s)
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._moves: dict[TopicPartition, DirMove] = {}
        self._closed = False

    @property
    def all(self) -> list[DirMove]:
        """Those on the way, and the last that have ended, by topic and partition."""
        return [move for _, move in sorted(self._moves.items())]

    @property
    def under_way(self) -> list[DirMove]:
        return [move for move in self.all if not move.state.is_over]

    def begin(self, name: TopicPartition, path: str, *, validate_only: bool = False) -> None:
        """Begins to move the replica of `name` to the directory `path`, or only says whether it could.

        Raises LogDirNotFound, UnknownTopicOrPartition, ReplicaNotAvailable, InvalidRequest, ReassignmentInProgress,
        DamagedReplica, and StorageFailure if one of the two directories has failed, or there is no room.
        """
        size_bytes, source = self._check(name, path)
        if not validate_only:
            move = DirMove(self._partition(name).key, name, source, path, size_bytes)
            self._moves.pop(name, None)
            self._moves[name] = move
            self._forget_some()
            move.task = self._surroundings.tasks.spawn(self._run(move), f"move {name} to {path}")

    async def redirect(self, name: TopicPartition, path: str) -> None:
        """As `begin`, of a replica that may lie there already, or be on its way elsewhere: then it turns round."""
        self._target(path)
        under_way = self._moves.get(name)
        if under_way is None or under_way.state.is_over:
            if self._source(name).path != path:
                self.begin(name, path)
        elif under_way.target != path:
            if self._source(name).path != path:
                self._check(name, path, turns=True)
            with contextlib.suppress(NoReassignmentInProgress):  # it arrives at this moment
                await self.cancel(name)
            if self._source(name).path != path:
                self.begin(name, path)

    def _source(self, name: TopicPartition) -> LogFolder:
        return self._dirs.folder_of(self._partition(name).log)

    def _check(self, name: TopicPartition, path: str, *, turns: bool = False) -> tuple[int, str]:
        """Returns the replica's size and where it lies. Raises what `begin` raises; `turns`: it may be on its way."""
        if self._closed:
            raise BrokerNotAvailable(f"broker {self._surroundings.me} is stopping")
        target = self._target(path)
        partition = self._partition(name)
        source = self._dirs.folder_of(partition.log)
        if source is target:
            raise InvalidRequest(f"{name} lies in {path} already")
        if source.failed or not is_there(self._surroundings.disk, source.path):
            raise StorageFailure(
                f"{name} lies in {source.path}, which has failed or is not mounted any more: what lies there cannot be"
                " read before this node has started again with a sound disk"
            )
        if partition.log.damage is not None:
            raise DamagedReplica(f"{name} is damaged ({partition.log.damage}): it is to be repaired first")
        present = self._moves.get(name)
        if not turns and present is not None and not present.state.is_over:
            raise ReassignmentInProgress(f"{name} is on its way to {present.target}: cancel that first")
        if len(self.under_way) >= _MOST:
            raise InvalidRequest(f"{_MOST} replicas are on their way already: wait until some have arrived")
        size_bytes = partition.log.size_bytes
        free, needed = _free_bytes(self._surroundings.disk, path), self._coming_to(path) + size_bytes + LEAST_FREE_BYTES
        if free < needed:
            raise StorageFailure(
                f"{path} has {free >> 20} MiB free, and {name}, what else is on its way there, and what a node needs to"
                f" start take {needed >> 20} MiB: choose another directory, or free space"
            )
        return size_bytes, source.path

    def _target(self, path: str) -> LogFolder:
        target = next((folder for folder in self._dirs.folders if folder.path == path), None)
        online = [folder.path for folder in self._dirs.online]
        if path in self._dirs.offline:
            raise StorageFailure(f"{path} is offline: {self._dirs.offline[path]}; online are {', '.join(online)}")
        if target is None:
            raise LogDirNotFound(
                f"{path!r} is no log directory of broker {self._surroundings.me}, which has {', '.join(online)}"
            )
        if (reason := unusable(self._surroundings.disk, path)) is not None:
            others = ", ".join(one for one in online if one != path) or "none"
            raise StorageFailure(f"{reason}; other directories of broker {self._surroundings.me}: {others}")
        return target

    def _partition(self, name: TopicPartition) -> Partition:
        topic = self._replicas.image.topic_named(name.topic)
        if topic is None or not 0 <= name.partition < len(topic.partitions):
            raise UnknownTopicOrPartition(f"there is no partition {name}")
        partition = self._replicas.partitions.get(PartitionKey(topic.topic_id, name.partition))
        if partition is None:
            assigned = ", ".join(map(str, topic.partitions[name.partition].assigned_replicas))
            raise ReplicaNotAvailable(
                f"broker {self._surroundings.me} has no replica of {name}, or in a directory that is offline; replicas"
                f" are on {assigned}"
            )
        return partition

    def _coming_to(self, path: str) -> int:
        return sum(max(0, move.size_bytes - move.copied_bytes) for move in self.under_way if move.target == path)

    def _forget_some(self) -> None:
        over = [name for name, move in self._moves.items() if move.state.is_over]
        for name in over[:-_KEPT]:
            del self._moves[name]

    async def cancel(self, name: TopicPartition) -> None:
        """Takes a move back, if it has not arrived. Raises NoReassignmentInProgress if there is none."""
        move = self._moves.get(name)
        if move is None or move.state.is_over:
            raise NoReassignmentInProgress(f"{name} is not on its way to another directory of this broker")
        async with self._replicas.acting:  # the copy may be taking the log's place
            if move.state.is_over:
                raise NoReassignmentInProgress(f"{name} has just arrived in {move.target}, or could not")
            assert move.task is not None
            move.state = MoveState.CANCELLED
        await cancel(move.task)

    async def close(self) -> None:
        """The broker stops: all that is on its way is given up. `acting` is the caller's."""
        self._closed = True
        for move in self.under_way:
            if move.task is not None:
                await cancel(move.task)

    async def _run(self, move: DirMove) -> None:
        try:
            async with self._places:
                if move.state is MoveState.WAITING:
                    move.state = MoveState.COPYING
                    await self._try_repeatedly(move)
                    move.state = MoveState.DONE
                    log.info("%s has moved from %s to %s", move.name, move.source, move.target)
        except DohleError as error:
            move.state, move.failure = MoveState.FAILED, error
            log.warning("%s stays in %s, and does not move to %s: %s", move.name, move.source, move.target, error)

    async def _try_repeatedly(self, move: DirMove) -> None:
        for _ in range(_TRIES):
            partition = self._partition(move.name)
            if partition.key != move.key or self._dirs.folder_of(partition.log).path != move.source:
                break
            try:
                return await self._copy_and_exchange(move, partition, self._target(move.target))
            except _Cut:
                await self._surroundings.clock.sleep(_PAUSE_S)
        raise ReplicaNotAvailable(f"{move.name} was cut back or made anew on the way: try again once it is in sync")

    async def _copy_and_exchange(self, move: DirMove, partition: Partition, target: LogFolder) -> None:
        original = partition.log
        filling = _Filling(move, original, target, self._dirs.folder_of(original), self._budget, self._surroundings)
        try:
            for _ in range(_TRIES):
                await filling.reach_the_end()
                async with self._replicas.acting:
                    if self._replicas.partitions.get(move.key) is not partition or partition.log is not original:
                        raise _Cut
                    async with self._still(partition):
                        if await self._exchange(partition, filling):
                            return
                await self._surroundings.clock.sleep(_PAUSE_S)
            raise StorageFailure(
                f"{move.source} or {move.target} is too slow: appends would wait for more than {_HOLD_S} s"
            )
        finally:
            if filling.copy is not None and partition.log is not filling.copy:
                await target.drop_copy(filling.copy)

    @contextlib.asynccontextmanager
    async def _still(self, partition: Partition) -> AsyncIterator[None]:
        """Nothing is appended meanwhile: producers wait, and a follower subscribes anew afterwards."""
        with partition.appends_wait():
            if isinstance(partition.role, Following):
                async with self._replicas.paused(partition.role):
                    yield
            else:
                yield

    async def _exchange(self, partition: Partition, filling: _Filling) -> bool:
        """Returns whether the copy is the replica now; else the disks are too slow at the moment."""
        original = partition.log
        try:
            async with asyncio.timeout(_HOLD_S):
                copy = await filling.finished()
        except TimeoutError:
            return False
        copy.takes_over(original)
        await self._dirs.move(original, copy)
        copy.advance_high_watermark(original.high_watermark)  # followers have acknowledged more meanwhile
        partition.goes_on_with(copy, disk=self._dirs.number_of(copy))
        return True


class _Filling:
    """The copy of one log, on its way."""

    def __init__(
        self,
        move: DirMove,
        original: Log,
        target: LogFolder,
        source: LogFolder,
        budget: ReadBudget,
        surroundings: Surroundings,
    ) -> None:
        self.copy: Log | None = None
        self._move = move
        self._original = original
        self._generation = original.generation
        self._target = target
        self._source = source
        self._budget = budget
        self._surroundings = surroundings
        move.copied_bytes, move.copied_to = 0, -1

    async def reach_the_end(self) -> None:
        """Returns when the copy lacks little, and the rest is durable. Raises _Cut, and what disks raise."""
        unsynced = 0
        while True:
            await self._surroundings.clock.sleep(self._budget.pause_s())
            copied = await self._copy_chunk(self._budget.chunk_bytes(_CHUNK_BYTES))
            self._budget.spend(copied)
            unsynced += copied
            assert self.copy is not None
            is_at_end = self.copy.log_end_offset == self._original.log_end_offset
            if is_at_end or unsynced >= _UNSYNCED_BYTES:
                self._check_room()
                unsynced, size_bytes = 0, self._original.size_bytes
                await self.copy.flush()
                if is_at_end and self._original.size_bytes - size_bytes <= _REST_BYTES:
                    return

    async def finished(self) -> Log:
        """Returns the copy, whole and durable; nothing is appended to the log meanwhile."""
        while self.copy is None or self.copy.log_end_offset < self._original.log_end_offset:
            await self._copy_chunk(_CHUNK_BYTES)
        self.copy.configure(self._original.config)
        await self._original.flush()
        await self.copy.flush()
        self._check_not_cut()
        if self._original.damage is not None:
            raise DamagedReplica(f"{self._move.name} is damaged: {self._original.damage}")
        return self.copy

    async def _copy_chunk(self, most_bytes: int) -> int:
        original = self._original
        position = original.log_start_offset if self.copy is None else self.copy.log_end_offset
        batches = b""
        if position < original.log_end_offset:
            self._check_not_cut()
            try:
                batches = await original.read(position, most_bytes, up_to=original.log_end_offset, for_replica=True)
            except OffsetOutOfRange:  # what was copied is not retained any more
                raise _Cut from None
            self._check_not_cut()
        if self.copy is None:
            begins = read_header(batches).base_offset if batches else position
            self.copy = await self._target.begin_copy(original, self._source.directory_id, begins)
        if batches:
            self.copy.append_as_follower(batches, original.last_epoch)
        self._move.copied_bytes += len(batches)
        self._move.copied_to = self.copy.log_end_offset
        self._move.size_bytes = max(original.size_bytes, self._move.copied_bytes)
        return len(batches)

    def _check_not_cut(self) -> None:
        if self._original.generation != self._generation:
            raise _Cut

    def _check_room(self) -> None:
        free = _free_bytes(self._surroundings.disk, self._target.path)
        if free < LEAST_FREE_BYTES:
            raise StorageFailure(f"{self._target.path} has only {free >> 20} MiB free by now: the copy is given up")


def _free_bytes(disk: Disk, path: str) -> int:
    try:
        return disk.free_bytes(path)
    except OSError as error:
        raise StorageFailure(f"{path} cannot be used: {error}") from error
