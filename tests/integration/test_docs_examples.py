"""The examples of README.md and docs/sdk.md run as they stand, one after another, against a cluster."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_examples_run_as_they_stand(fresh_trio):
    for page in ("README.md", "docs/sdk.md"):
        examples = PYTHON.findall((ROOT / page).read_text(encoding="utf-8"))
        assert examples, f"{page} has no examples"
        for example in examples:
            assert "localhost:7092" in example
            code = example.replace("localhost:7092", fresh_trio.bootstrap)
            outcome = subprocess.run(
                [sys.executable, "-W", "error", "-c", code], capture_output=True, check=False, text=True, timeout=60
            )
            assert outcome.returncode == 0, f"{page}:\n{example}\n{outcome.stderr}"
            assert outcome.stderr == ""
            assert outcome.stdout
