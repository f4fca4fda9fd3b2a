"""LedShard: a partition of `__consumer_offsets` that this broker leads, in one leader epoch.

Kept at every moment: commands see the state that all records give that were appended; whoever asks is told nothing that
is not committed; once the epoch is over nothing is appended and nobody is told anything but NotCoordinator.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeAlias

from dohle.broker.groups.loading import Loading
from dohle.broker.groups.record_bytes import encoded
from dohle.broker.leading import ACKS_ALL, Leading
from dohle.broker.membership import Membership
from dohle.broker.partition import Partition
from dohle.broker.surroundings import Surroundings
from dohle.broker.waiting import Produced
from dohle.groups.counts import GroupCounts
from dohle.groups.outcome import Moment, Outcome, Reply, Ticket
from dohle.groups.records import GroupRecord
from dohle.groups.settings import GroupSettings
from dohle.groups.shard import GroupShard
from dohle.model.codecs import Codec
from dohle.model.error_tree import Retriable
from dohle.model.errors import (
    CoordinatorNotAvailable,
    DamagedReplica,
    DohleError,
    LeaderNotAvailable,
    MessageTooLarge,
    NotEnoughReplicas,
    NotEnoughReplicasAfterAppend,
    RecordListTooLarge,
    RequestTimedOut,
    UnknownServerError,
)
from dohle.model.group_errors import CoordinatorLoadInProgress, NotCoordinator
from dohle.model.image import ClusterImage
from dohle.model.recompression import wanted_codec
from dohle.model.records import BatchBuilder
from dohle.runtime.tasks import turn
from dohle.runtime.workers import LostWorker

log = logging.getLogger(__name__)

Command: TypeAlias = Callable[[GroupShard, Ticket, Moment], Outcome]

_AGAIN_S: Final = 1.0
"""Before a load that has failed is tried again; meanwhile another replica may come to lead."""
_HELD_S: Final = 1.0
"""From the epoch's begin: who asks meanwhile waits for the load. librdkafka asks only twice, within 0.3 s, and then its
application is told."""
_IN_A_TURN: Final = 16  # outcomes that are carried out before the loop does what waits


class LedShard:
    """One epoch's. `image` gives the newest metadata; `commit_timeout_s`: how long an append may take to be committed.

    `load_and_coordinate` is its life, to be run as a task; `resign` ends it.
    """

    def __init__(
        self,
        partition: Partition,
        leading: Leading,
        surroundings: Surroundings,
        loading: Loading,
        settings: GroupSettings,
        image: Callable[[], ClusterImage],
        membership: Membership,
        *,
        commit_timeout_s: float,
        codec: Codec,
        counts: GroupCounts,
    ) -> None:
        self.partition = partition
        self.leading = leading
        self.is_coordinating = False
        self.loaded = 0  # records that were taken at the beginning
        self.load_s = 0.0  # how long that took, once it is over
        self._clock = surroundings.clock
        self._loading = loading
        self._new_shard = partial(GroupShard, settings, surroundings.random, counts)
        self._shard = self._new_shard()
        self._image = image
        self._membership = membership
        self._commit_timeout_s = commit_timeout_s
        self._codec = codec
        self._end = 0  # of what this epoch has appended
        self._tickets = itertools.count(1)
        self._asked: dict[Ticket, asyncio.Future[tuple[Reply, bool]]] = {}  # and whether it came of a commit
        self._news = asyncio.Event()
        self._next_s: float | None = None  # when the timers are looked at next
        self._topics_are_others = False
        self._pause: asyncio.Event | None = None  # set once commands may go on
        self._is_over = False
        self._held = asyncio.Event()  # set once nobody is to wait for the load any more
        self._held_until_s = self._clock.now() + _HELD_S
        self.task: asyncio.Task[None] | None = None

    # its life

    async def load_and_coordinate(self) -> None:
        began_s = self._clock.now()
        self.partition.watch(self._news.set)
        await self._loaded()
        await self._carry_out_all(self._shard.begin(self._image(), self._moment()))
        self.load_s = self._clock.now() - began_s
        self.is_coordinating = True
        self._held.set()
        level = logging.INFO if self.loaded else logging.DEBUG  # a new topic has 50 that are empty
        log.log(level, "%s: its groups are coordinated here; %d records loaded", self.partition.name, self.loaded)
        while True:
            self._news.clear()
            if self._topics_are_others:
                self._topics_are_others = False
                await self._take_topics()
            number = 0
            while (outcome := self._shard.expire(self._moment())) is not None:
                self._carry_out(outcome)
                await turn(number := number + 1, every=_IN_A_TURN)
            self._next_s = self._shard.next_s()
            await self._clock.wait(self._news, None if self._next_s is None else self._next_s - self._clock.now())

    async def _loaded(self) -> None:
        """Returns once the shard has all that the partition has; what is appended later is its own."""
        while not self.leading.watermark_is_current:
            self._news.clear()
            await self._news.wait()
        self.partition.unwatch(self._news.set)
        while True:
            self._end = self.leading.log.log_end_offset
            try:
                self.loaded = await self._loading.load(self.partition, self._end, self._shard.apply)
                return
            except DamagedReplica as failure:
                error: Exception = self.leading.found_damage(failure, self._clock.now())
            except (DohleError, LostWorker) as failure:
                error = failure
            log.error("%s: its groups have no coordinator, for it cannot be loaded: %s", self.partition.name, error)
            self._shard = self._new_shard()
            await self._clock.sleep(_AGAIN_S)

    async def _carry_out_all(self, outcomes: Iterator[Outcome]) -> None:
        for number, outcome in enumerate(outcomes):
            self._carry_out(outcome)
            await turn(number, every=_IN_A_TURN)

    async def _take_topics(self) -> None:
        """Commands wait meanwhile: it may be about all groups, which must not become others under its hands."""
        self._pause = asyncio.Event()
        try:
            await self._carry_out_all(self._shard.topics_changed(self._image(), self._moment()))
        finally:
            self._pause.set()
            self._pause = None

    def topics_changed(self) -> None:
        """There are other topics, or other partitions, in the metadata: commands go by it from now on."""
        self._shard.state.image = self._image()
        self._topics_are_others = True
        self._news.set()

    def configs_changed(self) -> None:
        """There are other configurations of groups in the metadata: commands go by it from now on."""
        self._shard.state.image = self._image()

    def resign(self) -> None:
        """The epoch is over."""
        self._is_over = True
        self._held.set()
        self.partition.unwatch(self._news.set)
        if self.task is not None:
            self.task.cancel()
        for asked in self._asked.values():
            if not asked.done():
                asked.set_result((NotCoordinator(f"this broker leads {self.partition.name} no more"), True))
        self._asked.clear()

    @property
    def shard(self) -> GroupShard:
        """To be looked at, as it is now: what stands in it may not be committed yet."""
        return self._shard

    # commands

    async def ask(self, command: Command) -> Reply:
        """Returns what the command is answered with, soon after the load if that is short. Raises DohleError."""
        if not self._held.is_set():
            await self._clock.wait(self._held, self._held_until_s - self._clock.now())
        while True:
            self._check()
            if self._pause is not None:
                await self._pause.wait()
            elif self.partition.exchanged is not None:
                await self.partition.may_append()
            else:
                break
        ticket = Ticket(next(self._tickets))
        asked = self._asked[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._carry_out(command(self._shard, ticket, self._moment()))
            reply, is_of_commit = await asked
        finally:
            self._asked.pop(ticket, None)
        if not is_of_commit and not self._membership.is_assured:
            await self._still_lead()
        if isinstance(reply, DohleError):
            raise reply
        return reply

    async def _still_lead(self) -> None:
        """Returns once it is sure that nobody else has led while a reply came out of memory alone.

        Raises NotCoordinator.
        """
        if not await self._membership.assured(self._commit_timeout_s) or self._is_over:
            raise NotCoordinator(f"another broker may lead {self.partition.name}: no controller says otherwise")

    def _check(self) -> None:
        if self._is_over:
            raise NotCoordinator(f"this broker does not lead {self.partition.name} any more")
        if not self.is_coordinating:
            raise CoordinatorLoadInProgress(f"{self.partition.name} is being loaded: ask again in a moment")

    def _moment(self) -> Moment:
        return Moment(self._clock.now(), self._clock.wall_ms())

    # outcomes

    def _carry_out(self, outcome: Outcome) -> None:
        committed: asyncio.Future[Produced] | None = None
        failure: DohleError | None = None
        if outcome.records:
            try:
                committed = self._append(outcome.records)
            except DohleError as error:
                failure = _told(error)
            else:
                for record in outcome.records:
                    self._shard.apply(record)
        elif outcome.replies or outcome.then is not None:
            committed = self._commit_of_earlier()
        if committed is None:
            self._finish(outcome, failure)
        else:
            committed.add_done_callback(partial(self._settled, outcome))
        self._look_at_timers()

    def _append(self, records: tuple[GroupRecord, ...]) -> asyncio.Future[Produced]:
        """Returns the acknowledgement. Raises DohleError, with nothing appended."""
        if self._is_over:
            raise NotCoordinator(f"this broker does not lead {self.partition.name} any more")
        if self.partition.exchanged is not None:
            raise LeaderNotAvailable(f"{self.partition.name} is changing over to another log directory")
        now, wall_ms = self._moment()
        builder = BatchBuilder()
        try:
            for record in records:
                key, value = encoded(record)
                builder.append(key, value, wall_ms)
        except ValueError as error:
            raise UnknownServerError(f"{self.partition.name}: a record has no form: {error}") from error
        codec = wanted_codec(self.leading.log.config)
        batch = builder.build(self._codec if codec is None else codec)
        committed = self.leading.append(batch, ACKS_ALL, now + self._commit_timeout_s, now, wall_ms)
        assert committed is not None, "only acks=0 has no acknowledgement"
        self._end = self.leading.log.log_end_offset
        return committed

    def _commit_of_earlier(self) -> asyncio.Future[Produced] | None:
        """Returns what is done once all that was appended so far is committed; None if it is."""
        if self.leading.log.high_watermark >= self._end or self._is_over:
            return None
        return self.leading.committed(self._end, self._clock.now() + self._commit_timeout_s)

    def _settled(self, outcome: Outcome, committed: asyncio.Future[Produced]) -> None:
        error = committed.exception()
        if error is not None and not isinstance(error, DohleError):
            raise error
        self._finish(outcome, None if error is None else _told(error))

    def _finish(self, outcome: Outcome, failure: DohleError | None) -> None:
        """The outcome's records are committed, or it is not known whether they will be, or they were refused."""
        if self._is_over:
            return
        for ticket, reply in outcome.replies.items():
            asked = self._asked.get(ticket)
            if asked is not None and not asked.done():
                asked.set_result((reply if failure is None else failure, bool(outcome.records)))
        if outcome.then is not None:
            self._carry_out(outcome.then(failure, self._moment()))

    def _look_at_timers(self) -> None:
        """Has timers looked at earlier that were set for earlier."""
        if self.is_coordinating and not self._news.is_set():
            next_s = self._shard.next_s()
            if next_s is not None and (self._next_s is None or next_s < self._next_s):
                self._news.set()


def _told(error: DohleError) -> DohleError:
    """Returns what groups' clients are told of an append that failed, as Kafka does."""
    match error:
        case NotCoordinator() | CoordinatorNotAvailable():
            return error
        case NotEnoughReplicas() | NotEnoughReplicasAfterAppend() | RequestTimedOut() | LeaderNotAvailable():
            return CoordinatorNotAvailable(error.message)
        case MessageTooLarge() | RecordListTooLarge():
            return UnknownServerError(error.message)
        case Retriable():
            return NotCoordinator(error.message)
        case _:
            return error
