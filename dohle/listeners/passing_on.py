"""Changes of metadata, which every broker takes and the active controller makes."""

from __future__ import annotations

from typing import Any

from dohle.broker.broker import Broker

DEFAULT_TIMEOUT_S = 30.0
_CATCH_UP_S = 1.0


async def passed_on(broker: Broker, method: str, request: Any, *, timeout_ms: int) -> Any:
    """Returns the active controller's answer to its rpc `method`, or raises what it raised; `timeout_ms` 0: 30 s.

    An answer with a metadata offset is of a change: this broker waits a little until it has that itself, so that who
    has changed something reads it here.
    """
    timeout_s = timeout_ms / 1000 if timeout_ms > 0 else DEFAULT_TIMEOUT_S
    answer = await broker.ask_controller(method, request, timeout_s=timeout_s)
    if "metadata_offset" in answer.DESCRIPTOR.fields_by_name:
        await broker.metadata.reached(answer.metadata_offset, _CATCH_UP_S)
    return answer
