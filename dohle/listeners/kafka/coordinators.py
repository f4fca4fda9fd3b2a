"""FindCoordinator: which broker coordinates a group. There are no transactions yet: whoever looks for theirs is told to
try later, and so is who looks for shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dohle.broker.broker import Broker
from dohle.kafka.messages.groups import FindCoordinatorRequest, FindCoordinatorResponse
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import TopicsKnown, failed
from dohle.model.errors import CoordinatorNotAvailable, DohleError, InvalidRequest

_FIRST_WITH_SHARES: Final = 6
_FIRST_WITH_KEYS: Final = 4
_GROUP: Final = 0
_SHARE: Final = 2
_KINDS: Final = range(3)
"""Of groups, of transactions, and of shares of a group's partition."""
_KEY_PARTS: Final = 3
_NOBODY: Final = -1

_Found = FindCoordinatorResponse.Coordinator


@dataclass(frozen=True, slots=True)
class Coordinators:
    """Who coordinates what."""

    broker: Broker
    known: TopicsKnown

    async def find(self, request: FindCoordinatorRequest, caller: Caller) -> FindCoordinatorResponse:
        if caller.api_version >= _FIRST_WITH_KEYS:
            found = [await self._one(request.key_type, key, caller) for key in request.coordinator_keys]
            return FindCoordinatorResponse(coordinators=found)
        one = await self._one(request.key_type, request.key, caller)
        return FindCoordinatorResponse(
            error_code=one.error_code,
            error_message=one.error_message,
            node_id=one.node_id,
            host=one.host,
            port=one.port,
        )

    async def _one(self, kind: int, key: str, caller: Caller) -> _Found:
        try:
            _check(kind, key, caller.api_version)
            node_id = await self.broker.groups.coordinator(key)
            node = next((one for one in self.known.nodes(caller) if one.node_id == node_id), None)
            if node is None:
                raise CoordinatorNotAvailable(f"node {node_id} coordinates it, and does not serve this listener now")
        except DohleError as error:
            code, message = failed(error)
            return _Found(key=key, node_id=_NOBODY, host="", port=_NOBODY, error_code=code, error_message=message)
        return _Found(
            key=key, node_id=node_id, host=node.host, port=node.port, error_code=0, error_message=_no_error(caller)
        )


def _no_error(caller: Caller) -> str | None:
    """Returns what Kafka says where all is well."""
    return "NONE" if caller.api_version < _FIRST_WITH_KEYS else ""


def _check(kind: int, key: str, version: int) -> None:
    """Raises what is wrong with the question, or CoordinatorNotAvailable for what nobody coordinates."""
    if kind not in _KINDS or (kind == _SHARE and version < _FIRST_WITH_SHARES):
        raise InvalidRequest(f"version {version} of FindCoordinator knows no coordinators of kind {kind}")
    if kind == _SHARE and len(key.split(":")) != _KEY_PARTS:
        raise InvalidRequest(f"{key!r} names no share: give group:topic id:partition")
    if kind != _GROUP:
        raise CoordinatorNotAvailable("transactions and share groups are not served yet")
