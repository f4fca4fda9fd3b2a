"""Changes of metadata, which every broker takes and the active controller makes."""

from __future__ import annotations

from typing import Any

from dohle.broker.broker import Broker
from dohle.listeners.changes import kind_of_change
from dohle.model.errors import BrokerNotAvailable, DohleError

DEFAULT_TIMEOUT_S = 30.0
_CATCH_UP_S = 1.0


async def passed_on(broker: Broker, method: str, request: Any, *, timeout_ms: int) -> Any:
    """Returns the active controller's answer to its rpc `method`, or raises what it raised; `timeout_ms` 0: 30 s.

    An answer with a metadata offset is of a change: this broker waits a little until it has that itself, so that who
    has changed something reads it here. What an attempt has done whose answer was lost counts as done by the last one.
    """
    timeout_s = timeout_ms / 1000 if timeout_ms > 0 else DEFAULT_TIMEOUT_S
    deadline = broker.now() + timeout_s
    kind = kind_of_change(method)
    if kind.catches_up:
        confirmed = await broker.ask_controller(method, type(request)(), timeout_s=timeout_s)
        await broker.metadata.reached(confirmed.metadata_offset, _CATCH_UP_S)
        if broker.image.next_offset < confirmed.metadata_offset:
            raise BrokerNotAvailable(f"broker {broker.node_id} is behind with the metadata: ask again, or another one")
    change = kind(request, broker.image)
    try:
        answer = await broker.ask_controller(
            method, request, timeout_s=deadline - broker.now(), on_lost=change.attempt_lost
        )
    except DohleError as error:
        done = change.is_done(error) if change.lost else None
        if done is None:
            raise
        return done
    if "metadata_offset" in answer.DESCRIPTOR.fields_by_name:
        await broker.metadata.reached(answer.metadata_offset, _CATCH_UP_S)
    if change.lost:
        change.recognise(answer, broker.image)
    return answer
