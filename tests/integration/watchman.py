"""Waits until whoever started it has ended; then ends all clusters' nodes in a folder, and unmounts their disks."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.integration.clusters import end_all_below
from tests.machine.disks import unmount_all_below

if __name__ == "__main__":
    sys.stdin.read()
    end_all_below(Path(sys.argv[1]))
    if sys.platform == "linux":
        unmount_all_below(Path(sys.argv[1]))
