"""A partition that broker 1 leads and whose followers, 2 and 3, speak by hand, on a real log in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random

from dohle.broker.in_sync import Proposal
from dohle.broker.leading import ACKS_ALL, LeaderTerms, Leading
from dohle.broker.waiting import Produced
from dohle.model.ids import NodeId
from dohle.model.image import PartitionImage
from dohle.model.topic_config import TopicConfig
from dohle.runtime.tasks import Tasks
from dohle.storage.log import Log
from tests.broker.logs import batch, fill, new_log
from tests.broker.slow_disk import SlowDisk

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)
LAG_S = 10.0


@dataclass
class Follower:
    """What a follower's feed is told."""

    ends: list[int] = field(default_factory=list)
    watermarks: int = 0
    resigned: bool = False
    is_live: bool = True

    def appended(self, batch: bytes, base_offset: int, next_offset: int) -> None:
        self.ends.append(next_offset)

    def watermark_moved(self, *, is_read: bool) -> None:
        self.watermarks += 1

    def leader_resigned(self) -> None:
        self.resigned = True


class Partition:
    """Broker 1 leads, 2 and 3 follow by hand."""

    def __init__(self, isr: tuple[int, ...], min_insync: int, replicas: tuple[int, ...]) -> None:
        self.disk = SlowDisk(Random(1))
        self.failures: list[BaseException] = []
        self.tasks = Tasks("test", self.failures.append)
        self.config = TopicConfig(min_insync_replicas=min_insync)
        self.asked: list[Proposal] = []
        self.fenced: set[int] = set()
        self.moved = 0
        self.looks: list[float] = []
        self.now = 100.0
        self.isr, self.assigned = isr, replicas
        self.numbers = 0
        self.log: Log
        self.followers: dict[int, Follower] = {}

    @classmethod
    async def new(
        cls,
        isr: tuple[int, ...] = (1, 2, 3),
        *,
        min_insync: int = 2,
        replicas: tuple[int, ...] = (1, 2, 3),
        found: tuple[tuple[int, int], ...] = (),
        flush_messages: int = 1,
    ) -> Partition:
        self = cls(isr, min_insync, replicas)
        self.config = TopicConfig(min_insync_replicas=min_insync, flush_messages=flush_messages)
        self.log = await new_log(self.disk, self.tasks, self.config)
        await fill(self.log, *found)
        self.lead(7)
        return self

    def lead(self, epoch: int) -> Leading:
        def moved() -> None:
            self.moved += 1

        terms = LeaderTerms(
            me=ONE,
            lag_time_max_s=LAG_S,
            is_live=lambda node: node not in self.fenced,
            may_join=lambda node, broker_epoch: node not in self.fenced and broker_epoch == 10 + node,
            ask_controller=self.asked.append,
            check_room=lambda _: None,
            watermark_moved=moved,
            look_again=self.looks.append,
        )
        assigned = tuple(NodeId(node) for node in self.assigned)
        image = PartitionImage(assigned, tuple(NodeId(n) for n in self.isr), ONE, epoch, 5, (0,) * len(assigned))
        leading = Leading(self.log, image, terms, self.now)
        self.log.on_durable = lambda: leading.advance(self.now)
        leading.advance(self.now)
        self.leading = leading
        return leading

    def subscribe(
        self, node: int, durable_end: int, *, durable_start: int = 0, broker_epoch: int | None = None
    ) -> Follower:
        self.numbers += 1
        follower = self.followers[node] = Follower()
        self.leading.subscribed(
            NodeId(node),
            10 + node if broker_epoch is None else broker_epoch,
            self.numbers,
            durable_end,
            durable_start,
            follower,
            self.now,
        )
        return follower

    def acknowledge(self, node: int, durable_end: int, durable_start: int = 0) -> None:
        self.leading.acknowledged(NodeId(node), self.followers[node], durable_end, durable_start, self.now)

    def append(
        self, acks: int = ACKS_ALL, *, timeout_s: float = 5.0, data: bytes | None = None
    ) -> asyncio.Future[Produced]:
        data = batch() if data is None else data
        future = self.leading.append(data, acks, self.now + timeout_s, self.now, int(self.now * 1000))
        assert future is not None
        future.add_done_callback(lambda done: done.exception())  # not every test looks at every answer
        return future

    async def durable(self) -> None:
        await self.log.flush()

    @property
    def watermark(self) -> int:
        return self.log.high_watermark
