"""Commits: a group's offsets, written and read at its coordinator.

One commit of a client is under way at a time, and each attempt has a number of its own: one that comes late, behind a
later one, is refused there. So what is committed never goes back by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from dohle.client.coordinator_link import CoordinatorLink
from dohle.client.seams import Seams
from dohle.client.values import CommittedOffset
from dohle.model.errors import DohleError, UnknownServerError, error_for
from dohle.model.ids import TopicPartition, new_id
from dohle.rpc.v1 import groups_pb2


class MemberIdentity(NamedTuple):
    """As whom one commits and reads."""

    member_id: str
    epoch: int


NO_MEMBER = MemberIdentity("", -1)
"""Of whom has no part in the group's assignment, and assigns partitions to itself."""


class Committable(NamedTuple):
    """`topic_id` empty: whichever topic has the name."""

    topic_id: bytes
    offset: int
    metadata: str = ""


class Commits:
    """What a request is made with says `identity`, before each attempt: it may raise that there is none any more."""

    def __init__(self, group_id: str, instance_id: str | None, link: CoordinatorLink, seams: Seams) -> None:
        self._group_id = group_id
        self._instance_id = instance_id
        self._link = link
        self._committer_id = new_id(seams.random)
        self._sequence = 0
        self._turn = asyncio.Lock()

    async def commit(
        self, offsets: Mapping[TopicPartition, Committable], identity: Callable[[], MemberIdentity], timeout_s: float
    ) -> dict[TopicPartition, DohleError | None]:
        """Returns what kept each from being committed, if anything did. Raises what keeps all of them from it."""

        def request() -> groups_pb2.CommitOffsetsRequest:
            member = identity()
            self._sequence += 1
            return groups_pb2.CommitOffsetsRequest(
                group_id=self._group_id,
                member_id=member.member_id,
                member_epoch=member.epoch,
                instance_id=self._instance_id if member.member_id else None,
                committer_id=self._committer_id,
                sequence=self._sequence,
                offsets=[
                    groups_pb2.CommitOffset(
                        topic_id=one.topic_id,
                        topic=name.topic,
                        partition=name.partition,
                        offset=one.offset,
                        leader_epoch=-1,
                        metadata=one.metadata,
                    )
                    for name, one in offsets.items()
                ],
            )

        async with self._turn:
            answer = await self._link.ask("CommitOffsets", request, timeout_s)
        said = {
            TopicPartition(one.topic, one.partition): (
                error_for(one.failure.code, one.failure.message) if one.failure.code else None
            )
            for one in answer.partitions
        }
        return {name: said.get(name, UnknownServerError(f"nothing was said of {name}")) for name in offsets}

    async def fetch(
        self,
        partitions: Iterable[tuple[TopicPartition, bytes]],
        identity: Callable[[], MemberIdentity],
        timeout_s: float,
    ) -> dict[TopicPartition, CommittedOffset | None]:
        """Returns what is committed of each, with the topic's id or an empty one. Raises what keeps one from it."""
        wanted = dict(partitions)

        def request() -> groups_pb2.FetchOffsetsRequest:
            member = identity()
            return groups_pb2.FetchOffsetsRequest(
                group_id=self._group_id,
                member_id=member.member_id,
                member_epoch=member.epoch,
                partitions=[
                    groups_pb2.OffsetOf(topic_id=topic_id, topic=name.topic, partition=name.partition)
                    for name, topic_id in wanted.items()
                ],
            )

        answer = await self._link.ask("FetchOffsets", request, timeout_s)
        found: dict[TopicPartition, CommittedOffset | None] = {}
        for one in answer.partitions:
            if one.failure.code:
                raise error_for(one.failure.code, one.failure.message)
            committed = CommittedOffset(one.offset, one.metadata) if one.offset >= 0 else None
            found[TopicPartition(one.topic, one.partition)] = committed
        for name in wanted:
            if name not in found:
                raise UnknownServerError(f"nothing was said of {name}")
        return found
