"""CoordinatorLink: asks a group's coordinator, whoever that is by now.

Any broker knows who it is. One that does not answer, or is no longer the coordinator, is forgotten, and the question is
put again to the next one; so it must be one that may be asked twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from dohle.client.backoff import Backoff
from dohle.client.metadata_cache import MetadataCache
from dohle.client.seams import Seams
from dohle.model.errors import CoordinatorNotAvailable, DohleError
from dohle.model.group_errors import CoordinatorLoadInProgress, UnreleasedInstanceId, UnstableOffsetCommit
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import groups_pb2
from dohle.runtime.network import Address, Lane

log = logging.getLogger(__name__)

_METHODS: Final = methods_of(groups_pb2.DESCRIPTOR.services_by_name["Groups"])
_FIND_S: Final = 1.0
"""How long one node may take to say who coordinates, before the next is asked."""
_CALL_S: Final = 3.0
"""How long the coordinator may take, before it is looked for again."""
_OF_THE_GROUP: Final = (UnreleasedInstanceId, UnstableOffsetCommit)
"""What a coordinator that works says: no other one would say anything else."""


class CoordinatorLink:
    """The way to the coordinator of one group."""

    def __init__(self, group_id: str, bootstrap: Sequence[Address], metadata: MetadataCache, seams: Seams) -> None:
        self._group_id = group_id
        self._bootstrap = tuple(bootstrap)
        self._metadata = metadata
        self._seams = seams
        self._address: Address | None = None
        self._asked = 0

    async def ask(self, method: str, request: Callable[[], Any], timeout_s: float) -> Any:
        """Returns the coordinator's answer to what `request` makes, which is called anew for each attempt.

        Raises what it is refused with; after `timeout_s`, what kept it from being answered.
        """
        clock = self._seams.clock
        deadline = clock.now() + timeout_s
        backoff = Backoff(self._seams.random)
        while True:
            try:
                address = self._address or await self._find()
                return await self._seams.network.call(
                    address, _METHODS[method], request(), lane=Lane.CLIENT, timeout_s=_CALL_S
                )
            except DohleError as failure:
                if not failure.retriable or isinstance(failure, _OF_THE_GROUP):
                    raise
                log.debug("%s: %s gets no answer: %s", self._group_id, method, failure.message)
                if not isinstance(failure, CoordinatorLoadInProgress):
                    self._address = None
                wait_s = backoff.next_s()
                if clock.now() + wait_s >= deadline:
                    raise
            await self._seams.clock.sleep(wait_s)

    async def _find(self) -> Address:
        """Asks one node after the other who coordinates. Raises what the last of them said, or kept it from that."""
        known = self._metadata.view.nodes
        nodes = list(dict.fromkeys([*(known[node] for node in sorted(known)), *self._bootstrap]))
        request = groups_pb2.FindCoordinatorRequest(group_id=self._group_id)
        said: DohleError = CoordinatorNotAvailable(f"nobody says who coordinates group {self._group_id}")
        for _ in nodes:
            address = nodes[self._asked % len(nodes)]
            try:
                found: Any = await self._seams.network.call(
                    address, _METHODS["FindCoordinator"], request, lane=Lane.CLIENT, timeout_s=_FIND_S
                )
            except DohleError as failure:
                self._asked += 1
                if not failure.retriable:
                    raise
                said = failure
                continue
            self._address = Address(found.host, found.port)
            if found.node_id not in known:
                self._metadata.request_refresh()
            return self._address
        raise said
