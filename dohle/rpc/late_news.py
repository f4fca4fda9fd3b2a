"""Late news: what gRPC tells an event loop after it has been closed.

gRPC tells a loop how its calls ended whenever it comes to it, through whichever loop runs then. A call that is
cancelled as its loop ends has its news later; the loop that passes it on would print an exception, and leave the rest
of what gRPC has to say to its next waking. So a program that ran one loop after another (`asyncio.run` twice, a test
after a test) said "Event loop is closed" now and then. Nothing that grpc.aio offers tells when all news is out.
"""

from __future__ import annotations

import asyncio
from typing import Any

_OF_GRPC = "_handle_callback_wrapper"
"""The name of the one function that gRPC has loops call from outside."""


def overlook_late_news(loop: asyncio.AbstractEventLoop) -> None:
    """Has `loop` say nothing to gRPC's news once it is closed; to all others what it always says. Once is enough."""
    tell = loop.call_soon_threadsafe
    if getattr(tell, "overlooks_late_news", False):
        return

    def call_soon_threadsafe(callback: Any, *arguments: Any, context: Any = None) -> asyncio.Handle | None:
        if loop.is_closed() and getattr(callback, "__name__", "") == _OF_GRPC:
            return None
        return tell(callback, *arguments, context=context)

    call_soon_threadsafe.overlooks_late_news = True  # type: ignore[attr-defined]
    loop.call_soon_threadsafe = call_soon_threadsafe  # type: ignore[assignment, method-assign]
