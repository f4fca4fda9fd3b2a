"""Deleter: a simulated client that has a topic's oldest records deleted, and notes what it was told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dohle.client.admin import Admin
from dohle.client.record_deletion import END
from dohle.client.values import DeletedRecords
from dohle.model.errors import DohleError, OffsetOutOfRange, UnknownTopicOrPartition
from dohle.model.ids import TopicPartition
from dohle.testing.clients.sim_client import SimClient
from dohle.testing.history.operations import Delete, Outcome

_REQUEST_TIMEOUT_MS = 10_000
_LOOK_UP_S = 1.0
_ALL = 0.2
"""How often everything that there is goes."""
_FAR_BACK = 100


@dataclass(slots=True)
class Deletions:
    """By log: the greatest offset below which a deletion was asked for, and below which one was acknowledged."""

    asked: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Deleter:
    """Works on `topic`."""

    client: SimClient
    topic: str
    partitions: int
    every_s: float
    deletions: Deletions

    async def run(self, over: Callable[[], bool]) -> None:
        chance, clock = self.client.random, self.client.clock
        async with Admin(self.client.bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS, **self.client.seams) as admin:
            while not over():
                until = clock.now() + chance.expovariate(1 / self.every_s)
                while clock.now() < until and not over():
                    await clock.sleep(_LOOK_UP_S)
                await self._delete(admin, TopicPartition(self.topic, chance.randrange(self.partitions)))

    async def _delete(self, admin: Admin, name: TopicPartition) -> None:
        chance, log = self.client.random, str(name)
        outcomes = await _tried(admin, {name: END}, validate_only=True)
        found = outcomes[name]
        if isinstance(found, DohleError):
            return
        end = found.before_offset
        least = max(found.log_start_offset, end - _FAR_BACK)
        before = end if chance.random() < _ALL else chance.randint(least, end)
        asked, acknowledged = self.deletions.asked, self.deletions.acknowledged
        asked[log] = max(before, asked.get(log, 0))
        operation = self.client.invoke(Delete({log: before}))
        outcome = (await _tried(admin, {name: before}))[name]
        if isinstance(outcome, DohleError):  # an earlier try of several may have done it all the same
            self.client.complete(operation, Outcome.INFO, why=outcome.message)
            return
        assert outcome.log_start_offset >= before, f"{log} begins at {outcome.log_start_offset}, after {operation}"
        acknowledged[log] = max(before, acknowledged.get(log, 0))
        self.client.complete(operation, Outcome.OK)


def _is_expected(failure: DohleError) -> bool:
    """Who answers may not know that it leads no more, or of the topic."""
    return isinstance(failure, OffsetOutOfRange | UnknownTopicOrPartition)


async def _tried(
    admin: Admin, before: dict[TopicPartition, int], *, validate_only: bool = False
) -> dict[TopicPartition, DeletedRecords | DohleError]:
    try:
        outcomes = await admin.delete_records(before, validate_only=validate_only)
    except DohleError as error:
        outcomes = dict.fromkeys(before, error)
    for outcome in outcomes.values():
        if isinstance(outcome, DohleError) and outcome.definite and not (outcome.retriable or _is_expected(outcome)):
            raise outcome
    return outcomes
