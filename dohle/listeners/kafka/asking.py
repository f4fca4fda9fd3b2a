"""What Kafka's clients have the active controller do, within the time that they name."""

from __future__ import annotations

from typing import Any

from dohle.broker.broker import Broker
from dohle.listeners.passing_on import passed_on
from dohle.model.errors import RequestTimedOut


async def asked(broker: Broker, method: str, request: Any, timeout_ms: int) -> Any:
    """As `passed_on`; no time at all has passed when the request comes, as Kafka's controller has it.

    Raises RequestTimedOut then, without having done anything.
    """
    if timeout_ms <= 0:
        raise RequestTimedOut(f"the request's time-out of {timeout_ms} ms has passed: nothing was done; give it longer")
    request.timeout_ms = timeout_ms
    return await passed_on(broker, method, request, timeout_ms=timeout_ms)
