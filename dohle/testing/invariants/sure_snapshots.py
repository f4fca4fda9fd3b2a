"""Sure snapshots: how far those snapshots of the metadata reach that no loss of power takes from a machine's disk.

Read from the simulated disk itself, and judged by the product's own reader: one that is damaged reaches nowhere.
"""

from __future__ import annotations

from dohle.model.errors import CorruptLog
from dohle.model.ids import NO_SNAPSHOT, SnapshotId
from dohle.model.snapshot import SnapshotReader, file_name_of, parse_file_name
from dohle.testing.invariants.sure_log import durable_content
from dohle.testing.world.world import Machine


class SureSnapshots:
    """Those of one controller, in the folder `path`."""

    def __init__(self, machine: Machine, path: str) -> None:
        self._machine = machine
        self._path = path
        self._judged: dict[bytes, bool] = {}

    def newest(self) -> SnapshotId:
        """Returns the newest that is whole on the device; NO_SNAPSHOT without any."""
        disk = self._machine.disk
        names = disk.list(self._path) if disk.exists(self._path) else []
        found = sorted(snapshot for name in names if (snapshot := parse_file_name(name)) is not None)
        return next((one for one in reversed(found) if self._is_whole(one)), NO_SNAPSHOT)

    def _is_whole(self, snapshot: SnapshotId) -> bool:
        content = durable_content(self._machine, f"{self._path}/{file_name_of(snapshot)}")
        if content not in self._judged:
            self._judged.clear()
            reader = SnapshotReader(snapshot, "")
            try:
                for _ in reader.feed(content):
                    pass
                reader.finish()
            except CorruptLog:
                self._judged[content] = False
            else:
                self._judged[content] = True
        return self._judged[content]
