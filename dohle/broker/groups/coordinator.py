"""GroupCoordinator: who asks for a group finds its coordinator here, or is told that it is elsewhere.

A group belongs to one partition of `__consumer_offsets`, by its id; the broker that leads this one coordinates it. What
is led here, and since when, `replicas` says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from types import UnionType
from typing import Final

from dohle.broker.groups.led_shard import Command, LedShard
from dohle.broker.groups.loading import Loading
from dohle.broker.groups.offsets_topic import AskController, OffsetsTopic, OffsetsTopicSettings
from dohle.broker.leading import Leading
from dohle.broker.membership import Membership
from dohle.broker.metadata_follower import MetadataFollower
from dohle.broker.partition import Partition
from dohle.broker.replicas import Replicas
from dohle.broker.surroundings import Surroundings
from dohle.groups.counts import GroupCounts
from dohle.groups.outcome import Reply
from dohle.groups.settings import GroupSettings
from dohle.model.codecs import Codec
from dohle.model.errors import CoordinatorNotAvailable, DohleError
from dohle.model.group_errors import CoordinatorLoadInProgress, InvalidGroupId, NotCoordinator
from dohle.model.ids import NO_NODE, NodeId
from dohle.model.internal_topics import OFFSETS_TOPIC
from dohle.model.metadata import GroupOverride, RemoveTopic, Topic
from dohle.model.metadata import Partition as NewPartition
from dohle.model.metadata_batch import MetadataBatch
from dohle.runtime.workers import Workers

_KEPT_HASHES: Final = 4096
_MOST_KEPT_CHARACTERS: Final = 256
_LEAST_INT: Final = -(1 << 31)


@dataclass(frozen=True, slots=True)
class CoordinatorSettings:
    """What an operator sets of groups, and of where they are kept. `codec` is that of the records. `lag_interval_ms`:
    how often lags are measured for metrics and lists; 0: never."""

    groups: GroupSettings = field(default_factory=GroupSettings)
    topic: OffsetsTopicSettings = field(default_factory=OffsetsTopicSettings)
    commit_timeout_s: float = 5.0
    lag_interval_ms: int = 5000
    codec: Codec = Codec.NONE


class GroupCoordinator:
    """One broker's. What it answers with, and raises, `ask` says."""

    def __init__(
        self,
        settings: CoordinatorSettings,
        surroundings: Surroundings,
        replicas: Replicas,
        membership: Membership,
        metadata: MetadataFollower,
        workers: Workers,
        ask_controller: AskController,
    ) -> None:
        self.settings = settings
        self.counts = GroupCounts()
        self._surroundings = surroundings
        self._membership = membership
        self._metadata = metadata
        self.loading = Loading(workers)
        self._topic = OffsetsTopic(settings.topic, surroundings, metadata, ask_controller)
        self._led: dict[int, LedShard] = {}
        replicas.on_elected = self._elected
        replicas.on_resigned = self._resigned

    # who coordinates

    def partition_of(self, group_id: str) -> int:
        """Returns the partition of `__consumer_offsets` that the group is kept in, as every Kafka broker reckons."""
        return partition_in(self._topic.partition_count, group_id)

    async def coordinator(self, group_id: str) -> NodeId:
        """Returns who coordinates the group. Raises CoordinatorNotAvailable: nobody at the moment."""
        topic = await self._topic.made()
        number = self.partition_of(group_id)
        leader = topic.partitions[number].leader
        if leader == NO_NODE:
            raise CoordinatorNotAvailable(f"{OFFSETS_TOPIC}-{number} has no leader at the moment")
        return leader

    async def make_topic(self) -> None:
        """Makes `__consumer_offsets` if it is not there. Raises CoordinatorNotAvailable."""
        await self._topic.made()

    # what groups are asked

    async def ask(self, group_id: str, command: Command, *, may_be_empty: bool = False) -> Reply:
        """Returns what `command` is answered with.

        Raises InvalidGroupId for "", unless that `may_be_empty`: Kafka lets old clients keep offsets so;
        NotCoordinator, CoordinatorLoadInProgress, CoordinatorNotAvailable; and what the command is answered with.
        """
        if not group_id and not may_be_empty:
            raise InvalidGroupId("the group's id is empty: give it a name")
        await self._topic.made()
        self._check_sure()
        number = self.partition_of(group_id)
        led = self._led.get(number)
        if led is None:
            raise self._why_not_led(number)
        return await led.ask(command)

    async def ask_each(self, command: Command) -> list[Reply]:
        """Returns the answers of all shards that are coordinated here, by partition: none before there is a group.

        Raises CoordinatorLoadInProgress while one of them is loaded, and otherwise as `ask`.
        """
        self._check_sure()
        shards = [self._led[number] for number in sorted(self._led)]
        if not all(led.is_coordinating for led in shards):
            raise CoordinatorLoadInProgress("some groups are being loaded: ask again in a moment")
        replies: list[Reply] = []
        for led in shards:
            try:
                replies.append(await led.ask(command))
            except NotCoordinator:
                continue  # another broker has them from now on
        return replies

    def _why_not_led(self, number: int) -> DohleError:
        """Returns what is told of a partition that has no shard here.

        FindCoordinator sends clients here as soon as the metadata says so, while the replica is still being made, or is
        about to take up its new role. They are to stay: some take NotCoordinator for a failure.
        """
        topic = self._topic.found
        if topic is not None and topic.partitions[number].leader == self._surroundings.me:
            return CoordinatorLoadInProgress(f"{OFFSETS_TOPIC}-{number} is about to be led here: ask again in a moment")
        return NotCoordinator(f"{OFFSETS_TOPIC}-{number} is not led here: ask who coordinates the group")

    def _check_sure(self) -> None:
        """Raises NotCoordinator where others may coordinate by now, and have taken commits that are not known here."""
        if self._membership.fenced or self._membership.in_doubt:
            raise NotCoordinator("this broker has no session with a controller: others may coordinate its groups")

    @property
    def led(self) -> list[LedShard]:
        """What is coordinated here, or being loaded, by partition."""
        return [self._led[number] for number in sorted(self._led)]

    # what is led

    def _elected(self, partition: Partition, leading: Leading) -> None:
        if partition.name.topic != OFFSETS_TOPIC:
            return
        led = LedShard(
            partition,
            leading,
            self._surroundings,
            self.loading,
            self.settings.groups,
            lambda: self._metadata.image,
            self._membership,
            commit_timeout_s=self.settings.commit_timeout_s,
            codec=self.settings.codec,
            counts=self.counts,
        )
        self._led[partition.name.partition] = led
        led.task = self._surroundings.tasks.spawn(led.load_and_coordinate(), f"groups of {partition.name}")

    def _resigned(self, partition: Partition, leading: Leading) -> None:
        led = self._led.get(partition.name.partition)
        if partition.name.topic == OFFSETS_TOPIC and led is not None and led.leading is leading:
            del self._led[partition.name.partition]
            led.resign()

    def metadata_moved(self, batches: list[MetadataBatch] | None) -> None:
        """Takes note of newer metadata; `batches` None: anything may be new in it."""
        if not self._led:
            return
        if batches is None or _touches(batches, Topic | RemoveTopic | NewPartition):
            for number in sorted(self._led):
                self._led[number].topics_changed()
        elif _touches(batches, GroupOverride):
            for number in sorted(self._led):
                self._led[number].configs_changed()


def _touches(batches: list[MetadataBatch], kinds: type | UnionType) -> bool:
    """Whether there are records of these kinds. Groups are about topics and partitions that come and go, and about
    their own configuration; who leads a partition is none of that."""
    return any(isinstance(record, kinds) for batch in batches for record in batch.records)


def partition_in(count: int, group_id: str) -> int:
    """Returns which of `count` partitions a group is kept in."""
    hashed = _kept_hash(group_id) if len(group_id) <= _MOST_KEPT_CHARACTERS else java_hash(group_id)
    return abs(hashed) % count if hashed != _LEAST_INT else 0


def java_hash(text: str) -> int:
    """Returns the `hashCode` of a string in Java."""
    units = text.encode("utf-16-be", "surrogatepass")
    hashed = 0
    for at in range(0, len(units), 2):
        hashed = hashed * 31 + (units[at] << 8 | units[at + 1]) & 0xFFFF_FFFF
    return hashed if hashed < -_LEAST_INT else hashed + 2 * _LEAST_INT


_kept_hash = lru_cache(maxsize=_KEPT_HASHES)(java_hash)
