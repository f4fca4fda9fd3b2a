"""VoterLinks: the other controllers that this one talks to, and those that have called.

Kept are links to every voter, and to every controller that has called and may be answered: whoever lags may not know
yet who votes. One that has no vote knocks at the addresses of its configuration until it has one, for nobody calls it
unasked, and where it is told that voters are: so the leader learns of it and sends it the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dohle.controller.voter_link import LinkEnds, VoterLink
from dohle.model.errors import InvalidRequest
from dohle.model.metadata import FeatureRange
from dohle.raft.messages import Message
from dohle.raft.quorum import ReplicaKey
from dohle.rpc.v1 import raft_pb2
from dohle.runtime.network import Address
from dohle.runtime.tasks import Tasks

_MOST_LEARNERS = 16
_MOST_KNOCKS = 32


@dataclass(frozen=True, slots=True)
class Guest:
    """A controller that has called: where it listens (None: it did not say), how many of its streams are open, and what
    it can work at."""

    address: Address | None
    streams: int
    features: tuple[FeatureRange, ...]


class VoterLinks:
    """The links of one controller. `ends` is what each of them needs, `tasks` owns their tasks."""

    def __init__(self, me: ReplicaKey, bootstrap: Sequence[Address], ends: LinkEnds, tasks: Tasks) -> None:
        self.guests: dict[ReplicaKey, Guest] = {}
        self._me = me
        self._addresses = list(bootstrap)  # to knock at: as configured, and as told since
        self._ends = ends
        self._tasks = tasks
        self._voters: dict[ReplicaKey, Address] = {}
        self._links: dict[ReplicaKey, VoterLink] = {}
        self._knocks: list[VoterLink] = []
        self._running: dict[VoterLink, asyncio.Task[None]] = {}

    @property
    def learners(self) -> list[ReplicaKey]:
        """Those that have called and have no vote, in order."""
        return sorted(key for key in self.guests if key not in self._voters)

    def keep(self, voters: Mapping[ReplicaKey, Address]) -> None:
        """From now on these are the voters."""
        self._voters = dict(voters)
        self._follow()

    def enter(self, source: ReplicaKey, address: Address | None, features: tuple[FeatureRange, ...]) -> None:
        """`source` has called, and listens at `address`. Raises InvalidRequest if it cannot be answered."""
        before = self.guests.get(source)
        if source not in self._voters and before is None:
            if address is None:
                raise InvalidRequest(f"node {source} has no vote here, and does not say where it listens")
            if len(self.learners) >= _MOST_LEARNERS:
                raise InvalidRequest(
                    f"{_MOST_LEARNERS} controllers without a vote follow already, {self.learners[0]} among them; run "
                    "the others as brokers alone"
                )
        self.guests[source] = Guest(address, 1 if before is None else before.streams + 1, features)
        self._follow()
        link = self._links.get(source)
        if link is not None:
            link.seen()

    def leave(self, source: ReplicaKey) -> bool:
        """One of its streams has ended; tells whether it was the last."""
        guest = self.guests[source]
        if guest.streams > 1:
            self.guests[source] = replace(guest, streams=guest.streams - 1)
            return False
        del self.guests[source]
        self._follow()
        return True

    def where_to_knock(self, source: ReplicaKey) -> list[raft_pb2.RaftVoterAddress]:
        """Returns what `source` is told: where the voters are, unless it is one."""
        if source in self._voters:
            return []
        others = [address for key, address in self._voters.items() if key.node_id != source.node_id]
        return [raft_pb2.RaftVoterAddress(host=address.host, port=address.port) for address in others]

    def send(self, message: Message) -> None:
        """Sends it, or drops it where nobody is known to be."""
        link = self._links.get(message.target)
        if link is not None:
            link.send(message)

    def address_of(self, key: ReplicaKey) -> Address | None:
        """Where it listens, as far as is known."""
        link = self._links.get(key)
        return None if link is None else link.address

    def _follow(self) -> None:
        wanted = {key: guest.address for key, guest in self.guests.items() if guest.address is not None}
        wanted |= self._voters
        wanted.pop(self._me, None)
        for key in sorted(self._links.keys() - wanted.keys()):
            self._close(self._links.pop(key))
        for key, address in sorted(wanted.items()):
            link = self._links.get(key)
            if link is not None and link.address != address:
                self._close(link)
            if link is None or link.address != address:
                self._links[key] = self._open(VoterLink(key, address, self._ends, self._knock_at))
        if self._me in self._voters:
            while self._knocks:
                self._close(self._knocks.pop())
        elif not self._knocks:
            self._knocks = [self._knock(address) for address in self._addresses]

    def _knock_at(self, addresses: Sequence[Address]) -> None:
        """Voters listen there, says one who was knocked at: the leader may be none of those that are configured."""
        unknown = [address for address in addresses if address not in self._addresses]
        told = unknown[: max(0, _MOST_KNOCKS - len(self._addresses))]
        self._addresses += told
        if self._knocks:
            self._knocks += [self._knock(address) for address in told]

    def _knock(self, address: Address) -> VoterLink:
        return self._open(VoterLink(None, address, self._ends, self._knock_at))

    def _open(self, link: VoterLink) -> VoterLink:
        self._running[link] = self._tasks.spawn(link.run(), link.name)
        return link

    def _close(self, link: VoterLink) -> None:
        self._running.pop(link).cancel()
