"""FindCoordinator: there are no groups and no transactions yet, and whoever looks for them is told to try later.

It is served all the same: librdkafka takes a broker without it for one that does not know LZ4.
"""

from __future__ import annotations

from typing import Final

from dohle.kafka.messages.groups import FindCoordinatorRequest, FindCoordinatorResponse
from dohle.listeners.kafka.apis import Caller
from dohle.model.errors import CoordinatorNotAvailable, DohleError, InvalidRequest

_FIRST_WITH_SHARES: Final = 6
_SHARE: Final = 2
_KINDS: Final = range(3)
"""Of groups, of transactions, and of shares of a group's partition."""
_KEY_PARTS: Final = 3
_NOBODY: Final = -1


async def find_coordinator(request: FindCoordinatorRequest, caller: Caller) -> FindCoordinatorResponse:
    failures = {
        key: _refusal(request.key_type, key, caller.api_version) for key in (request.key, *request.coordinator_keys)
    }
    return FindCoordinatorResponse(
        error_code=failures[request.key].code,
        error_message=failures[request.key].message,
        node_id=_NOBODY,
        port=_NOBODY,
        coordinators=[
            FindCoordinatorResponse.Coordinator(
                key=key,
                node_id=_NOBODY,
                host="",
                port=_NOBODY,
                error_code=failures[key].code,
                error_message=failures[key].message,
            )
            for key in request.coordinator_keys
        ],
    )


def _refusal(kind: int, key: str, version: int) -> DohleError:
    if kind not in _KINDS or (kind == _SHARE and version < _FIRST_WITH_SHARES):
        return InvalidRequest(f"version {version} of FindCoordinator knows no coordinators of kind {kind}")
    if kind == _SHARE and len(key.split(":")) != _KEY_PARTS:
        return InvalidRequest(f"{key!r} names no share: give group:topic id:partition")
    return CoordinatorNotAvailable("groups and transactions are not served yet")
