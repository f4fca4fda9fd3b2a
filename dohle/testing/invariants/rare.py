"""Rare: how often a run came to what seldom happens and where the mistakes are; a quiet simulator proves nothing.

While it is entered, methods of the product are wrapped (`replica_rarities`, `controller_rarities` and `group_rarities`
say which): what passes through them is counted and left as it is, so that runs with and without it are the same, event
by event. Whoever renames what is wrapped is told so when they are imported.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import wraps
from types import TracebackType

from dohle.testing.invariants import controller_rarities, group_rarities, replica_rarities
from dohle.testing.invariants.rarities import RARE, Counts

__all__ = ["RARE", "WRAPS", "Rare"]

WRAPS = (*replica_rarities.WRAPS, *controller_rarities.WRAPS, *group_rarities.WRAPS)


class Rare:
    """`counts` has every name of RARE. One at a time is entered."""

    def __init__(self) -> None:
        self._counted = Counts()
        self._installed = ExitStack()

    @property
    def counts(self) -> dict[str, int]:
        return {name: self._counted.of[name] for name in RARE}

    def __enter__(self) -> Rare:
        with ExitStack() as installed:  # all or nothing
            for owner, name, wrap in WRAPS:
                original = vars(owner)[name]
                setattr(owner, name, wraps(original)(wrap(self._counted, original)))
                installed.callback(setattr, owner, name, original)
            self._installed = installed.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._installed.close()
