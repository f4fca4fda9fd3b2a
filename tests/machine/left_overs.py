"""What runs leave behind on this machine that were killed before they could tidy up."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.machine.disks import unmount_all_below
from tests.machine.networks import unmake
from tests.machine.slots import PREFIX, abandoned

_CONTROL_GROUPS = Path("/sys/fs/cgroup")


def tidy_up() -> list[str]:
    """Takes it away, by its own names; returns those."""
    tidied = []
    for slot in abandoned():
        unmake(slot)
        if slot.folder is not None:
            unmount_all_below(slot.folder)
        slot.give_back()
        tidied.append(slot.name)
    return [*tidied, *_take_groups_away()]


def control_group(process: int, host: int) -> str:
    """Returns what a control group is called that this process makes for a host of its run's."""
    return f"{PREFIX}-{process}-{host}"


def _take_groups_away() -> list[str]:
    """Groups of processes that have ended, by whose numbers they are called."""
    gone = []
    for group in _CONTROL_GROUPS.rglob(f"{PREFIX}-*-*"):
        process = group.name.split("-")[2]
        if process.isdecimal() and not Path("/proc", process).exists():
            with contextlib.suppress(OSError):  # who is in it ends just now: the next run takes it away
                group.rmdir()
                gone.append(group.name)
    return gone
