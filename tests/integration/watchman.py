"""Waits until whoever started it has ended, then ends the nodes of all clusters in a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.integration.clusters import end_all_below

if __name__ == "__main__":
    sys.stdin.read()
    end_all_below(Path(sys.argv[1]))
