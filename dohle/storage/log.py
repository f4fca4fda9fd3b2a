"""Log: the batches of one partition replica, in Kafka's format, and how much of them is durable.

Offsets ascend: `log_start_offset` <= `high_watermark` <= `log_end_offset`, and `durable_end` <= `log_end_offset`.
Appends reach the page cache; a group commit makes them durable and moves `durable_end`, and only what lies below
`counted_end` may be acknowledged or counted. A truncation raises `generation`; syncs of an older one move nothing.

A log of which a recovery could not tell the end, for a batch is bad where no crash explains it, is neither read nor
appended to. Damage that a read finds is noted in the folder, and only what it hits cannot be read. Compactions leave
records out, and no offsets. Batches are taken as they come: `dohle.model.produced` and `producers.check` come before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from dohle.model.batch import BatchHeader, Bytes, read_header, stamp_append_time, with_stamp
from dohle.model.errors import (
    DamagedReplica,
    OffsetOutOfRange,
    RecordListTooLarge,
    StorageFailure,
    UnknownTopicOrPartition,
)
from dohle.model.topic_config import TopicConfig
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk, File
from dohle.storage.appended import Appended
from dohle.storage.checkpoints import Checkpoints, LogKey
from dohle.storage.compaction.batches import beginning_at
from dohle.storage.damage_note import delete_damage, note_damage
from dohle.storage.flush_waiters import FlushWaiters
from dohle.storage.group_commit import Flush, GroupCommit
from dohle.storage.log_reader import LogReader
from dohle.storage.opened import Damage, Opened
from dohle.storage.pushed_batches import check_pushed
from dohle.storage.retention import RetiredSegments, first_kept
from dohle.storage.roll import must_roll, wants_seal
from dohle.storage.sealed_segments import SealedSegments
from dohle.storage.segment import DamagedFile, Segment
from dohle.storage.time_lookup import TimeLookup
from dohle.storage.unsynced import Unsynced

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Log:
    """One replica's log. All of it is durable when it is opened."""

    __slots__ = (
        "_append_time",
        "_checkpoints",
        "_clock",
        "_closed",
        "_commit",
        "_disk",
        "_durable_end",
        "_end",
        "_high_watermark",
        "_reader",
        "_segments",
        "_snapshots",
        "_start",
        "_truncation",
        "_unsynced",
        "_waiting",
        "cleaned_to",
        "config",
        "damage",
        "epochs",
        "folder",
        "generation",
        "key",
        "name",
        "on_durable",
        "producers",
        "recovered",
        "retired",
        "sealed",
        "times",
        "topic_id",
    )

    def __init__(
        self,
        disk: Disk,
        clock: Clock,
        commit: GroupCommit,
        checkpoints: Checkpoints,
        *,
        folder: str,
        key: LogKey,
        topic_id: bytes | None,
        config: TopicConfig,
        opened: Opened,
    ) -> None:
        self._disk, self._clock, self._commit, self._checkpoints = disk, clock, commit, checkpoints
        self.folder, self.key, self.topic_id = folder, key, topic_id
        self.name = f"{key[0]}-{key[1]}"
        self.epochs, self.producers = opened.epochs, opened.producers
        self.recovered, self.damage = opened.recovered, opened.damage
        self.generation = 0
        self.cleaned_to = opened.cleaned_to  # of each key that was written below, the last record is left there
        self.on_durable: Callable[[], None] | None = None
        self.retired = RetiredSegments()
        self._segments, self._snapshots = opened.segments, opened.snapshots
        self.sealed = SealedSegments(opened.segments, opened.snapshots, self.retired)
        self._reader, self._waiting = LogReader(opened.segments), FlushWaiters()
        self.times = TimeLookup(self, opened.segments)
        self._start, self._high_watermark = opened.log_start_offset, opened.high_watermark
        self._end = self._durable_end = opened.log_end_offset
        self._unsynced = Unsynced(disk, folder, opened.segments, marked=opened.unsynced_marked)
        self._closed = False
        self._truncation: asyncio.Future[None] | None = None
        self.configure(config)

    # Where the log begins and ends

    @property
    def log_start_offset(self) -> int:
        return self._start

    @property
    def durable_start(self) -> int:
        """No start of this node finds anything below as part of the log."""
        return max(self.first_offset, min(self._start, self._checkpoints.written_start(self.key)))

    @property
    def first_offset(self) -> int:
        """Where the batches begin that are there: at the log's start or below, and where one batch begins."""
        return self._segments.bases[0]

    @property
    def log_end_offset(self) -> int:
        """The next record's offset."""
        return self._end

    @property
    def durable_end(self) -> int:
        """Everything below is on the device."""
        return self._durable_end

    @property
    def counted_end(self) -> int:
        """Everything below may be acknowledged: `durable_end`, or the log's end where flush.messages is relaxed."""
        return self._end if self._unsynced.counts_at_once else self._durable_end

    @property
    def high_watermark(self) -> int:
        return self._high_watermark

    @property
    def last_epoch(self) -> int:
        """The newest epoch noted, with or without data, or -1."""
        return self.epochs.latest

    @property
    def last_batch_epoch(self) -> int:
        """The leader epoch of the last batch, also of one that was let go; -1 if the log never had any."""
        return self.epochs.epoch_at(self._end - 1)

    @property
    def durable_epoch(self) -> int:
        """The same for the last batch below `durable_end`: a start finds at least so much again."""
        return self.epochs.epoch_at(self._durable_end - 1)

    @property
    def proven(self) -> bool:
        """Rule 13: nothing that ever counted here can have been lost by the last stop."""
        return self.recovered.proven and self.has_end

    @property
    def has_end(self) -> bool:
        """Whether it is known where the log ends, damaged or not."""
        return self.damage is None or self.damage.offsets is not None

    @property
    def is_settled(self) -> bool:
        """Whether its files are its own, and it is not damaged."""
        return self.is_its_own and self.damage is None

    @property
    def is_its_own(self) -> bool:
        """Whether its files are nobody else's: it is neither being cut nor closed."""
        return not self._closed and self._truncation is None

    @property
    def size_bytes(self) -> int:
        return self._segments.size_bytes

    # Configuration

    def configure(self, config: TopicConfig) -> None:
        """Works by `config` from now on. Relaxed flushing begins only when it is durably noted that it does."""
        self.config = config
        self._append_time = config.is_append_time
        for segment in self._segments.all:
            segment.index_interval_bytes = config.index_interval_bytes
        relaxed = config.flush_messages > 1
        if self._unsynced.relax(relaxed, self._commit, self.name) or (not relaxed and self._durable_end < self._end):
            self._commit.request(self)

    # Appends

    def append_as_leader(self, batch: Bytes, leader_epoch: int, now_ms: int) -> Appended:
        """Appends one valid batch, stamped with the next offset, the epoch and, where the topic says so, the time.

        Raises StorageFailure (nothing was kept of the batch), DamagedReplica, RecordListTooLarge.
        """
        self._check_appendable(leader_epoch)
        if len(batch) > self.config.segment_bytes:
            raise RecordListTooLarge(
                f"{self.name}: a batch of {len(batch)} bytes: the topic's segment.bytes is {self.config.segment_bytes}"
            )
        if self._append_time:
            batch = bytearray(batch)
            stamp_append_time(batch, 0, now_ms)
        base_offset = self._end
        stamped = with_stamp(batch, base_offset, leader_epoch)
        header = read_header(stamped)
        assert header.size_bytes == len(stamped), "exactly one batch"
        self._append(stamped, [(0, header)])
        return Appended(base_offset, self._end, now_ms if self._append_time else -1, stamped)

    def append_as_follower(self, batches: Bytes, leader_epoch: int, *, is_old: bool = False) -> Appended:
        """Appends whole batches, one or more, byte for byte as the leader of `leader_epoch` sent them.

        `is_old`: nobody else is to wait for them.
        Raises CorruptMessage or InvalidRecord, with nothing appended, where they are damaged or out of order, and
        StorageFailure, where whole batches may have been appended; `log_end_offset` tells.
        """
        self._check_appendable(-1)
        epoch = self.last_batch_epoch
        found = check_pushed(batches, name=self.name, end=self._end, epoch=epoch, leader_epoch=leader_epoch)
        if is_old:
            self._commit.expect_much(self)
        self._append(batches, found)
        return Appended(found[0][1].base_offset, found[-1][1].next_offset, -1, bytes(batches))

    def _check_appendable(self, leader_epoch: int) -> None:
        assert self._truncation is None, f"{self.name}: an append while it is truncated"
        self.check_sound()
        assert leader_epoch == -1 or leader_epoch >= self.epochs.latest, f"{self.name}: epochs never fall"

    def check_sound(self) -> None:
        """Raises what keeps the log from being read or appended to."""
        if self._closed:
            raise UnknownTopicOrPartition(f"{self.name}: the replica was removed from this node")
        self._commit.check()
        if not self.has_end:
            raise DamagedReplica(f"{self.name}: {self.damage}; the replica is neither served nor led from")

    def _append(self, buffer: Bytes, batches: list[tuple[int, BatchHeader]]) -> None:
        """Appends `batches`, which lie in `buffer` one behind the other, in as few writes as there are segments."""
        first = 0
        while first < len(batches):
            start, header = batches[first]
            beyond = len(batches)
            try:
                segment = self._segments.active
                if must_roll(segment, segment.size, header, self.config, self.name):
                    segment = self._roll()
                for later in range(first + 1, len(batches)):
                    at, one = batches[later]
                    if must_roll(segment, segment.size + at - start, one, self.config, self.name):
                        beyond = later
                        break
                end = batches[beyond][0] if beyond < len(batches) else len(buffer)
                position = segment.append(buffer if end - start == len(buffer) else memoryview(buffer)[start:end])
            except OSError as error:
                raise self._commit.refused(error) from error
            now = self._clock.now()
            for at, one in batches[first:beyond]:
                segment.note(one, position + at - start)
                if one.partition_leader_epoch != self.epochs.latest:
                    self.epochs.note(one.partition_leader_epoch, one.base_offset)
                if one.producer_id >= 0:
                    self.producers.update(one, now)
            self._appended(segment, batches[beyond - 1][1].next_offset, now)
            first = beyond

    def _appended(self, segment: Segment, end: int, now: float) -> None:
        waiting = self._unsynced.appended(segment, end - self._end, now)
        self._end = end
        if waiting >= self.config.flush_messages:
            self._commit.request(self)

    def _roll(self) -> Segment:
        """Seals the active segment and begins another at the log's end. Changes nothing where it raises OSError."""
        self._write_so_far(seal=True)
        new = self._new_segment(self._end)
        new.create()
        self._segments.add(new)
        self._commit.request(self)
        return new

    def _write_so_far(self, *, seal: bool) -> None:
        self._unsynced.add(self._segments.active.write_indexes(seal=seal))
        if self._snapshots.latest != self._end:
            self._unsynced.add([self._snapshots.write(self._end, self.producers, self._segments.bases)])

    def note_progress(self, *, is_late: bool) -> None:
        """Has a start after a kill read from here on, once the next sync is done. Raises StorageFailure."""
        if self.is_its_own and self.has_end and wants_seal(self._segments.active, self.config, is_late=is_late):
            with self._commit.using():
                self._write_so_far(seal=False)
            self._commit.request(self)

    def _new_segment(self, base_offset: int) -> Segment:
        return Segment(self._disk, self.folder, base_offset, index_interval_bytes=self.config.index_interval_bytes)

    # Durability

    def begin_flush(self) -> Flush | None:
        """Returns what a sync must take to make the whole log durable; for the group commit."""
        if not self.is_its_own:
            return None
        taken = self._unsynced.take()
        return None if taken is None else Flush(self._end, self.generation, *taken)

    def finish_flush(self, flush: Flush) -> None:
        """Takes note that `flush` is durable; for the group commit."""
        self._unsynced.was_synced()
        if flush.generation == self.generation:
            self._durable_moved_to(flush.end)

    def fail_flushes(self, failure: StorageFailure) -> None:
        """Tells everyone who waits; for the group commit."""
        self._waiting.end_all(failure)

    def _durable_moved_to(self, end: int) -> None:
        assert self._durable_end <= end <= self._end
        self._durable_end = end
        self._waiting.reached(end)
        if self.on_durable is not None:
            self.on_durable()

    async def flush(self) -> int:
        """Waits until all that was appended so far is durable; returns the durable end.

        That is below the log's end at the call only if the log was truncated meanwhile; a truncation under way is
        waited for. Raises StorageFailure.
        """
        if self._truncation is not None:
            await asyncio.shield(self._truncation)
        self._commit.check()
        if self._durable_end < self._end:
            waiter = self._waiting.wait_for(self._end)
            self._commit.request(self)
            await waiter
        return self._durable_end

    def flush_if_due(self, now: float) -> None:
        """Has old appends synced where flush.messages is relaxed."""
        if self._unsynced.is_due(self.config, now):
            self._commit.request(self)

    # Reads

    async def read(
        self,
        offset: int,
        max_bytes: int,
        *,
        up_to: int,
        min_one: bool = True,
        for_replica: bool = False,
        from_device: bool = False,
    ) -> bytes:
        """Returns whole batches, from the one on that holds `offset`, all of which end at or below `up_to`.

        They take at most `max_bytes`, unless `min_one` lets a first one through that is larger, and their checksums are
        right. Raises OffsetOutOfRange outside [log start, log end], StorageFailure, and DamagedReplica where the first
        of them is damaged. `for_replica`: they are for another replica, which may have what lies below the start.
        `from_device`: a sealed segment that begins at `offset` is not read from the page cache.
        """
        while True:
            self.check_sound()
            least = self.first_offset if for_replica else self._start
            if not least <= offset <= self._end:
                raise OffsetOutOfRange(f"{self.name}: offset {offset} is outside [{least}, {self._end}]")
            limit = min(up_to, self._end)
            if offset >= limit:
                return b""
            version = self.version
            data = await self.checked(self._reader.read(offset, max_bytes, limit, min_one, from_device), version)
            if data is not None and version == self.version:
                return beginning_at(data, offset) if for_replica else data

    @property
    def version(self) -> tuple[int, int]:
        """What a read that began in another one has found makes no sense: it was cut at one of its ends."""
        return self.generation, self.first_offset

    async def checked(self, work: Coroutine[Any, Any, T], version: tuple[int, int]) -> T | None:
        """Returns what `work` reads; None where the version has changed and it makes no sense."""
        try:
            return await work
        except OSError as error:
            self.check_sound()  # the files of a replica that was removed are gone, and no device with them
            if version != self.version and isinstance(error, FileNotFoundError):
                return None
            raise self._commit.refused(error) from error
        except DamagedFile as error:
            await self._note_damage(error, version)
            if version != self.version:
                return None
            self.check_sound()
            raise DamagedReplica(f"{self.name}: {error.message}") from error

    async def _note_damage(self, error: DamagedFile, version: tuple[int, int]) -> None:
        """Nobody hears of damage before it is noted durably: what is done about it must not be forgotten at a stop."""
        async with self._checkpoints.writing:  # held while the folder is renamed or deleted
            if self._closed or version != self.version or self.damage is not None:
                return
            with self._commit.replacing():
                self.damage = await note_damage(self._disk, self.folder, error, of_replica=self.topic_id is not None)
        logger.error("%s: %s", self.name, self.damage)

    # Epochs and watermark

    def start_epoch(self, epoch: int) -> int:
        """Notes that `epoch` begins at the log's end (rule 1), unless it is known. Returns where it begins."""
        assert epoch >= self.epochs.latest, f"{self.name}: epochs never fall"
        self.epochs.note(epoch, self._end)
        return self.epochs.entries[-1].start_offset

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """Returns (epoch, end offset) by rule 2, (-1, -1) where that is undefined."""
        return self.epochs.end_offset(epoch, self._end)

    def advance_high_watermark(self, offset: int) -> None:
        """Moves the watermark up to `offset`, at most to the log's end; never down."""
        self._high_watermark = max(self._high_watermark, min(offset, self._end))

    # Its beginning

    def advance_log_start(self, offset: int) -> None:
        """Moves the log's start up to `offset`, at most to its end."""
        if (start := min(offset, self._end)) > self._start:
            self._start = start
            self._checkpoints.start_moved.set()
        self._high_watermark = max(self._high_watermark, self._start)

    def size_below(self, offset: int) -> int:
        """Returns how many bytes of files go once the log begins at `offset`: those of whole segments."""
        return self._segments.size_below(offset, self._end)

    async def retained_from(self, now_ms: int) -> int:
        """Returns where the log is to begin by what its topic retains. Raises StorageFailure, DamagedReplica."""
        self.check_sound()
        version = self.version
        kept = first_kept(self._segments, self.config, self._high_watermark, self._end, now_ms)
        found = await self.checked(kept, version)
        return self._start if found is None or version != self.version else max(self._start, found)

    def seal(self) -> None:
        """Begins another segment at the log's end, unless that is done. Raises StorageFailure."""
        if self._segments.active.size:
            with self._commit.using():
                self._roll()

    def take_below(self, offset: int) -> list[Segment]:
        """Takes the segments out of the log that lie below `offset`, where it begins durably, and returns them."""
        if not self.is_its_own:
            return []
        taken = self._segments.take_below(min(offset, self._start))
        self._snapshots.delete_below(self.first_offset)
        self.epochs.begin_at(self.first_offset - 1)  # a log without batches still tells the epoch of its last one
        return taken

    # Truncation

    async def truncate_to(self, offset: int) -> None:
        """Cuts the log at the batch border at or below `offset`; durable on return.

        The epoch cache is cut even where the log is not: an epoch without data may be no other replica's. Nothing may
        be appended before this returns; the work goes on if the caller is cancelled (`flush` waits for it). Raises
        StorageFailure, DamagedReplica.
        """
        self.check_sound()
        if offset >= self._end:
            self.epochs.truncate_to(self._end)
        elif offset <= self._segments.bases[0] or offset < self._start:
            await self._exclusively(partial(self._start_over, offset))
        else:
            await self._exclusively(partial(self._truncate, offset))

    async def start_over_at(self, offset: int) -> None:
        """Empties the log, whose next record then has `offset`; durable on return. Otherwise as `truncate_to`."""
        await self._exclusively(partial(self._start_over, offset))

    async def _exclusively(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        assert self._truncation is None, f"{self.name}: two truncations at once"
        self._truncation = self._commit.run_to_end(partial(self._cut, work), f"truncate {self.name}")
        await asyncio.shield(self._truncation)

    async def _cut(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            with self._commit.syncing():
                await work()
                await self._unsynced.sync_all()
                self._durable_end = self._end
        except DamagedFile as error:
            self.damage = Damage(error.file, error.position, error.reason)
            self.check_sound()
        finally:
            self._truncation = None
        self._waiting.end_all(None)
        if self.on_durable is not None:
            self.on_durable()

    async def _truncate(self, offset: int) -> None:
        segment, position, border = await self._reader.border(offset)
        await self._leave_above(border, border, self._start)
        while self._segments.active is not segment:
            self._segments.drop_last().delete()
        self._unsynced.add(await segment.truncate_to(position, border))
        self._segments.unsynced[segment] = None
        self._snapshots.truncate_to(border)
        await self._snapshots.restore(self.producers, self._segments, border, self._clock.now())

    async def _start_over(self, offset: int) -> None:
        first = self._segments.bases[0]
        # a crash may leave no segment, or only the one that it begins with
        await self._leave_above(first, 0, min(self._start, offset))
        self.damage = None  # goes with all the rest
        delete_damage(self._disk, self.folder)
        while len(self._segments.all) > 1:  # from the end, so that a crash leaves a beginning
            self._segments.drop_last().delete()
        self._segments.active.delete()
        self._snapshots.truncate_to(-1)
        await self._disk.sync([], [self.folder])
        self.epochs.clear()
        self.producers.clear()
        segment = self._new_segment(offset)
        segment.create()
        self._segments.replace_all(segment)
        self._segments.unsynced[segment] = None
        self._start = self._end = self._high_watermark = offset

    async def _leave_above(self, border: int, recovery_point: int, start: int) -> None:
        """Lowers all ends to `border`, and the written recovery point and start to their own, before any byte goes."""
        with self._commit.replacing():  # where this finds no room nothing has changed
            await self._checkpoints.lower(self.key, recovery_point, border, start)
        self.generation += 1
        self._reader.forget()
        self._end, self._durable_end = border, min(self._durable_end, recovery_point)
        self._start, self._high_watermark = min(start, border), min(self._high_watermark, border)
        self.cleaned_to = min(self.cleaned_to, recovery_point)
        self.epochs.truncate_to(border)
        await self._commit.settled(self)

    # In another folder

    def takes_over(self, original: Log) -> None:
        """Becomes the replica whose batches it holds, every one; nobody appends to either, and all is durable."""
        assert self.durable_end == self._end == original.log_end_offset == original.durable_end, f"{self.name}: no copy"
        self.epochs, self.producers, self.recovered = original.epochs, original.producers, original.recovered
        self.epochs.version += 1  # they are not written here yet
        self.advance_log_start(original.log_start_offset)
        self.advance_high_watermark(original.high_watermark)

    def lies_in(self, folder: str) -> None:
        """The folder has another name."""
        self.folder = folder
        self._segments.lie_in(folder)
        self._unsynced.lies_in(folder)
        self._snapshots.lies_in(folder)

    # The end of the process

    def write_state(self, *, clear_mark: bool) -> list[File]:
        """Writes what makes the next start cheap: indexes and producer state. Returns open files to sync and close.

        Everything is durable, and nothing is appended any more. `clear_mark`: nothing unproven is left to tell.
        """
        assert self._durable_end == self._end
        files = self._segments.active.write_indexes(seal=True) if self._segments.active.indexes_changed else []
        if self._snapshots.latest != self._end and self._end > self.first_offset:
            files.append(self._snapshots.write(self._end, self.producers, self._segments.bases))
        if clear_mark:
            self._unsynced.delete_mark()
        return files

    async def close(self) -> None:
        """Lets go of all files, when whatever is under way with them has ended. Whoever waits for a flush is told."""
        self._closed = True
        if self._truncation is not None:
            await asyncio.shield(self._truncation)
        await self._commit.settled(self)
        self._waiting.end_all(UnknownTopicOrPartition(f"{self.name}: the replica was removed from this node"))
        self._unsynced.close()
        self._segments.close()
        self.retired.close()
