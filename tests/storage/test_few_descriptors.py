"""Storage where the process may have few descriptors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_many_segments_are_served_with_few_descriptors(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.storage.few_descriptors", str(tmp_path / "data")]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert "ulimit -n" in ended.stderr, "it did without all those files"
