"""The scenarios of groups let a sound group pass, and no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest

from tests.compat import group_scenarios
from tests.compat.client import Told
from tests.compat.group_scenarios import Record, outlives_its_coordinator, shares
from tests.compat.members import Reading


class FakeMember:
    def __init__(self, group: FakeGroup) -> None:
        self._group = group
        self.got: list[Record] = []

    def read(self) -> Sequence[Record]:
        return self.got

    def leave(self) -> None:
        self._group.members.remove(self)


class FakeGroup:
    """A view, its cluster, a client and a group with its log, all in memory. Faults: what it does wrong."""

    def __init__(self, *faults: str) -> None:
        self._faults = faults
        self.cluster = self
        self.members: list[FakeMember] = []
        self._log: dict[int, list[bytes]] = {}

    @contextmanager
    def topic(self, partitions: int) -> Iterator[str]:
        self._log = {partition: [] for partition in range(partitions)}
        yield "topic"

    def join(self, topic: str, group: str) -> FakeMember:
        self.members.append(FakeMember(self))
        return self.members[-1]

    def write(self, topic: str, records: Sequence[Record]) -> None:
        for partition, value in records:
            self._log[partition].append(value)
            if not ("misses" in self._faults and len(self.members) > 1 and value.endswith(b"/0")):
                self._reads((partition, value))

    def _reads(self, record: Record) -> None:
        readers = self.members if "all" in self._faults else [self.members[record[0] % len(self.members)]]
        for member in self.members[:1] if "first" in self._faults else readers:
            member.got.append(record)

    def committed(self, group: str, topic: str) -> dict[int, int]:
        late = 1 if "late" in self._faults else 0
        return {partition: len(values) - late for partition, values in self._log.items()}

    def coordinator(self, group: str) -> int:
        return 1

    def kill(self, node_id: int) -> None:
        if "forgets" in self._faults:
            for partition, values in self._log.items():
                self._reads((partition, values[0]))

    def up(self) -> None: ...
    def until_healthy(self, within_s: float) -> None: ...


@pytest.mark.parametrize("run", [shares, outlives_its_coordinator])
def test_a_sound_group_passes(run: Any) -> None:
    group = cast("Any", FakeGroup())
    run(group, group, False)
    assert not group.members


@pytest.mark.parametrize(
    ("run", "fault", "said"),
    [
        (shares, "misses", "everything that was written is read"),
        (shares, "first", "not shared by 2"),
        (shares, "all", "not shared by 2"),
        (outlives_its_coordinator, "misses", "everything that was written is read"),
        (outlives_its_coordinator, "late", "is committed"),
        (outlives_its_coordinator, "forgets", "is read again"),
    ],
)
def test_no_other_does(run: Any, fault: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_scenarios, "_PATIENCE_S", 0.05)
    group = cast("Any", FakeGroup(fault))
    with pytest.raises(AssertionError, match=said):
        run(group, group, False)


def test_a_member_tells_what_it_fails_of() -> None:
    def fails(note: Any, _leaving: Any) -> None:
        note(0, b"one")
        raise Told("no such group")

    member = Reading(fails)
    with pytest.raises(Told, match="no such group"):
        member.leave()
    with pytest.raises(Told, match="no such group"):
        member.read()


def test_what_a_member_has_read_is_kept_when_it_has_left() -> None:
    def reads(note: Any, leaving: Any) -> None:
        note(3, b"one")
        leaving.wait()
        note(3, b"two")

    member = Reading(reads)
    member.leave()
    assert member.read() == ((3, b"one"), (3, b"two"))
