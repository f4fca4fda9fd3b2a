"""Workload: clients that write keyed records, read along and see to topics, and note what they did in a history.

The settings are those under which nothing may be lost: acks=all and idempotent producers. What differs from writer to
writer takes turns through the mix's tuples.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, TypeVar

from dohle.client.admin import Admin
from dohle.client.producer import Producer
from dohle.model.errors import DohleError, TopicAlreadyExists
from dohle.model.internal_topics import OFFSETS_TOPIC
from dohle.model.metadata import NEWEST_METADATA_VERSION
from dohle.testing.clients.deleter import Deleter, Deletions
from dohle.testing.clients.drainer import Drainer
from dohle.testing.clients.finaliser import Finaliser
from dohle.testing.clients.forker import Forker
from dohle.testing.clients.group_keeper import GroupKeeper
from dohle.testing.clients.group_member import Grouped
from dohle.testing.clients.housekeeper import Housekeeper
from dohle.testing.clients.mover import Mover
from dohle.testing.clients.operator import Operator
from dohle.testing.clients.overwriter import TOPIC as COMPACTED_TOPIC
from dohle.testing.clients.overwriter import Compacted, Overreader, Overwriter
from dohle.testing.clients.reader import Reader, Wish
from dohle.testing.clients.rebalancer import Rebalancer
from dohle.testing.clients.remaker import Remaker
from dohle.testing.clients.sim_client import SimClient, seams_of
from dohle.testing.clients.writer import Writer
from dohle.testing.history.history import History
from dohle.testing.history.last_values import LastValues
from dohle.testing.world.process import SimProcess
from dohle.testing.world.topology import RACKS
from dohle.testing.world.world import World

Choice = TypeVar("Choice")

TOPIC = "t"
_READ_ALL_WITHIN_S = 60.0
_REMAKES = 0.3
_CHANGES_OF_THE_MINIMUM = 0.4
_GAMBLES = 0.4
_LETS_GO = 0.25
_COMPACTS = 1 / 6
_FORKS = 1 / 4
_FORKS_OF_COMPACTED = 1 / 2
_GROUPS = 1 / 4
_GROUP_READS_WITHIN_S = 90.0
_LEAVES_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Mix:
    """What a run's clients do."""

    partitions: int
    segment_ms: int
    writers: int
    keys_each: int
    records_per_s: float  # of all writers, on average
    largest_burst: int  # records that are sent at once
    linger_ms: tuple[int, ...]
    compressions: tuple[str, ...]
    delivery_timeouts_ms: tuple[int, ...]
    readers: tuple[str, ...]  # names of what a reader may wish for
    housekeeping_every_s: float  # on average; topics come and go, and are asked for
    operating_every_s: float = 0.0  # on average; replicas move, and leaders are elected; 0: never
    remakes_a_topic: bool = False
    reader_racks: tuple[str, ...] = ("",)  # where each reader says that it is
    fetch_waits_ms: tuple[int, ...] = (500,)  # for so long a reader's fetches wait for records
    rebalancing_every_s: float = 0.0  # on average; what brokers carry is evened; 0: never
    changes_the_minimum: bool = False  # the operator does, of min.insync.replicas
    gambles: bool = False  # the housekeeper does, with a topic that may lose records
    draining_every_s: float = 0.0  # on average; brokers are emptied, and come and go; 0: never
    dir_moves_every_s: float = 0.0  # on average; replicas go to other directories of their brokers; 0: never
    deleting_every_s: float = 0.0  # on average; the oldest records are deleted; 0: never
    retention_bytes: int = -1  # of the topic's partitions; -1: all is retained
    retention_ms: int = -1  # likewise
    compacted: Compacted | None = None  # a topic that is
    forking_every_s: float = 0.0  # on average; the topic is forked; 0: never
    forks_compacted: bool = False  # in turn with the one that is compacted
    grouped: Grouped | None = None  # a group that reads the topic

    @classmethod
    def drawn(cls, chance: Random) -> Mix:
        mix = cls(
            partitions=chance.randint(1, 6),
            segment_ms=chance.choice((500, 5_000, 86_400_000)),
            writers=chance.randint(1, 3),
            keys_each=chance.randint(2, 8),
            records_per_s=chance.choice((20, 22, 25)),
            largest_burst=chance.choice((10, 20, 40)),
            linger_ms=_some(chance, (0, 5, 50)),
            compressions=_some(chance, ("none", "gzip", "snappy", "lz4", "zstd")),
            delivery_timeouts_ms=_some(chance, (5_000, 20_000, 120_000)),
            readers=_some(chance, [wish.value for wish in Wish]),
            housekeeping_every_s=chance.choice((4, 8, 16)),
            operating_every_s=chance.choice((0.0, 2.0, 5.0, 10.0)),
            remakes_a_topic=chance.random() < _REMAKES,
            fetch_waits_ms=_some(chance, (500, 2_000, 10_000)),
        )
        mix = replace(mix, reader_racks=tuple(chance.choice(("", *RACKS)) for _ in mix.readers))
        return replace(
            mix,
            rebalancing_every_s=chance.choice((0.0, 0.0, 0.0, 20.0, 30.0)),
            changes_the_minimum=chance.random() < _CHANGES_OF_THE_MINIMUM,
            gambles=chance.random() < _GAMBLES,
            draining_every_s=chance.choice((0.0, 0.0, 5.0, 15.0)),
            dir_moves_every_s=chance.choice((0.0, 0.5, 2.0)),
        )

    @property
    def retains_all(self) -> bool:
        is_retained_little = self.compacted is not None and self.compacted.is_retained_little
        return self.retention_bytes < 0 and self.retention_ms < 0 and not is_retained_little

    def letting_go(self, chance: Random) -> Mix:
        """Returns the mix with clients that delete records and topics that do not retain all, or as it is."""
        deleting_every_s = chance.choice((0.0, 0.0, 2.0, 6.0))
        if chance.random() >= _LETS_GO:
            return replace(self, deleting_every_s=deleting_every_s)
        return replace(
            self,
            deleting_every_s=deleting_every_s,
            segment_ms=chance.choice((500, 2_000)),
            retention_bytes=chance.choice((-1, 2_000, 10_000)),
            retention_ms=chance.choice((-1, 3_000, 20_000)),
        )

    def compacting(self, chance: Random) -> Mix:
        """Returns the mix with a topic that is compacted, or as it is."""
        return replace(self, compacted=Compacted.drawn(chance)) if chance.random() < _COMPACTS else self

    def forking(self, chance: Random) -> Mix:
        """Returns the mix with a client that forks the topic, and what is compacted, or as it is."""
        has_compacted = self.compacted is not None
        if chance.random() >= (_FORKS_OF_COMPACTED if has_compacted else _FORKS):
            return self
        return replace(self, forking_every_s=chance.choice((1.0, 3.0, 8.0)), forks_compacted=has_compacted)

    def grouping(self, chance: Random) -> Mix:
        """Returns the mix with a group of consumers, or as it is."""
        return replace(self, grouped=Grouped.drawn(chance)) if chance.random() < _GROUPS else self


class Workload:
    """The clients of one run."""

    def __init__(self, world: World, mix: Mix) -> None:
        self.history = History()
        self.made = False
        self.housekeeper: Housekeeper | None = None  # once the topic is made
        self.operator: Operator | None = None
        self.remaker: Remaker | None = None  # likewise, if the mix has one
        self.finaliser: Finaliser | None = None  # likewise, if nodes are upgraded
        self.rebalancer: Rebalancer | None = None
        self.drainer: Drainer | None = None
        self.forker: Forker | None = None
        self.group: GroupKeeper | None = None
        self.deletions = Deletions()
        self._world = world
        self._mix = mix
        self._values = LastValues()
        self._over = False
        self._at_work = 0  # clients that must end by themselves, for what they began to be known

    def start(self) -> None:
        """Makes the topic, then starts the clients."""
        maker = self._world.client("maker")
        maker.spawn(self._make(maker), "topic")

    async def stop(self) -> None:
        """Ends the clients, the writers once what they sent was delivered or has failed."""
        self._over = True
        patience_s = max(self._mix.delivery_timeouts_ms) / 1000 + 30
        await self._world.until(lambda: not self._at_work, patience_s, "every client has ended")

    async def read_all(self) -> None:
        """Has a fresh consumer read every partition from its beginning to its end."""
        reader = self._client("final reader")
        done: list[None] = []

        async def read() -> None:
            await Reader(reader, TOPIC).read_all()
            done.append(None)

        reader.process.spawn(read(), "read")
        await self._world.until(lambda: bool(done), _READ_ALL_WITHIN_S, "a fresh consumer has read everything")

    async def group_reads_all(self, starts: Callable[[], Mapping[str, int]]) -> None:
        """Waits until the group, if there is one, has dealt with all that was acknowledged, and has it leave."""
        group = self.group
        if group is None:
            return
        ends: dict[str, int] = {}
        for send in self.history.acknowledged_sends:
            if send.offset is not None:
                ends[send.log] = max(ends.get(send.log, 0), send.offset + 1)

        def has_read() -> bool:
            begun = starts()
            return not group.is_behind({log: end for log, end in ends.items() if end > begun.get(log, 0)})

        await self._world.until(has_read, _GROUP_READS_WITHIN_S, "the group has read everything")
        group.leave()
        await self._world.until(group.everybody_left, _LEAVES_WITHIN_S, "every member has left")
        done: list[None] = []

        async def ask() -> None:
            await group.ask_what_is_committed(self._mix.partitions)
            done.append(None)

        group.client.process.spawn(ask(), "ask")
        await self._world.until(lambda: bool(done), _LEAVES_WITHIN_S, "somebody says what is committed")

    async def judge_last_values(self, starts: Callable[[], Mapping[str, int]]) -> None:
        """Has a fresh consumer read what is compacted, and what was forked, if anything was. `starts` tells where logs
        have begun."""
        if self._mix.compacted is not None:
            reader = self._client("judging overreader")
            await self._judge(reader, Overreader(reader, self._values).judge(starts), "what is compacted")
        if self.forker is not None:
            await self._judge(self.forker.client, self.forker.judge(starts), "the forks that are left")

    async def _judge(self, client: SimClient, reading: Coroutine[Any, Any, None], what: str) -> None:
        done: list[None] = []

        async def read() -> None:
            await reading
            done.append(None)

        client.process.spawn(read(), "read")
        await self._world.until(lambda: bool(done), _READ_ALL_WITHIN_S, f"a fresh consumer has read {what}")

    async def _make(self, process: SimProcess) -> None:
        mix = self._mix
        configs = {"segment.ms": str(mix.segment_ms)}
        if mix.retention_bytes >= 0 or mix.retention_ms >= 0:
            configs["retention.bytes"] = str(mix.retention_bytes)
            configs["retention.ms"] = str(mix.retention_ms)
            configs["file.delete.delay.ms"] = "1000"
        async with Admin(self._world.bootstrap, **seams_of(process)) as admin:
            await self._make_topic(process, admin, TOPIC, mix.partitions, configs)
            if mix.compacted is not None:
                compacted = mix.compacted
                await self._make_topic(process, admin, COMPACTED_TOPIC, compacted.partitions, compacted.configs)
        self.made = True
        self._start_clients()

    async def _make_topic(
        self, process: SimProcess, admin: Admin, name: str, partitions: int, configs: dict[str, str]
    ) -> None:
        topology = self._world.topology
        configs = {"min.insync.replicas": str(topology.min_in_sync_replicas), **configs}
        while True:
            try:
                await admin.create_topic(
                    name, partitions=partitions, replication_factor=topology.replication_factor, configs=configs
                )
                return
            except TopicAlreadyExists:
                return
            except DohleError as error:  # the storm has begun
                if not error.retriable:
                    raise
                await process.clock.sleep(0.5)

    def _start_clients(self) -> None:
        mix = self._mix
        for number in range(mix.writers):
            client = self._client(f"writer{number}")
            self._begin(client, self._write(client, number))
        for number, wish in enumerate(mix.readers):
            client = self._client(f"reader{number}")
            self._begin(client, self._read(client, Wish(wish), number))
        client = self._client("housekeeper")
        replication_factor = self._world.topology.replication_factor
        self.housekeeper = Housekeeper(client, TOPIC, replication_factor, mix.housekeeping_every_s, mix.gambles)
        self._begin(client, self.housekeeper.run(self._is_over))
        if mix.operating_every_s:
            client = self._client("operator")
            least = self._world.topology.min_in_sync_replicas if mix.changes_the_minimum else 0
            self.operator = Operator(client, TOPIC, replication_factor, mix.operating_every_s, least)
            self._begin(client, self.operator.run(self._is_calm))
        if self._world.formatted_at < NEWEST_METADATA_VERSION:
            client = self._client("finaliser")
            self.finaliser = Finaliser(client)
            self._begin(client, self.finaliser.run(self._is_over))
        if mix.dir_moves_every_s and any(node.log_dirs > 1 for node in self._world.topology.nodes):
            client = self._client("mover")
            self._begin(client, Mover(client, mix.dir_moves_every_s).run(self._is_over))
        if mix.rebalancing_every_s:
            client = self._client("rebalancer")
            self.rebalancer = Rebalancer(client, mix.rebalancing_every_s)
            self._begin(client, self.rebalancer.run(self._is_calm))
        if mix.draining_every_s:
            client = self._client("drainer")
            self.drainer = Drainer(client, self._world, mix.draining_every_s)
            self._begin(client, self.drainer.run(self._is_calm))
        if mix.deleting_every_s:
            client = self._client("deleter")
            deleter = Deleter(client, TOPIC, mix.partitions, mix.deleting_every_s, self.deletions)
            self._begin(client, deleter.run(self._is_over))
        if mix.forking_every_s:
            compacted = mix.compacted if mix.forks_compacted else None
            self.forker = Forker(self._client("forker"), TOPIC, mix.forking_every_s, compacted, self._values)
            self._begin(self.forker.client, self.forker.run(self._is_over))
        if mix.grouped is not None:
            self._start_group(mix.grouped)
        if mix.remakes_a_topic:
            client = self._client("remaker")
            self.remaker = Remaker(client, replication_factor)
            self._begin(client, self.remaker.run(self._is_over))
        if mix.compacted is not None:
            self._start_overwriting(mix.compacted)

    def _start_group(self, grouped: Grouped) -> None:
        group = self.group = GroupKeeper(self._client("group keeper"), self._world, grouped, TOPIC, self._client)
        self._begin(group.client, group.run(self._is_calm))
        if grouped.moving_every_s:
            client = self._client("operator of the offsets")
            replication_factor = self._world.topology.replication_factor
            operator = Operator(client, OFFSETS_TOPIC, replication_factor, grouped.moving_every_s)

            async def operate() -> None:
                while not group.is_ready:
                    await client.clock.sleep(1.0)
                await operator.run(self._is_calm)

            self._begin(client, operate())

    def _start_overwriting(self, compacted: Compacted) -> None:
        for number in range(compacted.writers):
            client = self._client(f"overwriter{number}")
            self._begin(client, Overwriter(client, compacted, self._values).run(self._is_over))
        client = self._client("overreader")
        self._begin(client, Overreader(client, self._values).run(self._is_over))
        if compacted.operating_every_s:
            client = self._client("operator of what is compacted")
            replication_factor, every_s = self._world.topology.replication_factor, compacted.operating_every_s
            operator = Operator(client, COMPACTED_TOPIC, replication_factor, every_s)
            self._begin(client, operator.run(self._is_calm))
        if compacted.is_retained_little and self._mix.deleting_every_s:
            client = self._client("deleter of what is compacted")
            every_s = self._mix.deleting_every_s
            deleter = Deleter(client, COMPACTED_TOPIC, compacted.partitions, every_s, self.deletions)
            self._begin(client, deleter.run(self._is_over))

    def _client(self, name: str) -> SimClient:
        return SimClient(self._world, self.history, name)

    def _begin(self, client: SimClient, work: Coroutine[Any, Any, None]) -> None:
        self._at_work += 1

        async def to_the_end() -> None:
            await work
            self._at_work -= 1

        client.process.spawn(to_the_end(), "work")

    async def _write(self, client: SimClient, number: int) -> None:
        mix = self._mix
        producer = Producer(
            client.bootstrap,
            acks="all",
            idempotent=True,
            linger_ms=_turn(mix.linger_ms, number),
            compression=_turn(mix.compressions, number),
            delivery_timeout_ms=_turn(mix.delivery_timeouts_ms, number),
            request_timeout_ms=4_000,
            max_block_ms=120_000,
            **client.seams,
        )
        writer = Writer(
            client,
            TOPIC,
            mix.partitions,
            keys=mix.keys_each,
            records_per_s=mix.records_per_s / mix.writers,
            largest_burst=mix.largest_burst,
        )
        await writer.run(producer, self._is_over)

    async def _read(self, client: SimClient, wish: Wish, number: int) -> None:
        rack, wait_ms = _turn(self._mix.reader_racks, number), _turn(self._mix.fetch_waits_ms, number)
        await Reader(client, TOPIC, rack, fetch_wait_ms=wait_ms).run(wish, self._is_over)

    def _is_over(self) -> bool:
        return self._over

    def _is_calm(self) -> bool:
        """Whether whoever moves things about is to begin nothing more."""
        return self._world.is_calm or self._over


def _turn(choices: tuple[Choice, ...], number: int) -> Choice:
    return choices[number % len(choices)]


def _some(chance: Random, choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """Returns one to three of the choices."""
    return tuple(chance.sample(choices, chance.randint(1, min(3, len(choices)))))
