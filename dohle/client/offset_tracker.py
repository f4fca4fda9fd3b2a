"""OffsetTracker: of records that begin in order and end in any, the lowest that has not ended."""

from __future__ import annotations

from collections import deque


class OffsetTracker:
    """One partition's. What begins is kept until everything before it has ended: the caller bounds how much that is."""

    def __init__(self) -> None:
        self._begun: deque[int] = deque()  # ascending; those that ended go once they are the lowest
        self._ended: set[int] = set()

    def __len__(self) -> int:
        """How many have not ended."""
        return len(self._begun) - len(self._ended)

    def begin(self, offset: int) -> None:
        """`offset` is higher than any before."""
        assert not self._begun or offset > self._begun[-1], f"offset {offset} does not come after those before"
        self._begun.append(offset)

    def end(self, offset: int) -> None:
        self._ended.add(offset)
        while self._begun and self._begun[0] in self._ended:
            self._ended.remove(self._begun.popleft())

    def lowest(self) -> int | None:
        """Returns the lowest offset that has not ended; None if all have."""
        return self._begun[0] if self._begun else None
