"""Where a task waits, in words, for reports about tests that do not go on."""

from __future__ import annotations

import asyncio
from types import FrameType, TracebackType
from typing import Any

_MOST_TASKS = 20


def waiting_tasks(tasks: dict[asyncio.Task[Any], None]) -> str:
    """Returns a line for each task: its name, and the calls that it is in, the innermost last."""
    lines = [f"  {task.get_name()}: {_path(task)}" for task in tasks if not task.done()]
    if len(lines) > _MOST_TASKS:
        lines[_MOST_TASKS:] = [f"  and {len(lines) - _MOST_TASKS} more"]
    return "\n".join(lines)


def waiting_at(task: asyncio.Task[Any]) -> TracebackType | None:
    """Returns the traceback that an exception would have, were it raised where the task waits."""
    found: TracebackType | None = None
    for frame in reversed(_frames(task)):
        found = TracebackType(found, frame, frame.f_lasti, frame.f_lineno)
    return found


def _path(task: asyncio.Task[Any]) -> str:
    places = [
        f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {frame.f_code.co_name}"
        for frame in _frames(task)
    ]
    return " > ".join(places) or "not begun"


def _frames(task: asyncio.Task[Any]) -> list[FrameType]:
    """Returns the frames of the calls that the task is in, the outermost first."""
    frames: list[FrameType] = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = _first(awaited, "cr_frame", "gi_frame", "ag_frame")
        if isinstance(frame, FrameType):
            frames.append(frame)
        awaited = _first(awaited, "cr_await", "gi_yieldfrom", "ag_await")
    return frames


def _first(thing: Any, *attributes: str) -> Any:
    """Coroutines, generators and asynchronous generators name the same things differently."""
    return next((getattr(thing, name) for name in attributes if hasattr(thing, name)), None)
