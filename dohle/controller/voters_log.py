"""VotersLog: what snapshot and metadata log say of who votes, with the addresses that Raft has no use for.

It follows the log itself, a little behind Raft's own view: links to new voters may open a moment late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dohle.controller.joining_mark import JoiningMark
from dohle.controller.metadata_recovery import RecoveredMetadata, reading
from dohle.controller.raft_wire import voter_set
from dohle.controller.vote_file import HOW_TO_GO_ON
from dohle.model.batch import check_crc, split_batches
from dohle.model.errors import CorruptMessage, DataFolderError
from dohle.model.image import ClusterImage
from dohle.model.metadata import Voter, Voters, check_levels
from dohle.model.metadata_batch import levels_in, voters_in
from dohle.raft.configurations import Configuration
from dohle.raft.quorum import NO_VOTERS, ReplicaKey, VoterSet
from dohle.rpc.identity import NodeIdentity
from dohle.runtime.network import Address
from dohle.storage.log import Log

_READ_BYTES = 1 << 20


class VotersLog:
    """The voters of the snapshot that the log goes on from, and every record of voters after it, by its batch's end."""

    def __init__(self, first: Voters | None, said: Sequence[tuple[int, Voters]]) -> None:
        self._first = first
        self._said = list(said)

    @property
    def voters(self) -> tuple[Voter, ...]:
        """Who votes, committed or not; nobody before the log has begun."""
        current = self._said[-1][1] if self._said else self._first
        return () if current is None else current.voters

    @property
    def addresses(self) -> dict[ReplicaKey, Address]:
        """Where the voters are reached."""
        return {ReplicaKey(v.node_id, v.directory_id): Address(v.host, v.port) for v in self.voters}

    def configurations(self) -> tuple[VoterSet, list[Configuration]]:
        """Returns all of it as Raft sees it: the first voters, and what the log changes."""
        first = NO_VOTERS if self._first is None else voter_set(self._first)
        return first, [Configuration(end_offset, voter_set(said)) for end_offset, said in self._said]

    def append(self, said: Iterable[tuple[int, Voters]]) -> bool:
        """Takes note of what was appended; tells whether that changes who votes."""
        before = len(self._said)
        self._said += said
        return len(self._said) > before

    def truncate(self, to_offset: int) -> bool:
        """The log was cut; tells whether that takes a change back."""
        before = len(self._said)
        self._said = [(end_offset, said) for end_offset, said in self._said if end_offset <= to_offset]
        return len(self._said) < before

    def install(self, image: ClusterImage) -> None:
        """A snapshot has taken the place of the log: who votes is what it says."""
        self._first, self._said = voters_said_by(image), []

    def cut_below(self, offset: int) -> None:
        """The log begins at `offset`: what it said before has come true, and only the last of it counts."""
        while self._said and self._said[0][0] <= offset:
            self._first = self._said.pop(0)[1]


async def read_voters(
    log: Log, recovered: RecoveredMetadata, identity: NodeIdentity, folder: str, mark: JoiningMark
) -> VotersLog:
    """Reads the log from the snapshot on. Without one it may be empty only in a folder that was formatted to join.

    Looks at what concerns voters and levels alone: every record is read again once it is known what is committed.
    Raises DataFolderError if the log lacks its beginning or belongs to another cluster, CorruptLog if it is damaged,
    UnsupportedVersion if this software is too old for it.
    """
    first = None if recovered.image is None else voters_said_by(recovered.image)
    if first is None and not log.log_end_offset and mark.is_there:
        return VotersLog(None, [])
    levels = {} if recovered.image is None else dict(recovered.image.features)
    said: list[tuple[int, Voters]] = []
    offset = recovered.snapshot.end_offset
    while offset < log.log_end_offset:
        batches = await log.read(offset, _READ_BYTES, up_to=log.log_end_offset)
        with reading(folder):
            for position, header in split_batches(batches):
                if not check_crc(batches, position, header):
                    raise CorruptMessage(f"the CRC-32C of the batch of offset {header.base_offset} does not match")
                offset = header.next_offset
            said += voters_in(batches)
            levels.update((record.name, record.level) for _, record in levels_in(batches))
    known = said[0][1] if first is None and said else first
    if known is None:
        raise DataFolderError(f"{folder} does not begin with the first voters: {HOW_TO_GO_ON}")
    if known.cluster_id != identity.cluster_id:
        raise DataFolderError(f"{folder} belongs to cluster {known.cluster_id}, this node to {identity.cluster_id}")
    check_levels(levels, identity.features, "this node")  # before it has said a word
    await mark.log_is_durable(log.log_end_offset)
    return VotersLog(first, said)


def voters_said_by(image: ClusterImage) -> Voters:
    """Returns what a snapshot of `image` says of who votes."""
    assert image.cluster_id is not None, "no snapshot is taken before the log has begun"
    return Voters(image.cluster_id, image.voters)
