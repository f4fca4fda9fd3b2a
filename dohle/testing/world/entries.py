"""Entries of a simulated file system: files and folders, as a process sees them, and as the device has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Union

SECTOR_BYTES = 512
_IN_ORDER = 0.5
"""How often what outlives a loss of power of a folder's changes are the first ones."""


class Content:
    """A file's bytes, as the page cache and as the device has them; equal below `shared`, but for rot on the device."""

    def __init__(self) -> None:
        self.cached = bytearray()
        self.durable = bytearray()
        self.shared = 0
        self._given_up = 0  # what lies below and was not written by now never will be
        self._cuts = 0
        self._begun = 0
        self._done = 0
        self.was_linked = False  # it has, or had, a second name

    def cut(self, size: int) -> None:
        del self.cached[size:]
        self.shared = min(self.shared, size)
        self._given_up = min(self._given_up, size)
        self._cuts += 1

    def begin_sync(self) -> Callable[[], None]:
        """Returns what makes the bytes that are here now durable."""
        self._begun += 1
        number, cuts, start, tail = self._begun, self._cuts, self.shared, self._to_write()

        def finish() -> None:
            if number < self._done:
                return  # a sync that began later was faster
            self._done = number
            self.durable[start:] = tail
            written = start if self._given_up > start else start + len(tail)
            self.shared = written if cuts == self._cuts else 0

        return finish

    def _to_write(self) -> bytes:
        """Returns what the device will have from `shared` on once all is written that the kernel still means to."""
        lost = bytes(self.durable[self.shared : self._given_up]).ljust(max(self._given_up - self.shared, 0), b"\0")
        return lost + bytes(self.cached[self.shared + len(lost) :])

    def give_up(self, size: int) -> None:
        """A sync of the first `size` bytes has failed: what it did not write passes for written."""
        self._given_up = max(self._given_up, min(size, len(self.cached)))

    def drop_cache(self) -> None:
        """What is read from now on is what the device has, or will."""
        self.cached[: self.shared] = self.durable[: self.shared]
        self.cached[self.shared :] = self._to_write()
        self._given_up = 0

    def spoil(self, position: int, bits: int, *, cached: bool = True) -> None:
        """Turns bits of a byte over, on the device, and in the cache unless that has it as it was."""
        for data in (self.cached, self.durable) if cached else (self.durable,):
            if position < len(data):
                data[position] ^= bits

    def lose_power(self, chance: Random | None) -> None:
        """Leaves what the device has, which from now on is all that there is: without chance, only what was synced."""
        self.drop_cache()
        if chance is None:
            self.cached, self.shared = bytearray(self.durable), len(self.durable)
            return
        least, most = sorted((len(self.durable), len(self.cached)))
        size = chance.choice((least, most)) if chance.random() < 0.5 else chance.randint(least, most)
        found = bytearray(size)
        for start in range(0, size, SECTOR_BYTES):
            end = min(start + SECTOR_BYTES, size)
            new, old = self.cached[start:end], self.durable[start:end]
            kept = new if new == old or chance.random() < 0.6 else old
            found[start : start + len(kept)] = kept
        self.cached, self.durable, self.shared = found, bytearray(found), size


class Folder:
    """A folder's entries, and the changes that are not durable yet, in their order."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._durable: dict[str, Entry] = {}
        self._pending: list[Change] = []
        self._settled = 0

    def change(self, change: Change) -> None:
        _apply(change, self.entries)
        self._pending.append(change)

    def begin_sync(self) -> Callable[[], None]:
        end = self._settled + len(self._pending)
        return lambda: self._settle(end - self._settled)

    def forget(self, name: str) -> None:
        """Loses an entry, as if it had never been there."""
        self.entries.pop(name)
        self._durable.pop(name, None)
        for change in self._pending:
            change.pop(name, None)
        self._settled += 1  # for those who watch

    def bring_back(self, name: str, entry: Entry) -> None:
        """Has an entry again that was forgotten, as if it had always been there."""
        self.entries[name] = self._durable[name] = entry
        self._settled += 1  # for those who watch

    def _settle(self, count: int) -> None:
        count = max(count, 0)
        for change in self._pending[:count]:
            _apply(change, self._durable)
        del self._pending[:count]
        self._settled += count

    def lose_power(self, chance: Random | None) -> None:
        for change in [] if chance is None else _outliving(self._pending, chance):
            _apply(change, self._durable)
        self._settled += len(self._pending)
        self._pending.clear()
        self.entries = dict(self._durable)
        for _, entry in sorted(self.entries.items()):
            entry.lose_power(chance)


def _outliving(changes: Sequence[Change], chance: Random) -> Sequence[Change]:
    if chance.random() < _IN_ORDER:
        return changes[: chance.randint(0, len(changes))]
    return [change for change in changes if chance.random() < 0.5]


Entry = Union[Content, Folder]  # noqa: UP007 - the names are not defined yet where annotations use it
Change = dict[str, Entry | None]


def _apply(change: Change, entries: dict[str, Entry]) -> None:
    for name, entry in change.items():
        if entry is None:
            entries.pop(name, None)
        else:
            entries[name] = entry


def names_of(content: Content, folder: Folder) -> int:
    """Returns how many names in and below `folder` a file has."""
    return sum(
        names_of(content, entry) if isinstance(entry, Folder) else entry is content for entry in folder.entries.values()
    )
