"""Shortages: what brokers lack room for, and which of their replicas are damaged, each asked for itself: nobody else
knows."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

from dohle.cli.output import counted
from dohle.model.errors import DohleError

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import Shortage

_PATIENCE_S = 2.0
"""For brokers that do not answer: the rest of what is shown does not wait for them any longer."""
_MOST_DAMAGED = 10
"""That are named."""


async def shortages_of(admin: Admin, nodes: Collection[int]) -> dict[int, Shortage]:
    """Returns what each of the brokers lacks; those that lack nothing, or do not answer, are left out."""
    found: dict[int, Shortage] = {}

    async def ask(node: int) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                shortage = await admin.describe_shortage(node)
        except (DohleError, TimeoutError):
            return
        if shortage.directories or shortage.waiting or shortage.damaged:
            found[node] = shortage

    await asyncio.gather(*map(ask, sorted(nodes)))
    return {node: found[node] for node in sorted(found)}


def shortage_words(shortage: Shortage) -> list[str]:
    """Returns a sentence for each directory in which producers are refused, one for the replicas that wait, and one for
    each that is damaged."""
    words = [f"producers are refused: {directory}" for directory in shortage.directories]
    if shortage.waiting:
        named = ", ".join(map(str, sorted(shortage.waiting)[:5]))
        more = ", …" if len(shortage.waiting) > 5 else ""
        reason = next(iter(shortage.waiting.values()))
        waiting = counted(len(shortage.waiting), "new replica")
        words.append(f"{waiting} ({named}{more}) wait for room, and are made once there is some: {reason}")
    damaged = sorted(shortage.damaged)
    words += [f"replica {name} is damaged: {shortage.damaged[name]}" for name in damaged[:_MOST_DAMAGED]]
    if len(damaged) > _MOST_DAMAGED:
        words.append(f"and {len(damaged) - _MOST_DAMAGED} more replicas are damaged")
    return words
