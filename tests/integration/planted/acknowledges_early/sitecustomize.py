"""A bug, for tests: with this folder on PYTHONPATH, appends count before they are fsynced, and fsyncs take a while."""

from __future__ import annotations

import asyncio

from dohle.runtime.files import RealDisk
from dohle.storage.unsynced import Unsynced

_SLOW_S = 0.3

sync = RealDisk.sync


async def slow_sync(self, files, folders=(), synced=None):
    if any(file.path.endswith(".log") and "/__cluster_metadata-0/" not in file.path for file in files):
        await asyncio.sleep(_SLOW_S)
    await sync(self, files, folders, synced)


def _mark_is(self, state):
    self._mark = state
    self.counts_at_once = True


RealDisk.sync = slow_sync  # type: ignore[method-assign]
Unsynced._mark_is = _mark_is  # type: ignore[method-assign]
