"""What is tried with the members of a group: that they share its partitions, and outlive its coordinator."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.compat.client import KafkaClient, Member
from tests.compat.own_view import OwnView
from tests.integration.clusters import until

_PARTITIONS = 4
_RECORDS = 5
"""Of a round, in each partition."""
_PATIENCE_S = 60.0

Record = tuple[int, bytes]
"""Its partition and its value."""


def shares(seen: OwnView, client: KafkaClient, _repeats: bool) -> None:
    """A second member joins, and leaves again; whoever reads a partition, nothing is lost."""
    with seen.topic(partitions=_PARTITIONS) as topic:
        group = _Group(seen, client, topic)
        with group.joined() as first:
            group.until_shared_by(first)
            with group.joined() as second:
                group.until_shared_by(first, second)
            group.until_shared_by(first)


def outlives_its_coordinator(seen: OwnView, client: KafkaClient, _repeats: bool) -> None:
    """The members read and commit on, and what was committed before is read by nobody again."""
    with seen.topic(partitions=_PARTITIONS) as topic:
        group = _Group(seen, client, topic)
        with group.joined() as first, group.joined() as second:
            group.until_shared_by(first, second)
            group.until_committed()
            committed = Counter(group.read())
            group.write()
            try:
                seen.cluster.kill(seen.coordinator(group.group_id))
                group.write()
                group.until_shared_by(first, second)
                group.until_committed()
            finally:
                seen.cluster.up()
                seen.cluster.until_healthy(60)
            times = Counter(group.read())
            again = [record for record in committed if times[record] > committed[record]]
            assert not again, f"was committed, and is read again: {again}"
        group.until_committed()  # who leaves takes nothing back


class _Group:
    """A group of one client's members, and all that was written for it and read by it."""

    def __init__(self, seen: OwnView, client: KafkaClient, topic: str) -> None:
        self.group_id = f"group-of-{topic}"
        self._seen, self._client, self._topic = seen, client, topic
        self._members: list[Member] = []
        self._rounds = itertools.count(1)
        self._written: set[Record] = set()

    @contextmanager
    def joined(self) -> Iterator[Member]:
        """Starts a member, which leaves at the end."""
        member = self._client.join(self._topic, self.group_id)
        self._members.append(member)
        try:
            yield member
        except BaseException:
            with suppress(Exception):  # what came first says more
                member.leave()
            raise
        member.leave()

    def write(self) -> set[Record]:
        """Writes some records to each partition, none of them as any other."""
        number = next(self._rounds)
        records = [
            (partition, f"{number}/{partition}/{place}".encode())
            for place in range(_RECORDS)
            for partition in range(_PARTITIONS)
        ]
        self._seen.write(self._topic, records)
        self._written |= set(records)
        return set(records)

    def read(self) -> list[Record]:
        """Returns what all members have read, also those that have left."""
        return [record for member in self._members for record in member.read()]

    def until_shared_by(self, *members: Member) -> None:
        """Writes and has everything read, until of what was written last each of these has read whole partitions, and
        nobody anything twice."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            written = self.write()
            until(lambda: self._written <= set(self.read()), "everything that was written is read", _PATIENCE_S)
            shares = [[record for record in member.read() if record in written] for member in members]
            partitions = [{partition for partition, _ in share} for share in shares]
            if all(partitions) and sum(map(len, shares)) == len(written) and sum(map(len, partitions)) == _PARTITIONS:
                return
            assert time.monotonic() < deadline, f"not shared by {len(members)} members: {partitions}"

    def until_committed(self) -> None:
        """Returns once the end of every partition is committed."""
        end = len(self._written) // _PARTITIONS
        ends = dict.fromkeys(range(_PARTITIONS), end)
        until(lambda: self._seen.committed(self.group_id, self._topic) == ends, f"{end} is committed", _PATIENCE_S)
