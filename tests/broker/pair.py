"""One leader broker's and one follower broker's side of replication, joined by a network in memory."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import Coroutine
from random import Random
from typing import Any

from dohle.broker.catch_up_bounds import CatchUpBounds
from dohle.broker.following import Following
from dohle.broker.leader_link import LeaderLink
from dohle.broker.leading import LeaderTerms, Leading
from dohle.broker.push_session import Feed, PushSession
from dohle.broker.surroundings import Surroundings
from dohle.model.errors import DohleError, NotLeaderOrFollower, UnknownLeaderEpoch
from dohle.model.ids import ClusterId, DirectoryId, IncarnationId, NodeId, PartitionKey
from dohle.model.image import EMPTY_IMAGE, PartitionImage
from dohle.model.topic_config import TopicConfig
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.methods import service
from dohle.rpc.v1 import replication_pb2
from dohle.runtime.network import Address, RequestContext
from dohle.runtime.tasks import Tasks
from dohle.storage.log import Log
from dohle.storage.new_log import NewLog
from tests.broker.logs import CLUSTER, TOPIC_ID, batch, open_dirs
from tests.broker.slow_disk import SlowDisk
from tests.broker.slow_network import SlowNetwork
from tests.broker.virtual_time import VirtualClock
from tests.controller import memory_network

LEADER, FOLLOWER = NodeId(1), NodeId(2)
ADDRESS = Address("leader", 7092)
FOLLOWER_EPOCH = 22
EPOCH = 100


async def _never(following: Following, _leader: Address) -> None:
    raise AssertionError(f"{following.log.name} is not damaged")


class Pair:
    """Partition `n` of the topic has a log on both; `lead` and `follow` give them their roles."""

    def __init__(self, seed: int, disk_s: float, network_s: float) -> None:
        self.random = Random(seed)
        self.disks = [SlowDisk(self.random, disk_s), SlowDisk(self.random, disk_s)]
        self.failures: list[BaseException] = []
        self.tasks = Tasks("pair", self.failures.append)
        self.net = memory_network.World()
        self.network_s = network_s
        self.logs: list[list[Log]] = [[], []]
        self.leadings: dict[int, Leading] = {}
        self.followings: dict[int, Following] = {}
        self.sessions: list[PushSession] = []
        self.numbers = itertools.count(1)
        self.throttle_bytes_per_s = 0
        self.bounds = CatchUpBounds(
            VirtualClock(),
            lambda: dataclasses.replace(EMPTY_IMAGE, reassignment_bytes_per_s=self.throttle_bytes_per_s),
            fill_bytes_per_s=50_000,
        )
        self.surroundings: Surroundings
        self.link: LeaderLink

    @classmethod
    async def new(cls, partitions: int = 1, *, seed: int = 1, disk_s: float = 0.002, network_s: float = 0.001) -> Pair:
        self = cls(seed, disk_s, network_s)
        for side in (0, 1):
            dirs = await open_dirs(self.disks[side], self.tasks, side + 1)
            self.logs[side] = await dirs.create_logs(
                [NewLog("t", number, TOPIC_ID, TopicConfig()) for number in range(partitions)]
            )
        descriptor = replication_pb2.DESCRIPTOR.services_by_name["Replication"]
        await self.net.network("leader").serve(ADDRESS, [service(descriptor, _LeaderService(self))], listener="GRPC")
        self.surroundings = Surroundings(
            _identity(FOLLOWER),
            VirtualClock(),
            self.disks[1],
            SlowNetwork(self.net.network("follower"), self.random, network_s),
            self.random,
            self.tasks,
        )
        self.link = LeaderLink(LEADER, ADDRESS, FOLLOWER_EPOCH, self.numbers, self.surroundings, _never)
        return self

    def lead(
        self, number: int = 0, *, epoch: int = EPOCH, isr: tuple[int, ...] = (1, 2), adding: tuple[int, ...] = ()
    ) -> Leading:
        terms = LeaderTerms(
            me=LEADER,
            lag_time_max_s=10.0,
            is_live=lambda _: True,
            may_join=lambda _, __: True,
            ask_controller=lambda _: None,
            check_room=lambda _: None,
            watermark_moved=lambda: None,
            look_again=lambda _: None,
        )
        members = tuple(NodeId(node) for node in isr)
        image = PartitionImage((LEADER, FOLLOWER), members, LEADER, epoch, 5, (0, 0))
        image = dataclasses.replace(image, adding_replicas=tuple(NodeId(node) for node in adding))
        log = self.logs[0][number]
        leading = Leading(log, image, terms, self.now)
        log.on_durable = lambda: leading.advance(self.now)
        self.leadings[number] = leading
        return leading

    def follow(self, number: int = 0, *, epoch: int = EPOCH, fills: bool = False, disk: int = 0) -> Following:
        following = Following(
            PartitionKey(TOPIC_ID, number), self.logs[1][number], LEADER, epoch, fills=fills, disk=disk
        )
        self.followings[number] = following
        self.link.follow(following)
        return following

    @classmethod
    async def joined(
        cls, partitions: int = 1, *, seed: int = 1, disk_s: float = 0.002, network_s: float = 0.001
    ) -> Pair:
        """Both roles begun, on empty logs, and every feed live."""
        self = await cls.new(partitions, seed=seed, disk_s=disk_s, network_s=network_s)
        for number in range(partitions):
            self.lead(number)
            self.follow(number)
        await self.caught_up()
        return self

    def find(self, follower: NodeId, broker_epoch: int, subscription: replication_pb2.Subscription) -> Leading:
        leading = self.leadings.get(subscription.partition)
        if leading is None:
            raise NotLeaderOrFollower
        if subscription.leader_epoch != leading.leader_epoch:
            raise UnknownLeaderEpoch
        return leading

    # what tests do and see

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def session(self) -> PushSession:
        return self.sessions[-1]

    def feed(self, number: int = 0) -> Feed:
        subscriber = self.leadings[number].replicas[FOLLOWER].subscriber
        assert isinstance(subscriber, Feed)
        return subscriber

    def append(self, number: int = 0, *, size: int = 20, mark: bytes = b"x") -> None:
        future = self.leadings[number].append(batch(size=size, mark=mark), -1, self.now + 60, self.now, 0)
        assert future is not None
        future.add_done_callback(lambda done: done.exception())

    def break_streams(self) -> None:
        self.net.break_streams("leader")

    def is_caught_up(self, number: int = 0) -> bool:
        leader, follower = self.logs[0][number], self.logs[1][number]
        end = leader.log_end_offset
        ends = {follower.log_end_offset, follower.high_watermark, follower.durable_end, leader.high_watermark}
        subscriber = self.leadings[number].replicas[FOLLOWER].subscriber
        return ends == {end} and isinstance(subscriber, Feed) and subscriber.is_live

    async def caught_up(self, timeout_s: float = 20.0) -> None:
        """Waits until both logs end alike, all of it is committed and pushes are live; then compares every byte."""
        async with asyncio.timeout(timeout_s):
            while not all(self.is_caught_up(number) for number in self.leadings):
                await asyncio.sleep(0.001)
        for number in self.leadings:
            leader, follower = self.logs[0][number], self.logs[1][number]
            start, end = leader.log_start_offset, leader.log_end_offset
            assert await follower.read(start, 1 << 30, up_to=end) == await leader.read(start, 1 << 30, up_to=end)
        assert not self.failures, self.failures


class _LeaderService:
    """Like the replication service, but for keeping its sessions in sight."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair

    async def read_batches(self, _request: object, _context: RequestContext) -> None:
        raise AssertionError("nothing is damaged")

    async def follow(self, stream: Any, _context: RequestContext) -> None:
        opening = (await stream.receive()).opening
        hello = _identity(LEADER).hello()
        follower = NodeId(opening.hello.node_id)
        session = PushSession(
            stream, follower, opening.broker_epoch, hello, self._pair.find, VirtualClock(), self._pair.bounds
        )
        self._pair.sessions.append(session)
        tasks = [self._pair.tasks.spawn(_until_broken(work), "pushes") for work in (session.send(), session.catch_up())]
        try:
            await session.receive()
        finally:
            session.close()
            for task in tasks:
                task.cancel()


async def _until_broken(work: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(DohleError):
        await work


def _identity(node_id: NodeId) -> NodeIdentity:
    raw = bytes([node_id]) * 16
    return NodeIdentity(ClusterId(CLUSTER), node_id, IncarnationId(raw), DirectoryId(raw))
