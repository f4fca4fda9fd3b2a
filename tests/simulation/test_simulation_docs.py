"""docs/simulation.md knows every fault."""

from __future__ import annotations

import re
from pathlib import Path

from dohle.testing.faults.faults import KINDS
from dohle.testing.world.disk import Moment

PAGE = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text(encoding="utf-8")


def first_column(header: str) -> set[str]:
    table = PAGE[PAGE.index(f"| {header} ") :].partition("\n\n")[0]
    return set(re.findall(r"^\| `([^`]+)` +\|", table, re.MULTILINE))


def test_every_fault_and_every_moment_is_documented_and_no_other() -> None:
    moments = first_column("moment")
    assert moments == {moment.value for moment in Moment}
    aimed = {f"{how} {moment}" for how in ("kill", "power loss") for moment in moments}
    assert first_column("fault") | aimed == KINDS.keys()
