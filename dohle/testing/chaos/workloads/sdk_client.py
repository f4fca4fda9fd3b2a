"""SdkClient: the SDK as a LogClient."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from dohle.client.commits import Commits, MemberIdentity
from dohle.client.consumer import Consumer
from dohle.client.producer import Producer, Receipt
from dohle.model.errors import DohleError
from dohle.model.ids import TopicPartition
from dohle.testing.chaos.workloads.log_client import Failure, Headers, ProducerPlan, Record, Settled

_REQUEST_TIMEOUT_MS = 10_000
_MAX_BLOCK_MS = 60_000
_MAX_POLL_INTERVAL_MS = 20_000


class SdkClient:
    """`bootstrap` is of nodes' gRPC listeners."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def producer(self, plan: ProducerPlan) -> SdkProducer:
        return SdkProducer(self._bootstrap, plan)

    def consumer(self, group: str | None = None) -> SdkConsumer:
        return SdkConsumer(self._bootstrap, group)

    def stand_still(self, seconds: float) -> None:
        time.sleep(seconds)

    async def close(self) -> None:
        """What it made is closed by who had it made."""


class SdkProducer:
    def __init__(self, bootstrap: str, plan: ProducerPlan) -> None:
        self._producer = Producer(
            bootstrap,
            acks="all",
            idempotent=True,
            linger_ms=plan.linger_ms,
            compression=plan.compression,
            delivery_timeout_ms=plan.delivery_timeout_ms,
            request_timeout_ms=min(_REQUEST_TIMEOUT_MS, plan.delivery_timeout_ms),
            max_block_ms=_MAX_BLOCK_MS,
        )

    async def send(
        self,
        partition: TopicPartition,
        value: bytes | None,
        settled: Settled,
        *,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> None:
        with failures():
            receipt = await self._producer.send(
                partition.topic, value, key=key, headers=tuple(headers), partition=partition.partition
            )
        receipt.add_done_callback(partial(_settle, settled))

    async def flush(self) -> None:
        await self._producer.flush()

    async def close(self) -> None:
        await self._producer.close()


def _settle(settled: Settled, receipt: Receipt) -> None:
    failure = receipt.exception()
    if failure is None:
        offset = receipt.result().offset
        settled(offset if offset >= 0 else None, None)
    else:
        assert isinstance(failure, DohleError), failure
        settled(None, _failure(failure))


class SdkConsumer:
    def __init__(self, bootstrap: str, group: str | None) -> None:
        self._consumer = Consumer(
            bootstrap,
            group=group,
            auto_offset_reset="earliest",
            auto_commit=False,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
            max_poll_interval_ms=_MAX_POLL_INTERVAL_MS,
        )
        self._attempts = _Attempts(self._consumer) if group is not None else None

    async def assign(self, starts: Mapping[TopicPartition, int]) -> None:
        with failures():
            await self._consumer.assign(*starts)
            for partition, start in starts.items():
                self._consumer.seek(partition, start)

    async def subscribe(self, topics: Sequence[str], changed: Callable[[Sequence[TopicPartition]], None]) -> None:
        with failures():
            await self._consumer.subscribe(*topics, on_assigned=changed, on_revoked=changed, on_lost=changed)

    async def poll(self, most: int, timeout_s: float) -> list[Record]:
        with failures():
            records = await self._consumer.batch(most, timeout_s * 1000)
        return [
            Record(TopicPartition(one.topic, one.partition), one.offset, one.key, one.value, one.headers)
            for one in records
        ]

    async def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        with failures():
            return await self._consumer.end_offsets(*partitions)

    async def position(self, partition: TopicPartition) -> int:
        with failures():
            return await self._consumer.position(partition)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> int:
        assert self._attempts is not None, "it is in a group"
        epochs = self._attempts.epochs
        epochs.clear()
        try:
            await self._consumer.commit(offsets)
        except DohleError as error:
            # a failure tells of the last attempt alone
            definite = error.definite and len(epochs) <= 1
            raise Failure(error.message, definite=definite, epoch=epochs[-1] if epochs else -1) from error
        return epochs[-1]

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int | None]:
        with failures():
            found = await self._consumer.committed(*partitions)
        return {name: None if one is None else one.offset for name, one in found.items()}

    async def close(self) -> None:
        await self._consumer.close()


class _Attempts:
    """Stands in a consumer where its Commits do, and notes the epoch of each attempt: the SDK tells it to nobody."""

    def __init__(self, consumer: Consumer) -> None:
        member = consumer._member
        assert member is not None, "it is in a group"
        self._commits: Commits = member._commits
        self.epochs: list[int] = []
        member._commits = self  # type: ignore[assignment]

    async def commit(self, offsets: Any, identity: Callable[[], MemberIdentity], timeout_s: float) -> Any:
        def noted() -> MemberIdentity:
            member = identity()
            self.epochs.append(member.epoch)
            return member

        return await self._commits.commit(offsets, noted, timeout_s)

    async def fetch(self, partitions: Any, identity: Callable[[], MemberIdentity], timeout_s: float) -> Any:
        return await self._commits.fetch(partitions, identity, timeout_s)


@contextmanager
def failures() -> Iterator[None]:
    """Raises Failure in place of the SDK's errors."""
    try:
        yield
    except DohleError as error:
        raise _failure(error) from error


def _failure(error: DohleError) -> Failure:
    return Failure(f"{type(error).__name__}: {error.message}", definite=error.definite)
