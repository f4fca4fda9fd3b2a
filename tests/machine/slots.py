"""Slot: a number that one run on this machine has for itself. What the run makes outside its folder bears the number.

A slot's file is locked for as long as its run lives, however that ends; it says where the run's folder is. So who finds
one that nobody locks knows that its run was interrupted, and what may have been left over; nothing else is touched.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from dohle.model.errors import ConfigurationError

PREFIX = "dohle-jx"
"""Names of what runs make begin with it."""
_FOLDER = Path("/run") / PREFIX
_SLOTS = range(1, 250)


class Slot:
    """One that this process has locked."""

    def __init__(self, number: int, descriptor: int) -> None:
        self.number = number
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path) -> Slot:
        """Returns one that is free, for a run in `folder`. Raises ConfigurationError if none is."""
        _FOLDER.mkdir(exist_ok=True)
        for number in _SLOTS:
            slot = _locked(number, os.O_CREAT | os.O_EXCL)
            if slot is not None:
                os.write(slot._descriptor, str(folder.resolve()).encode())
                return slot
        raise ConfigurationError(f"all {len(_SLOTS)} slots in {_FOLDER} are taken by runs: end some of them")

    @property
    def name(self) -> str:
        return f"{PREFIX}-{self.number}"

    @property
    def folder(self) -> Path | None:
        """Of the run; None if it ended before it could say."""
        text = os.pread(self._descriptor, 4096, 0).decode()
        return Path(text) if text else None

    def give_back(self) -> None:
        """Is called once nothing is left of what was made."""
        if self._descriptor >= 0:
            _file(self.number).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def abandoned() -> Iterator[Slot]:
    """Yields the slots of runs that were interrupted, locked: each is to be given back once it is tidied up."""
    for number in _SLOTS:
        slot = _locked(number, 0) if _file(number).exists() else None
        if slot is not None:
            yield slot


def _file(number: int) -> Path:
    return _FOLDER / f"{number}.lock"


def _locked(number: int, flags: int) -> Slot | None:
    try:
        descriptor = os.open(_file(number), os.O_RDWR | flags, 0o600)
    except (FileExistsError, FileNotFoundError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:  # else its run has just given it back
            return Slot(number, descriptor)
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None
