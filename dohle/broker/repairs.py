"""Repairs: damaged replicas of one broker are repaired in place, once their leader says that no in-sync set has them.

What has rotted is fetched from the leader (`dohle.storage.repair` says how much), at the rate at which replicas are
filled. Until that is done the replica is damaged: it is neither served nor led from, nor does anybody count what it
holds, for it subscribes only to say so. Where it cannot be repaired, the reason is logged and it begins anew.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from dohle.broker.following import Following
from dohle.broker.read_budget import ReadBudget
from dohle.broker.surroundings import Surroundings
from dohle.model.errors import DohleError, UnsupportedVersion
from dohle.model.ids import PartitionKey
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import replication_pb2
from dohle.runtime.network import Address, Lane
from dohle.storage.log_dirs import LogDirs
from dohle.storage.repair import CannotRepair, Repaired
from dohle.storage.room import DiskFull

if TYPE_CHECKING:
    from dohle.broker.replicas import Replicas

log = logging.getLogger(__name__)

READ_BATCHES = methods_of(replication_pb2.DESCRIPTOR.services_by_name["Replication"])["ReadBatches"]
TIMEOUT_S = 10.0
AGAIN_S = 1.0
"""After what may pass by itself: a leader that cannot be reached, or that is one no more."""
ROOM_S = 5.0
_TRIES = 10
"""So often what may pass by itself may come up before the replica begins anew all the same."""


class Repairs:
    """Those of one broker, with what they came to."""

    def __init__(self, surroundings: Surroundings, dirs: LogDirs, replicas: Replicas, bytes_per_s: int) -> None:
        self.repaired = 0  # replicas
        self.fetched_bytes = 0
        self.refilled = 0  # replicas that could not be, and began anew
        self._surroundings = surroundings
        self._dirs = dirs
        self._replicas = replicas
        self._budget = ReadBudget(surroundings.clock, lambda: bytes_per_s)
        self._tries: dict[PartitionKey, int] = {}
        self.under_way: dict[PartitionKey, None] = {}  # those that are being repaired now

    async def run(self, following: Following, leader: Address) -> None:
        """Repairs the damaged replica, or has it begin anew; then it subscribes again."""
        key = following.key
        partition = self._replicas.partitions.get(key)
        if partition is None or partition.role is not following or key in self.under_way:
            return
        self.under_way[key] = None
        try:
            pause_s = await self._repair(following, leader)
        finally:
            del self.under_way[key]
        if pause_s is None:
            self._tries.pop(key, None)
            self.refilled += 1
            await self._replicas.begin_anew(following)
        else:
            self._replicas.subscribe_again(key, pause_s)

    async def _repair(self, following: Following, leader: Address) -> float | None:
        """Returns after how many seconds to subscribe; None where the replica is to begin anew."""
        damaged = following.log
        if damaged.damage is None:
            return 0.0
        what, repairer = str(damaged.damage), self._dirs.folder_of(damaged).repairer
        try:
            done = await repairer.repair(damaged, partial(self._fetch, following, leader), self._pace)
        except (CannotRepair, UnsupportedVersion) as reason:
            log.warning("%s: %s; it cannot be repaired in place: %s", damaged.name, what, reason)
            return None
        except DiskFull as error:
            log.warning("%s: %s; it is repaired once there is room: %s", damaged.name, what, error)
            return ROOM_S
        except DohleError as error:
            self._tries[following.key] = self._tries.get(following.key, 0) + 1
            log.warning("%s: %s; it could not be repaired in place yet: %s", damaged.name, what, error)
            return AGAIN_S if self._tries[following.key] < _TRIES else None
        if done is None:  # it is cut, or goes
            return AGAIN_S
        self._done(following, what, done)
        return 0.0

    def _done(self, following: Following, what: str, done: Repaired) -> None:
        self._tries.pop(following.key, None)
        self.repaired += 1
        self.fetched_bytes += done.fetched_bytes
        log.warning(
            "%s: %s; repaired in place: %d bytes came from leader %d, %d were sound, in segments written anew: %d",
            *(following.log.name, what, done.fetched_bytes, following.leader, done.copied_bytes, done.segments),
        )

    async def _fetch(self, following: Following, leader: Address, offset: int, max_bytes: int) -> bytes:
        request = replication_pb2.ReadBatchesRequest(
            hello=self._surroundings.identity.hello(),
            broker_epoch=self._replicas.image.brokers[self._surroundings.me].broker_epoch,
            topic_id=following.key.topic_id,
            partition=following.key.partition,
            leader_epoch=following.leader_epoch,
            offset=offset,
            max_bytes=max_bytes,
        )
        answer: replication_pb2.ReadBatchesResponse = await self._surroundings.network.call(
            leader, READ_BATCHES, request, lane=Lane.REPLICATION, timeout_s=TIMEOUT_S
        )
        return answer.batches

    async def _pace(self, size_bytes: int) -> None:
        self._budget.spend(size_bytes)
        pause_s = self._budget.pause_s()
        if pause_s:
            await self._surroundings.clock.sleep(pause_s)
