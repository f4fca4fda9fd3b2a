"""A tool that people look at a cluster with: kaskade shows the topics, and what is in one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.compat.builds import HERE, Missing, built
from tests.compat.own_view import OwnView

pytestmark = [pytest.mark.processes, pytest.mark.compat]

PICTURES = HERE.parent.parent / "docs" / "images"
_MOST_S = 240


def test_kaskade_shows_topics_and_messages(seen: OwnView, tmp_path: Path) -> None:
    try:
        python = built("kaskade") / "bin" / "python"
    except Missing as missing:
        pytest.skip(f"kaskade is not run: {missing}")
    folder = PICTURES if os.environ.get("DOHLE_COMPAT_WRITE") else tmp_path
    with seen.topic("flights") as topic:
        command = [python, HERE / "kaskade" / "views.py", seen.cluster.kafka_bootstrap, topic, folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MOST_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in folder.iterdir()} >= {"kaskade-topics.svg", "kaskade-messages.svg"}
