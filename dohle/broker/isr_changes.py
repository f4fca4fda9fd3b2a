"""What leaders ask of the controller about their in-sync sets: gathered, one request at a time (KIP-497).

A time-out, a lost connection, NOT_CONTROLLER, or a failure of the controller's own repeats the same request, for the
change may have been committed; what any other answer means, the partition's leading role decides (rule 7).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from dohle.broker.controller_client import ControllerClient
from dohle.broker.in_sync import Proposal
from dohle.broker.leading import Leading
from dohle.model.errors import DohleError, IneligibleReplica, NotController, OperationNotAttempted, error_for
from dohle.model.ids import NodeId, PartitionKey, TopicId
from dohle.rpc.v1 import controller_pb2
from dohle.runtime.clock import Clock

log = logging.getLogger(__name__)

GATHER_S = 0.005
"""How long a change waits for others: replicas catch up one after the other, many in the same moment."""
MOST_PARTITIONS = 1000
"""In one request."""
PAUSE_S = 0.05
"""Before a controller that failed, or knows less than the leader, is asked again."""


@dataclass(frozen=True, slots=True)
class _Change:
    leading: Leading
    proposal: Proposal
    before: tuple[NodeId, ...]


class IsrChanges:
    """The changes that wait for the controller, at most one a partition."""

    def __init__(
        self,
        me: NodeId,
        broker_epoch_of: Callable[[NodeId], int],
        controller: ControllerClient,
        clock: Clock,
    ) -> None:
        self.shrinks = 0  # in-sync sets that lost members by request of this broker, as of its start
        self.expands = 0
        self._me = me
        self._broker_epoch_of = broker_epoch_of
        self._controller = controller
        self._clock = clock
        self._changes: dict[PartitionKey, _Change] = {}
        self._wanted = asyncio.Event()

    def ask(self, key: PartitionKey, leading: Leading, proposal: Proposal) -> None:
        self._changes[key] = _Change(leading, proposal, leading.in_sync.committed)
        self._wanted.set()

    def forget(self, key: PartitionKey) -> None:
        """The partition's leading role has ended: nobody waits for the answer."""
        self._changes.pop(key, None)

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._changes:
                await self._clock.sleep(GATHER_S)
                asked = dict(list(self._changes.items())[:MOST_PARTITIONS])
                try:
                    response = await self._controller.call("AlterPartitions", self._request(asked))
                except DohleError as error:
                    log.warning("changes of %d in-sync sets failed: %s", len(asked), error)
                    if error.definite:  # of the whole request: metadata will say what holds
                        for key, change in asked.items():
                            self._settle(key, change)
                else:
                    self._answered(asked, response)
                if any(self._changes.get(key) is change for key, change in asked.items()):
                    await self._clock.sleep(PAUSE_S)

    def _request(self, asked: dict[PartitionKey, _Change]) -> controller_pb2.AlterPartitionsRequest:
        return controller_pb2.AlterPartitionsRequest(
            broker_id=self._me,
            broker_epoch=self._broker_epoch_of(self._me),
            partitions=[
                controller_pb2.AlterPartition(
                    topic_id=key.topic_id,
                    partition=key.partition,
                    leader_epoch=change.leading.leader_epoch,
                    partition_epoch=change.proposal.partition_epoch,
                    in_sync_replicas=[
                        controller_pb2.IsrMember(broker_id=member, broker_epoch=self._member_epoch(change, member))
                        for member in change.proposal.members
                    ],
                    damaged_replicas=change.proposal.damaged,
                )
                for key, change in asked.items()
            ],
        )

    def _member_epoch(self, change: _Change, member: NodeId) -> int:
        """The epoch in which a member subscribed here; the registered one of a member that did not."""
        replica = change.leading.replicas.get(member)
        if replica is not None and replica.broker_epoch >= 0:
            return replica.broker_epoch
        return self._broker_epoch_of(member)

    def _answered(self, asked: dict[PartitionKey, _Change], response: controller_pb2.AlterPartitionsResponse) -> None:
        now = self._clock.now()
        for answer in response.partitions:
            key = PartitionKey(TopicId(answer.topic_id), answer.partition)
            if answer.failure.code == NotController.code:
                continue  # it is behind the leader's metadata: the same request is repeated
            if key in asked and not answer.failure.code:  # counted also where the role has ended with it
                members, before = set(answer.in_sync_replicas), set(asked[key].before)
                self.shrinks += not before <= members
                self.expands += not members <= before
            if key not in asked or not self._settle(key, asked[key]):
                continue
            change = asked[key]
            if answer.failure.code in (IneligibleReplica.code, OperationNotAttempted.code):
                change.leading.isr_refused(change.proposal, now)
            elif answer.failure.code:
                log.info("%s: in-sync set not changed: %s", key, error_for(answer.failure.code, answer.failure.message))
            elif change.leading.min_in_sync <= len(answer.in_sync_replicas) < answer.min_insync_replicas:
                continue  # metadata will say it, behind the higher minimum, by which the watermark stands still
            elif answer.leader == self._me and answer.leader_epoch == change.leading.leader_epoch:
                in_sync = tuple(NodeId(member) for member in answer.in_sync_replicas)
                change.leading.isr_committed(in_sync, answer.partition_epoch, now)

    def _settle(self, key: PartitionKey, change: _Change) -> bool:
        """Drops an answered change; returns False if it had ended or another has taken its place."""
        if self._changes.get(key) is not change:
            return False
        del self._changes[key]
        return True
