"""OffsetLookup: asks partitions' leaders where their logs begin and end, and which record came when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from dohle.client.assigned_partition import AssignedPartition
from dohle.client.backoff import Backoff
from dohle.client.leader_questions import Led
from dohle.client.listed_offsets import listed_offsets, offsets_request
from dohle.client.metadata_cache import MetadataCache
from dohle.client.seams import Seams
from dohle.client.values import OffsetAndTimestamp, OffsetSpec
from dohle.model.errors import DohleError, LeaderNotAvailable, UnknownServerError
from dohle.model.ids import PartitionKey, TopicId, TopicPartition
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Lane

_LIST_OFFSETS: Final = methods_of(broker_pb2.DESCRIPTOR.services_by_name["Broker"])["ListOffsets"]
_CALL_S: Final = 2.0

END: Final = OffsetSpec.LATEST
BEGINNING: Final = OffsetSpec.EARLIEST
NONE_SO_LATE: Final = -1


class OffsetLookup:
    """Repeats what can be repeated until `timeout_s` is over."""

    def __init__(self, metadata: MetadataCache, seams: Seams, timeout_s: float) -> None:
        self._metadata = metadata
        self._seams = seams
        self._timeout_s = timeout_s

    async def at(self, partitions: Iterable[AssignedPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        """Returns the offsets that `found_at` finds."""
        found = await self.found_at(partitions, timestamp_ms)
        return {name: one.offset for name, one in found.items()}

    async def found_at(
        self, partitions: Iterable[AssignedPartition], timestamp_ms: int
    ) -> dict[TopicPartition, OffsetAndTimestamp]:
        """Returns the first record at or after `timestamp_ms`, at -1 where there is none, or what an OffsetSpec means.

        Raises what keeps one of them from being found.
        """
        backoff = Backoff(self._seams.random)
        deadline = self._seams.clock.now() + self._timeout_s
        missing = list(partitions)
        found: dict[TopicPartition, OffsetAndTimestamp] = {}
        while True:
            failure: DohleError | None = None
            for partition, outcome in (await self.once(missing, timestamp_ms)).items():
                if isinstance(outcome, DohleError):
                    failure = outcome
                else:
                    found[partition.name] = outcome
                    missing.remove(partition)
            if failure is None:
                return found
            if not failure.retriable or self._seams.clock.now() >= deadline:
                raise failure
            self._metadata.request_refresh()
            await self._seams.clock.sleep(backoff.next_s())

    async def once(
        self, partitions: Iterable[AssignedPartition], timestamp_ms: int
    ) -> dict[AssignedPartition, OffsetAndTimestamp | DohleError]:
        """Asks each leader once, and returns what was found in each partition, or what kept it from being found."""
        of_leader: dict[int, list[AssignedPartition]] = {}
        for partition in partitions:  # before the first question: leaders change while answers are waited for
            of_leader.setdefault(partition.leader, []).append(partition)
        found: dict[AssignedPartition, OffsetAndTimestamp | DohleError] = {}
        for node, asked in sorted(of_leader.items()):
            outcomes = await self._ask(node, asked, timestamp_ms)
            for partition in asked:
                outcome = outcomes.get(partition.key)
                found[partition] = _silence(partition) if outcome is None else outcome
        return found

    async def _ask(
        self, node: int, partitions: list[AssignedPartition], timestamp_ms: int
    ) -> dict[PartitionKey, OffsetAndTimestamp | DohleError]:
        address = self._metadata.view.nodes.get(node)
        if address is None:
            return {
                partition.key: LeaderNotAvailable(f"{partition.name} has no leader that can be reached")
                for partition in partitions
            }
        request = offsets_request(
            (Led(one.key.topic_id, one.key.partition, one.leader_epoch), timestamp_ms) for one in partitions
        )
        try:
            answer: Any = await self._seams.network.call(
                address, _LIST_OFFSETS, request, lane=Lane.CLIENT, timeout_s=_CALL_S
            )
        except DohleError as failure:
            return {partition.key: failure for partition in partitions}
        return {
            PartitionKey(TopicId(topic_id), number): outcome
            for (topic_id, number), outcome in listed_offsets(answer).items()
        }


def _silence(partition: AssignedPartition) -> DohleError:
    return UnknownServerError(f"a broker said nothing of {partition.name}")
