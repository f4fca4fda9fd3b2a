"""FindCoordinator: there are no groups and no transactions yet, and whoever looks for them is told to try later.

It is served all the same: librdkafka takes a broker without it for one that does not know LZ4.
"""

from __future__ import annotations

from dohle.kafka.messages.groups import FindCoordinatorRequest, FindCoordinatorResponse
from dohle.listeners.kafka.apis import Caller
from dohle.model.errors import CoordinatorNotAvailable

_NOT_YET = "groups and transactions are not served yet"


async def find_coordinator(request: FindCoordinatorRequest, _caller: Caller) -> FindCoordinatorResponse:
    return FindCoordinatorResponse(
        error_code=CoordinatorNotAvailable.code,
        error_message=_NOT_YET,
        node_id=-1,
        port=-1,
        coordinators=[
            FindCoordinatorResponse.Coordinator(
                key=key,
                node_id=-1,
                host="",
                port=-1,
                error_code=CoordinatorNotAvailable.code,
                error_message=_NOT_YET,
            )
            for key in request.coordinator_keys
        ],
    )
