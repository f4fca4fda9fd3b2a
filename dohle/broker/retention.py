"""Retention: every so often, what the topics do not retain any more goes from the logs of this broker.

Only leaders decide, by their clock and the newest metadata, and only while they have a session: one that is cut off may
not know that a topic retains more by now. Followers are told with the next push, as far as their own watermark lets
them. All then take out of service what lies below their logs' starts by whole segments.
"""

from __future__ import annotations

import logging

from dohle.broker.leading import Leading
from dohle.broker.membership import Membership
from dohle.broker.partition import Partition
from dohle.broker.replicas import Replicas
from dohle.broker.surroundings import Surroundings
from dohle.model.errors import DohleError, StorageFailure
from dohle.runtime.tasks import turn
from dohle.storage.log_dirs import LogDirs

log = logging.getLogger(__name__)

_IN_A_TURN = 16  # logs that are looked at before the loop does what waits


class Retention:
    """Of all logs of one broker: one pass over them an interval, and none of them has a timer."""

    def __init__(
        self,
        surroundings: Surroundings,
        dirs: LogDirs,
        replicas: Replicas,
        membership: Membership,
        check_interval_s: float,
    ) -> None:
        self._surroundings = surroundings
        self._dirs = dirs
        self._replicas = replicas
        self._membership = membership
        self._check_interval_s = check_interval_s

    async def run(self) -> None:
        while True:
            await self._surroundings.clock.sleep(self._check_interval_s)
            await self.check()

    async def check(self) -> None:
        """Looks at every log once."""
        for number, partition in enumerate(list(self._replicas.partitions.values())):
            await turn(number, every=_IN_A_TURN)
            role = partition.role
            if isinstance(role, Leading) and not (self._membership.fenced or self._membership.in_doubt):
                await self._look_at(partition, role)
        for folder in self._dirs.online:
            try:
                await folder.retire_segments()
            except StorageFailure as error:  # full, or failed, of which the owner knows
                log.error("%s: nothing that is not retained can go: %s", folder.path, error)

    async def _look_at(self, partition: Partition, role: Leading) -> None:
        led = partition.log
        if led.damage is not None or partition.exchanged is not None:
            return
        try:
            start = await led.retained_from(self._surroundings.clock.wall_ms())
        except DohleError as error:
            log.warning("%s: whether all of it is retained cannot be told: %s", partition.name, error)
            return
        if partition.role is role and partition.log is led and start > led.log_start_offset:
            log.info("%s: begins at %d now, in place of %d", partition.name, start, led.log_start_offset)
            role.begin_at(start)
