"""The requests that both brokers are asked, by API.

A `Case` is one request in one or more versions, or bytes that are none. It is *good* where Kafka answers it without
any error and *bad* where it refuses something, by a code or by closing the connection; the test holds Kafka to that, so
that no case means less than it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from dohle.kafka.declaration import Request
from dohle.kafka.messages import api
from tests.differential.sides import Later, Raw, Side

Sent = Request | Raw | Sequence[Request | Raw | Later]

FAMILIES = (
    "produce",
    "fetch",
    "offsets",
    "cluster",
    "topics",
    "configs",
    "group_configs",
    "placement",
    "quorum",
    "security",
    "group_offsets",
    "groups",
    "consumer_groups",
    "frames",
)


@dataclass(frozen=True, slots=True)
class Case:
    """`make` is called with a side, after what it needs was made there."""

    key: int
    name: str
    is_good: bool
    make: Callable[[Side], Sent]
    versions: tuple[int, ...]
    asks_api: bool = True
    """Whether it is asked only of a broker that serves its API."""

    def __str__(self) -> str:
        return f"{api(self.key)[0].API.name}: {self.name}"


class Cases:
    """The cases of one API, as they are written down."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.cases: list[Case] = []

    def good(self, name: str, make: Callable[[Any], Sent], versions: Sequence[int] | None = None) -> None:
        self._add(name, True, make, versions)

    def bad(self, name: str, make: Callable[[Any], Sent], versions: Sequence[int] | None = None) -> None:
        self._add(name, False, make, versions)

    def _add(self, name: str, is_good: bool, make: Callable[[Any], Sent], versions: Sequence[int] | None) -> None:
        assert name not in {case.name for case in self.cases}, f"{self.key}: {name} twice"
        self.cases.append(Case(self.key, name, is_good, make, tuple(versions or some_versions(self.key))))


def some_versions(key: int) -> list[int]:
    """Returns the versions in which most cases are asked: the ends, and both sides of where the encoding changes."""
    known = api(key)[0].API
    flexible = known.versions[-1] if known.flexible is None else known.flexible
    wanted = {known.versions[0], flexible - 1, flexible, known.versions[-1]}
    return sorted(version for version in wanted if version in known.versions)


def all_versions(key: int, first: int = 0) -> list[int]:
    return [version for version in api(key)[0].API.versions if version >= first]


def all_cases() -> list[Case]:
    return [
        case
        for family in FAMILIES
        for cases in import_module(f"tests.differential.cases.{family}").ALL
        for case in cases.cases
    ]
