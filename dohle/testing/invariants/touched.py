"""Touched: whether any replica can be other than it was, so that nobody compares them all after every turn.

While it is entered, logs and partitions of the product tell of every attribute that is set in them. A turn sets those
of its own process alone, so whoever looks after each turn knows whose they are. One at a time is entered; while none
is, anything may have been touched at any time.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from dohle.broker.partition import Partition
from dohle.storage.log import Log

_OWNERS: tuple[Any, ...] = (Log, Partition)


class Touched:
    """`anything` says whether something was set since `looked` was last called."""

    def __init__(self) -> None:
        self.anything = True
        self._is_entered = False

    def looked(self) -> None:
        self.anything = not self._is_entered

    def __enter__(self) -> None:
        put = object.__setattr__

        def note(one: object, name: str, value: object) -> None:
            put(one, name, value)
            self.anything = True

        for owner in _OWNERS:
            assert "__setattr__" not in vars(owner), f"somebody watches {owner.__name__} already"
            owner.__setattr__ = note
        self._is_entered = True

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_entered, self.anything = False, True
        for owner in _OWNERS:
            del owner.__setattr__
