"""docs/faults.md lists each fault that there is."""

from __future__ import annotations

import re
from pathlib import Path

from dohle.testing.chaos.faults.kinds import SHIPPED
from jepsen_lite.command import _KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
ROW = re.compile(r"^\| `([a-z-]+)` +\| (.*)$", re.MULTILINE)


def test_each_fault_is_on_the_page_once_and_says_where_it_can_be_had():
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert sorted(name for name, _ in rows) == sorted(_KINDS.names)
    assert {name for name, what in rows if "jepsen-lite alone" in what} == {*_KINDS.names} - {*SHIPPED.names}
