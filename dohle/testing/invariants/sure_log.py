"""Sure log: the batches of one log that a machine's disk holds whatever a loss of power takes.

Read from the simulated disk itself and not from the node that writes there: what the node believes to be durable is
judged by it. Sure are the files whose names are synced and not about to go, and of a file the bytes that are equal in
the page cache and on the device. Only what changed since the last look is read.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from dohle.model.batch import HEADER, HEADER_BYTES, LENGTH_END, MAGIC, BatchHeader, check_crc
from dohle.storage.compaction.swap_files import SWAP_SUFFIX
from dohle.storage.segment import LOG_SUFFIX
from dohle.testing.world.entries import Content, Entry, Folder
from dohle.testing.world.world import Machine


@dataclass(slots=True)
class _Segment:
    """A file that was read, up to `position`; `durable` and `cuts` tell whether it is still that file."""

    base_offset: int
    content: Content
    durable: bytearray
    cuts: int
    first: int  # its first batch among those of the log
    position: int = 0
    is_found: bool = True  # as a process or a loss of power left it; later it grows by what is written before our eyes

    @property
    def was_rewritten(self) -> bool:
        return self.content._cuts != self.cuts or self.content.durable is not self.durable


class SureLog:
    """One log of one machine, in the first of the folders `paths` of its disk that is there.

    `mark` is what a file of the folder must contain. A folder that one of `paths` is renamed to another is there.
    """

    def __init__(self, machine: Machine, *paths: str, mark: tuple[str, bytes] | None = None) -> None:
        self.batches: list[BatchHeader] = []
        self.judged = 0  # of the batches, how many the ledger has seen
        self.let_go = 0  # what lies below need not be there
        self.replaced = False  # a folder that held batches is gone, and none that holds as many is in its place
        self._has_held = False  # this folder has held some, whether or not they rotted since
        self._successor_owes = 0  # up to where the folder in its place must reach
        self._machine = machine
        self._ways = [[name for name in path.split("/") if name] for path in paths]
        self._way = self._ways[0]  # to where it was found last
        self._mark = mark
        self._folder: Folder | None = None
        self._trail: list[tuple[Folder, int, int]] = []  # folders on the way there, as they were
        self._version = (-1, -1)
        self._segments: list[_Segment] = []
        self._unread: list[tuple[int, Content]] = []

    @property
    def end(self) -> int:
        """The offset after the last sure batch."""
        if self.batches:
            return self.batches[-1].next_offset
        return self._segments[0].base_offset if self._segments else 0

    @property
    def start(self) -> int:
        """Where the first sure segment begins."""
        return self._segments[0].base_offset if self._segments else 0

    @property
    def parent(self) -> str:
        """The folder that its folder lies in."""
        return "/".join(self._way[:-1])

    def holds(self, batch: BatchHeader) -> bool:
        """Whether this very batch is here."""
        at = bisect_left(self.batches, (batch.base_offset,))
        return at < len(self.batches) and self.batches[at] == batch

    def holding(self, offset: int) -> BatchHeader | None:
        """Returns the batch that has `offset`."""
        at = bisect_left(self.batches, (offset + 1,)) - 1
        return self.batches[at] if at >= 0 and self.batches[at].next_offset > offset else None

    def ending_at(self, offset: int) -> BatchHeader | None:
        """Returns the batch whose end `offset` is."""
        at = bisect_left(self.batches, (offset,)) - 1
        return self.batches[at] if at >= 0 and self.batches[at].next_offset == offset else None

    def between(self, start: int, end: int) -> list[BatchHeader]:
        """Returns the batches that lie in [start, end)."""
        return self.batches[bisect_left(self.batches, (start,)) : bisect_left(self.batches, (end,))]

    def look(self) -> None:
        """Takes note of what has become sure, or is so no longer."""
        for parent, settled, pending in self._trail:
            if parent._settled != settled or len(parent._pending) != pending:
                self._find()
                break
        else:
            if not self._trail or self._machine.disk._root is not self._trail[0][0]:
                self._find()
        folder = self._folder
        if folder is None:
            self.replaced = self.replaced or self._successor_owes > 0
            self._successor_owes = 0
            return
        version = (folder._settled, len(folder._pending))
        if version != self._version:
            self._version = version
            self._list(folder)
        elif self._segments and self._segments[-1].was_rewritten:
            last = self._segments[-1]
            self._forget_from(len(self._segments) - 1)
            self._unread.insert(0, (last.base_offset, last.content))
        self._read_on()
        self.replaced = self.replaced or self.end < self._successor_owes
        self._successor_owes = 0

    def _find(self) -> None:
        """Walks to the folder, and keeps the way: while nothing changes on it, it leads to the same folder."""
        self._trail = []
        folder = None
        for way in self._ways:
            if (folder := self._walk(way)) is not None:
                self._way = way
                break
        if folder is not self._folder:
            self._successor_owes = max(self.end, 1) if self._has_held else self.end  # where an empty one begins
            self._has_held = False
            self._folder, self._version = folder, (-1, -1)
            self._forget_from(0)
            self._unread = []

    def _walk(self, way: list[str]) -> Folder | None:
        folder = self._machine.disk._root
        for depth, name in enumerate(way):
            self._trail.append((folder, folder._settled, len(folder._pending)))
            entry = _sure(folder, name)
            if entry is None and depth == len(way) - 1:
                entry = self._on_its_way(folder, name)
            if not isinstance(entry, Folder):
                return None
            folder = entry
        if self._mark is not None:
            name, text = self._mark
            about = _sure(folder, name)
            if not isinstance(about, Content) or text not in about.durable:
                return None
        return folder

    def _on_its_way(self, folder: Folder, name: str) -> Entry | None:
        """Returns the entry of this name if a loss of power would give it another of those that it may have."""
        entry = folder.entries.get(name)
        former = [folder._durable.get(way[-1]) for way in self._ways]
        return entry if entry is not None and any(entry is one for one in former) else None

    def _list(self, folder: Folder) -> None:
        found = [
            (int(name.removesuffix(LOG_SUFFIX)), content)
            for name in sorted(folder.entries)
            if name.endswith(LOG_SUFFIX) and isinstance(content := _sure(folder, name), Content)
        ]
        found = _with_swaps(folder, found)
        bases = [base for base, _ in found]
        gone = sum(following <= self.let_go for following in bases[1:])  # or about to go, and in any order
        found = found[gone:]
        same = 0
        for segment, (_, content) in zip(self._segments, found, strict=False):
            if segment.content is not content or segment.was_rewritten:
                break
            same += 1
        self._forget_from(same)
        self._unread = found[same:]

    def _forget_from(self, number: int) -> None:
        if number < len(self._segments):
            del self.batches[self._segments[number].first :]
            del self._segments[number:]
            self.judged = min(self.judged, len(self.batches))

    def _read_on(self) -> None:
        while True:
            if self._segments:
                self._read(self._segments[-1])
            if not self._unread or (self._segments and self._unread[0][0] != self.end):
                return
            base_offset, content = self._unread.pop(0)
            first = len(self.batches)
            self._segments.append(_Segment(base_offset, content, content.durable, content._cuts, first))

    @property
    def _rots_behind_headers(self) -> bool:
        """Whether a wrong checksum says nothing of where the batch is and ends."""
        path = "/".join(self._way)
        return self._machine.rots(path) and self._machine.has_sound_headers(path)

    def _read(self, segment: _Segment) -> None:
        durable, position, sure = segment.durable, segment.position, _sure_size(segment.content)
        if position == sure:
            segment.is_found = False
            return
        end = self.end
        while position + HEADER_BYTES <= sure:
            header = BatchHeader._make(HEADER.unpack_from(durable, position))
            following = position + header.batch_length + LENGTH_END
            if header.magic != MAGIC or header.base_offset != end or not position < following <= sure:
                break
            if segment.is_found and not check_crc(durable, position, header) and not self._rots_behind_headers:
                break
            self.batches.append(header)
            self._has_held = True
            end = header.next_offset
            position = following
        segment.position = position
        segment.is_found = segment.is_found and position < sure


def _with_swaps(folder: Folder, found: list[tuple[int, Content]]) -> list[tuple[int, Content]]:
    """Returns the segments with which a start would go on: those that compactions have left, once they are sure."""
    for name, content in sorted(folder._durable.items()):
        if name.endswith(LOG_SUFFIX + SWAP_SUFFIX) and isinstance(content, Content):
            base = int(name.removesuffix(LOG_SUFFIX + SWAP_SUFFIX))
            end, position = base, 0
            while position + HEADER_BYTES <= _sure_size(content):
                header = BatchHeader._make(HEADER.unpack_from(content.durable, position))
                end, position = header.next_offset, position + header.size_bytes
            others = [(start, one) for start, one in found if not base <= start < end]
            found = sorted([(base, content), *others], key=lambda one: one[0])
    return found


def _sure(folder: Folder, name: str) -> Entry | None:
    """Returns the entry that has this name now and after a loss of power."""
    entry = folder._durable.get(name)
    return entry if entry is folder.entries.get(name) else None


def _sure_size(content: Content) -> int:
    """Returns how many of a file's first bytes the device has as the page cache has them."""
    size = min(len(content.durable), len(content.cached))
    if content.shared >= size:
        return size
    least = content.shared
    while least < size:  # they differ at most behind a cut that was not synced yet
        middle = (least + size + 1) // 2
        if content.durable[least:middle] == content.cached[least:middle]:
            least = middle
        else:
            size = middle - 1
    return least


def durable_content(machine: Machine, path: str) -> bytes:
    """Returns what the device has of a small file; nothing where it has no such name."""
    *folders, name = [part for part in path.split("/") if part]
    folder = machine.disk._root
    for part in folders:
        entry = _sure(folder, part)
        if not isinstance(entry, Folder):
            return b""
        folder = entry
    content = folder._durable.get(name)
    return bytes(content.durable) if isinstance(content, Content) else b""
