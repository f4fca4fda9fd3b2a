"""Controller: the state machine on top of the quorum, and the one place where metadata changes.

Every voter keeps the committed image. The active controller keeps a second one, pending: the committed one plus what it
has appended and a majority has not confirmed yet. A command is decided on the pending image, its records are appended
as one batch, and its answer, an error or an empty one included, is given when all that it was decided on is committed.
An answer that commits nothing waits for a majority to confirm that this node still leads (raft.md, rule 7): who was
deposed, and has not heard of it, would answer with what is true no longer.

When this node stops being active the pending image is dropped, and whoever waits gets NOT_CONTROLLER.

Everything runs on the event loop and nothing waits between the decision and the append, so commands need no locks.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from dohle.controller.decision import Decision
from dohle.controller.election_counts import ElectionCounts
from dohle.controller.quorum import Quorum
from dohle.controller.quorum_listener import QuorumListener
from dohle.model.errors import DohleError, ThrottlingQuotaExceeded
from dohle.model.ids import NO_NODE
from dohle.model.image import EMPTY_IMAGE, ClusterImage
from dohle.model.image_apply import apply_batch
from dohle.model.metadata import check_levels
from dohle.model.metadata_batch import MetadataBatch
from dohle.runtime.tasks import turn

log = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_WAITING = 4096
_STEPS_AHEAD = 4  # of a long change; more would save slow disks little, for one fsync serves several
_OWN_LOG_S = 3.0  # that even a late election takes; a controller that lost its vote may hear nothing for ever
_ELECTION_S = 1.0  # most elections take less, and it is less than any caller's patience


@dataclass(frozen=True, slots=True)
class _Waiter:
    offset: int
    done: asyncio.Future[None]


class Controller:
    """The images, and the commands that change them."""

    def __init__(self, quorum: Quorum) -> None:
        self.quorum = quorum
        self.counts = ElectionCounts()
        self.committed: ClusterImage = EMPTY_IMAGE
        self._pending: ClusterImage | None = None
        self._waiters: deque[_Waiter] = deque()
        self._watchers: dict[asyncio.Event, None] = {}
        self._on_office: Callable[[], None] | None = None
        quorum.attach(
            QuorumListener(self._commit, self._take_office, self._leave_office, self._announce, self._install)
        )

    @property
    def is_active(self) -> bool:
        """Whether this node decides."""
        return self._pending is not None

    @property
    def pending(self) -> ClusterImage:
        """The image that decisions are made on. Raises NotController, also while the office is being handed over."""
        if self._pending is None or self.quorum.is_transferring:
            raise self.quorum.not_controller()
        return self._pending

    def on_office(self, call: Callable[[], None]) -> None:
        """Sets what to call whenever this node becomes the active controller, or stops to be; once."""
        assert self._on_office is None, "somebody listens already"
        self._on_office = call

    async def change(self, decide: Callable[[ClusterImage], Decision[T]], *, linearizable: bool = True) -> T:
        """Returns the answer of `decide`, or raises its error, once all that it rests upon is committed.

        While a decision says that more is to come, it is a step of a long change: in between the loop does what else
        waits, other changes too, and the next step is decided on what that has come to. So that no other change waits
        for all steps, few of them are on their way to the quorum at once.

        One that commits nothing may be of a moment ago where `linearizable` is off, and then costs no round of voters.
        Raises NotController if this node is not active, or is no longer before that: then the change, or some of its
        steps, may yet have happened. Raises ThrottlingQuotaExceeded, before a step is decided, if too many wait.
        """
        on_their_way: deque[int] = deque()  # where the last steps end
        while True:
            pending = self._pending_for_one_more()
            try:
                decision = decide(pending)
            except DohleError:
                if linearizable:
                    await self.quorum.read_barrier()
                await self._committed_up_to(pending.next_offset)
                raise
            if decision.records:
                pending = self._append(pending, decision)
            if not decision.more:
                break
            await turn(0, every=1)
            if len(on_their_way) == _STEPS_AHEAD:
                await self._committed_up_to(on_their_way.popleft())
            on_their_way.append(pending.next_offset)
        if linearizable and not decision.records:
            await self.quorum.read_barrier()
        await self._committed_up_to(pending.next_offset)
        return decision.answer

    def _pending_for_one_more(self) -> ClusterImage:
        pending = self.pending
        if len(self._waiters) >= _MOST_WAITING:
            raise ThrottlingQuotaExceeded("too many changes wait for the controllers' quorum; ask again a little later")
        return pending

    def _append(self, pending: ClusterImage, decision: Decision[T]) -> ClusterImage:
        """Appends what was decided on `pending`, and returns what that is now."""
        after = apply_batch(pending, decision.records, pending.next_offset)  # first: a bug here must append nothing
        end_offset = self.quorum.propose(decision.records, pending.metadata_version)
        assert end_offset == after.next_offset, (end_offset, after.next_offset)
        self._pending = after
        for alarm in decision.alarms:
            log.warning("%s", alarm)
        return after

    async def own_log_applied(self) -> ClusterImage:
        """Returns the committed image once it has all that this node's log has now and keeps.

        Sooner if for a while nothing more of that is known to be committed.
        """
        end_offset = self.quorum.log_end_offset
        changed = asyncio.Event()
        self.watch(changed)
        try:
            while self.committed.next_offset < min(end_offset, self.quorum.log_end_offset):
                changed.clear()
                async with asyncio.timeout(_OWN_LOG_S):
                    await changed.wait()
        except TimeoutError:
            pass
        finally:
            self.unwatch(changed)
        return self.committed

    async def leader_found(self) -> None:
        """Returns once it is known which node decides, this or another, or after a second without that.

        So whoever asks during an election waits for its end, in place of asking again and again.
        """
        if self._knows_leader or len(self._watchers) >= _MOST_WAITING:
            return
        changed = asyncio.Event()
        self.watch(changed)
        try:
            async with asyncio.timeout(_ELECTION_S):
                while not self._knows_leader:
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            pass
        finally:
            self.unwatch(changed)

    @property
    def _knows_leader(self) -> bool:
        quorum = self.quorum
        decides = self.is_active and not quorum.is_transferring
        return decides or quorum.leader_id not in (NO_NODE, quorum.identity.node_id)

    def watch(self, changed: asyncio.Event) -> None:
        """Sets `changed` at every commit, and whenever another node leads or none, until `unwatch`."""
        self._watchers[changed] = None

    def unwatch(self, changed: asyncio.Event) -> None:
        del self._watchers[changed]

    async def _committed_up_to(self, offset: int) -> None:
        if offset <= self.committed.next_offset:
            return
        waiter = _Waiter(offset, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)  # offsets never fall while in office, so the oldest is done first
        await waiter.done

    def _commit(self, batch: MetadataBatch) -> None:
        if self.is_active:
            self.counts.count(self.committed, batch.records)
        self._take(apply_batch(self.committed, batch.records, batch.base_offset))
        if self._pending is not None and self._pending.next_offset == self.committed.next_offset:
            self._pending = self.committed  # equal; only one of the two has to be kept
        while self._waiters and self._waiters[0].offset <= self.committed.next_offset:
            waiter = self._waiters.popleft()
            if not waiter.done.done():
                waiter.done.set_result(None)
        self._announce()

    def _install(self, image: ClusterImage) -> None:
        assert self._pending is None, "the active controller has all that is committed"
        self._take(image)
        self._announce()

    def _take(self, image: ClusterImage) -> None:
        if image.features is not self.committed.features:
            check_levels(image.features, self.quorum.identity.features, "this node")
        self.committed = image

    def _take_office(self, _term: int) -> None:
        self._pending = self.committed
        self._office_changed()

    def _leave_office(self) -> None:
        self._pending = None
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            if waiter.done.done():
                continue
            if waiter.offset <= self.quorum.commit_offset:
                waiter.done.set_result(
                    None
                )  # committed, if not applied: this node's own removal is so to say its last act
            else:
                waiter.done.set_exception(self.quorum.not_controller())
        self._office_changed()

    def _office_changed(self) -> None:
        if self._on_office is not None:
            self._on_office()
        self._announce()

    def _announce(self) -> None:
        for changed in self._watchers:
            changed.set()
