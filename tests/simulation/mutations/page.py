"""Page: the tables of docs/mutations.md, rule by rule, made of the mutations themselves.

    python -m tests.simulation.mutations.page

writes them anew, between two marks; a test says when that is due.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dohle.testing.campaigns.plan_file import KeptRun
from tests.simulation.mutations.mutation import Mutation
from tests.simulation.mutations.table import MUTATIONS, kept_runs

PAGE = Path(__file__).resolve().parent.parent.parent.parent / "docs" / "mutations.md"
HOW_TO_WRITE = "python -m tests.simulation.mutations.page"
_BEGIN, _END = "<!-- made by tests/simulation/mutations/page.py -->\n", "<!-- made so far -->\n"
_KINDS = {
    "raft": "Raft",
    "replication": "Replication",
    "storage": "Storage",
    "": "Further promises",
}
_HEAD = "| rule | what it says | mutation | what finds it |\n| --- | --- | --- | --- |\n"


def tables() -> str:
    """Returns the part of the page that follows from the mutations."""
    kept = kept_runs()
    found = sum(one.scenario is not None or one.name in kept for one in MUTATIONS)
    text = f"Of {len(MUTATIONS)} mutations {found} are found.\n"
    for kind, title in _KINDS.items():
        ours = sorted([one for one in MUTATIONS if _kind(one) == kind], key=_place)
        text += f"\n### {title}\n\n{_HEAD}" + "".join(_row(one, kept.get(one.name)) for one in ours)
    return text


def written() -> str:
    """Returns that part as the page has it."""
    return _split(PAGE.read_text())[1]


def write() -> None:
    before, _, after = _split(PAGE.read_text())
    PAGE.write_text(f"{before}{_BEGIN}\n{tables()}\n{_END}{after}")


def _split(page: str) -> Sequence[str]:
    before, _, rest = page.partition(_BEGIN)
    made, _, after = rest.partition(_END)
    return before, made.strip("\n") + "\n", after


def _kind(one: Mutation) -> str:
    word = re.split(r"[ ,]", one.rule)[0]
    return word if word in _KINDS else ""


def _place(one: Mutation) -> tuple[float, str]:
    """Rules in the order of their numbers, then what has none, by name."""
    number = re.match(r"\w+ (\d+)", one.rule) if _kind(one) in ("raft", "replication") else None
    return (int(number[1]), "") if number else (float("inf"), one.rule)


def _row(one: Mutation, run: KeptRun | None) -> str:
    if one.scenario is not None:
        finder = f"scenario `{one.scenario.__name__}`"  # type: ignore[attr-defined]
    elif run is not None:
        finder = f"a seed, kept: {run.plan.storm_s:g} s, faults: {len(run.plan.faults)}"
    else:
        finder = "nothing yet"
    return f"| {one.rule} | {one.says} | {one.name} | {finder} |\n"


if __name__ == "__main__":
    write()
