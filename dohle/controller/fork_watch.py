"""ForkWatch: brings forks to an end that are being made, and answers those who have asked for them.

Works while this node is the active controller. All that a fork is stands in the image, so that the next controller goes
on where this one stops. A fork that nothing happens to for a while is given up: whoever should have spoken is alive and
does not. Why forks came to nothing, and where they were cut, is remembered for a while by the controller that decided.
"""

from __future__ import annotations

import asyncio
import logging

from dohle.controller.controller import Controller
from dohle.controller.decision import Decision
from dohle.controller.forks import EndedFork, begin_fork, confirm_forks, points, settle_fork
from dohle.model.errors import DohleError, error_for
from dohle.model.ids import NodeId, TopicId
from dohle.model.image import ClusterImage, ForkImage
from dohle.rpc.v1.admin_pb2 import ForkTopicRequest, ForkTopicResponse
from dohle.rpc.v1.controller_pb2 import ConfirmForksRequest, ConfirmForksResponse
from dohle.runtime.clock import Clock
from dohle.runtime.tasks import OnFailure, Tasks

PATIENCE_S = 30.0
_LOOK_S = 0.5  # a broker may die that is waited for
_ANSWER_S = 1.0  # whoever passes the request on waits no longer, and asks again
_KEPT = 100

log = logging.getLogger(__name__)


class ForkWatch:
    """The forks of the cluster."""

    def __init__(self, controller: Controller, *, clock: Clock, on_failure: OnFailure) -> None:
        self._controller = controller
        self._clock = clock
        self._tasks = Tasks("forks", on_failure)
        self._seen: dict[TopicId, tuple[ForkImage, float]] = {}  # how each was, and since when
        self._ended: dict[TopicId, EndedFork] = {}
        self._why: dict[tuple[TopicId, int, NodeId], str] = {}  # replicas cannot have it

    async def start(self) -> None:
        self._tasks.spawn(self._watch(), "watch")

    async def close(self) -> None:
        await self._tasks.close()

    async def fork(self, request: ForkTopicRequest) -> ForkTopicResponse:
        """Has a fork made, and returns once it is whole, or after a moment without that. Raises what `begin_fork` does,
        and why it came to nothing."""
        topic_id = TopicId(request.topic_id)

        def decide(image: ClusterImage) -> Decision[ForkTopicResponse]:
            ended = self._ended.get(topic_id)
            if ended is not None and ended.failure is not None and topic_id not in image.forks:
                raise ended.failure
            return begin_fork(image, request)

        changed = asyncio.Event()
        self._controller.watch(changed)
        deadline = self._clock.now() + _ANSWER_S
        try:
            while True:
                changed.clear()
                answer = await self._controller.change(decide)
                if answer.whole or self._clock.now() >= deadline:
                    return self._told(topic_id, answer)
                try:
                    async with asyncio.timeout(max(deadline - self._clock.now(), 0.0)):
                        while topic_id in self._controller.committed.forks and self._controller.is_active:
                            await changed.wait()
                            changed.clear()
                except TimeoutError:
                    pass
        finally:
            self._controller.unwatch(changed)

    def _told(self, topic_id: TopicId, answer: ForkTopicResponse) -> ForkTopicResponse:
        image = self._controller.committed
        ended, topic = self._ended.get(topic_id), image.topics.get(topic_id)
        if answer.whole and ended is not None:
            answer.ends.extend(points(ended.ends))
        if topic is not None:
            answer.replication_factor = len(topic.partitions[0].assigned_replicas)
        answer.metadata_offset = image.next_offset
        return answer

    async def confirm(self, request: ConfirmForksRequest) -> ConfirmForksResponse:
        """Notes what a broker says of its replicas."""
        node_id = NodeId(request.broker_id)
        for said in request.replicas:
            if said.failure.code:
                error = error_for(said.failure.code, said.failure.message)
                log.info("broker %d cannot fork partition %d: %s", node_id, said.partition, error.message)
                self._why[TopicId(said.topic_id), said.partition, node_id] = error.message
        for ended in await self._controller.change(lambda image: confirm_forks(image, request)):
            self._remember(ended)
        return ConfirmForksResponse()

    def _remember(self, ended: EndedFork) -> None:
        failure = ended.failure
        why = [
            f"broker {node}: {text}" for (topic_id, _, node), text in self._why.items() if topic_id == ended.topic_id
        ]
        if failure is not None and why and failure.message not in why[0]:
            failure = type(failure)(f"{failure.message} ({'; '.join(why)})")
        self._why = {key: text for key, text in self._why.items() if key[0] != ended.topic_id}
        self._ended[ended.topic_id] = EndedFork(ended.topic_id, ended.ends, failure)
        while len(self._ended) > _KEPT:
            del self._ended[next(iter(self._ended))]

    async def _watch(self) -> None:
        changed = asyncio.Event()
        self._controller.watch(changed)
        try:
            while True:
                changed.clear()
                forks = self._controller.committed.forks
                if not self._controller.is_active or not forks:
                    self._seen.clear()
                    await changed.wait()
                    continue
                for topic_id in sorted(forks):
                    await self._look_at(forks[topic_id])
                try:
                    async with asyncio.timeout(_LOOK_S):
                        await changed.wait()
                except TimeoutError:
                    pass
        finally:
            self._controller.unwatch(changed)

    async def _look_at(self, fork: ForkImage) -> None:
        now = self._clock.now()
        before, since = self._seen.get(fork.topic_id, (None, now))
        if before != fork:
            since = now
        self._seen[fork.topic_id] = fork, since
        gives_up = now - since >= PATIENCE_S
        try:
            ended = await self._controller.change(
                lambda image: settle_fork(image, fork.topic_id, gives_up=gives_up), linearizable=False
            )
        except DohleError as error:  # out of office, or too much waits
            log.info("fork %s was not seen to: %s", fork.name, error.message)
            return
        if ended is not None:
            del self._seen[fork.topic_id]
            self._remember(ended)
            if ended.failure is None:
                log.info("topic %s is forked, at the offsets %s", fork.name, list(ended.ends))
