"""How long clients felt each kind of fault, of runs on several systems side by side.

    PYTHONPATH=tests/jepsen-lite python -m jepsen_lite.recoveries RUN ...

takes runs' folders and prints a table, as Markdown has it: for each fault and system how often it happened, how long
writes to the partition that fared worst stood still, and how long after the healing they worked everywhere again; of
both the median and the worst. What was voided or failed counts like any other: its faults happened.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dohle.model.errors import DohleError
from dohle.testing.chaos.report.recovery import OfAKind, Recovery, by_kind, middle_and_worst
from dohle.testing.chaos.report.run import read_run
from dohle.testing.chaos.report.words import duration

_HEAD = (
    "fault",
    "system",
    "times",
    "writes stood still: median",
    "worst",
    "everywhere again: median",
    "worst",
    "never",
)


def table(folders: Sequence[Path]) -> Iterator[str]:
    """Yields the table's lines. Raises InvalidRequest for a folder that holds no run."""
    systems: dict[str, list[Recovery]] = {}
    for folder in folders:
        run = read_run(folder)
        systems.setdefault(run.about["system"], []).extend(run.clients.recoveries)
    kinds = {(kind.fault, system): kind for system, found in systems.items() for kind in by_kind(found)}
    yield _line(_HEAD)
    yield _line(["---"] * len(_HEAD))
    for (fault, system), kind in sorted(kinds.items()):
        yield _line([fault, system, str(len(kind.recoveries)), *_times(kind), str(kind.never)])


def _times(kind: OfAKind) -> Iterator[str]:
    for seconds in (kind.standstills_s, kind.recovered_s):
        for figure in middle_and_worst(seconds) or (None, None):
            yield duration(figure)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0, or 2 where there is nothing to tell."""
    if not arguments:
        sys.stderr.write("name the folders of runs: jepsen-runs/*\n")
        return 2
    try:
        sys.stdout.write("".join(f"{line}\n" for line in table([Path(one) for one in arguments])))
    except DohleError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
