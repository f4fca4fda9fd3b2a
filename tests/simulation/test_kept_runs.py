"""Every run that found a bug once finds none any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from dohle.testing.campaigns.plan_file import KeptRun, read_kept
from dohle.testing.campaigns.simulation import run_plan

FILE = Path(__file__).with_name("seeds.toml")
KEPT = read_kept(FILE.read_text(encoding="utf-8"), FILE.name)


@pytest.mark.parametrize("kept", KEPT.values(), ids=list(KEPT))
def test_a_kept_run_finds_no_bug_any_more(kept: KeptRun) -> None:
    outcome = run_plan(kept.plan)
    assert not outcome.violations, "\n".join((*outcome.timeline, f"once: {kept.found}", *outcome.violations))
