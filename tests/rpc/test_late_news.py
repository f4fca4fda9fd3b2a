"""What loops say to those who call them when they are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from dohle.rpc.late_news import overlook_late_news

MAKERS = pytest.mark.parametrize("make", [asyncio.new_event_loop, uvloop.new_event_loop])


def _handle_callback_wrapper(*_: Any) -> None:
    """Named as the function of gRPC."""


def anything_else() -> None:
    """A function of somebody's."""


@MAKERS
def test_a_closed_loop_overlooks_grpc_and_nobody_else(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    loop = make()
    overlook_late_news(loop)
    overlook_late_news(loop)
    loop.close()
    loop.call_soon_threadsafe(_handle_callback_wrapper, None, 1)
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(anything_else)


@MAKERS
def test_a_loop_that_runs_does_what_it_is_told(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    loop = make()
    overlook_late_news(loop)
    told: list[int] = []
    loop.call_soon_threadsafe(told.append, 1)
    loop.call_soon_threadsafe(loop.stop)
    loop.run_forever()
    loop.close()
    assert told == [1]


def test_the_name_that_grpc_uses_is_the_one_that_is_overlooked() -> None:
    """gRPC's function is built in; its name is in the library."""
    import grpc._cython.cygrpc as cygrpc

    with open(cygrpc.__file__, "rb") as library:
        assert _handle_callback_wrapper.__name__.encode() in library.read()
