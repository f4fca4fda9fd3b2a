"""DescribeLogDirs and AlterReplicaLogDirs: what lies in this broker's log directories, and moves between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dohle.broker.broker import Broker
from dohle.broker.partition import Partition
from dohle.kafka.messages.placement import (
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
)
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import wire_code
from dohle.model.errors import DamagedReplica, DohleError, StorageFailure
from dohle.model.ids import TopicPartition
from dohle.storage.log_folder import LogFolder

_UNKNOWN: Final = -1

_Dir = DescribeLogDirsResponse.Result
_Replica = _Dir.Topic.Partition
_Altered = AlterReplicaLogDirsResponse.Result


class LogDirectories:
    """Those of one broker: clients ask each broker for its own."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def describe(self, request: DescribeLogDirsRequest, _caller: Caller) -> DescribeLogDirsResponse:
        wanted = None
        if request.topics is not None:
            wanted = {TopicPartition(topic.topic, number) for topic in request.topics for number in topic.partitions}
        dirs, offline = self._broker.log_dirs, self._broker.log_dirs.offline
        results = [await self._described(folder, wanted) for folder in dirs.folders if folder.path not in offline]
        results += [_Dir(error_code=StorageFailure.code, log_dir=path, topics=[]) for path in offline]
        return DescribeLogDirsResponse(results=results)

    async def _described(self, folder: LogFolder, wanted: set[TopicPartition] | None) -> _Dir:
        described = _Dir(error_code=0, log_dir=folder.path, topics=self._topics(folder, wanted))
        try:
            room = await folder.room()
        except OSError:  # the directory is away, and nothing has been written to it since
            return _Dir(error_code=StorageFailure.code, log_dir=folder.path, topics=[])
        described.total_bytes, described.usable_bytes = room.total_bytes, room.free_bytes
        return described

    def _topics(self, folder: LogFolder, wanted: set[TopicPartition] | None) -> list[_Dir.Topic]:
        found: dict[TopicPartition, list[_Replica]] = {}
        partitions = self._broker.replicas.partitions
        for partition in partitions.values():
            if folder.logs.get(partition.log.key) is partition.log:
                found.setdefault(partition.name, []).append(_present(partition))
        for move in self._broker.dir_moves.under_way:
            on_its_way = partitions.get(move.key)
            if move.target == folder.path and on_its_way is not None:
                source = on_its_way.log
                lag = source.log_end_offset - max(move.copied_to, source.log_start_offset)
                found.setdefault(move.name, []).append(_replica(move.name, move.copied_bytes, lag, is_future=True))
        topics: dict[str, list[_Replica]] = {}
        for name in sorted(found):
            if wanted is None or name in wanted:
                topics.setdefault(name.topic, []).extend(found[name])
        return [_Dir.Topic(name=topic, partitions=replicas) for topic, replicas in topics.items()]

    async def alter(self, request: AlterReplicaLogDirsRequest, _caller: Caller) -> AlterReplicaLogDirsResponse:
        """Begins moves, and says of each whether it has begun; a replica that is named twice goes to the last one."""
        targets = {
            TopicPartition(topic.name, number): wanted.path
            for wanted in request.dirs
            for topic in wanted.topics
            for number in topic.partitions
        }
        codes: dict[TopicPartition, int] = {}
        for name, path in targets.items():
            codes[name] = await self._move(name, path)
        return AlterReplicaLogDirsResponse(results=_by_topic(codes))

    async def _move(self, name: TopicPartition, path: str) -> int:
        try:
            await self._broker.dir_moves.redirect(name, path)
        except DamagedReplica:
            return StorageFailure.code
        except DohleError as error:
            return wire_code(error)
        return 0


def _present(partition: Partition) -> _Replica:
    log = partition.log
    return _replica(partition.name, log.size_bytes, max(0, log.high_watermark - log.log_end_offset), is_future=False)


def _replica(name: TopicPartition, size_bytes: int, lag: int, *, is_future: bool) -> _Replica:
    return _Replica(
        partition_index=name.partition, partition_size=size_bytes, offset_lag=max(0, lag), is_future_key=is_future
    )


def _by_topic(codes: Mapping[TopicPartition, int]) -> list[_Altered]:
    topics: dict[str, _Altered] = {}
    for name, code in codes.items():
        altered = topics.setdefault(name.topic, _Altered(topic_name=name.topic, partitions=[]))
        altered.partitions.append(_Altered.Partition(partition_index=name.partition, error_code=code))
    return list(topics.values())
