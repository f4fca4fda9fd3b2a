"""What the log directories that a broker registers with prove, beside those that it had before (amendment 3, KIP-858).

A directory speaks for the broker only if its last incarnation used it, and it served then and says so: one that was
not there at that time, one that is new, and one that was wiped know nothing of what was made since. Which replica lies
where the controller is not told: it is enough to know what is missing while a directory is, for a broker makes nothing
anew that was durable somewhere (docs/decisions/0020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dohle.model.ids import DirectoryId, NodeId, PartitionKey
from dohle.model.image import BrokerImage
from dohle.model.metadata import LogDirectories
from dohle.rpc.v1.controller_pb2 import RegisterBrokerRequest, RegisteredLogDir

NEVER = 1 << 62
"""Later than any metadata offset."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A registration's directories, with the broker as it was before, if it was."""

    previous: BrokerImage | None
    request: RegisterBrokerRequest
    directories: tuple[RegisteredLogDir, ...]

    @classmethod
    def of(cls, previous: BrokerImage | None, request: RegisterBrokerRequest) -> Evidence:
        alone = RegisteredLogDir(
            directory_id=request.hello.directory_id,
            durable_metadata_offset=request.durable_metadata_offset,
            clean_broker_epoch=request.clean_broker_epoch,
        )
        return cls(previous, request, tuple(request.log_dirs) or (alone,))

    @property
    def ids(self) -> tuple[DirectoryId, ...]:
        return tuple([DirectoryId(one.directory_id) for one in self.directories])

    @property
    def lacks_some(self) -> bool:
        """Whether the broker has directories that it cannot use."""
        return self.request.offline_log_dirs > 0

    @property
    def durable_metadata_offset(self) -> int:
        """Replicas that were assigned below had their folders."""
        return max([one.durable_metadata_offset for one in self.directories if self._speaks(one)], default=NEVER)

    @property
    def clean(self) -> bool:
        """Whether all directories were stopped cleanly, at the end of the broker's last incarnation."""
        return all(self.stopped_cleanly(index) for index in range(len(self.directories)))

    def is_known(self, index: int) -> bool:
        """Whether this directory is one that the broker had, and as it was then."""
        one = self.directories[index]
        return self._speaks(one) or (
            self.previous is not None and DirectoryId(one.directory_id) in self.previous.offline_log_dirs
        )

    def stopped_cleanly(self, index: int) -> bool:
        """Whether the end of the broker's last incarnation was a clean stop of this directory."""
        return self.previous is not None and self.directories[index].clean_broker_epoch == self.previous.broker_epoch

    def record(self, broker_epoch: int, offline_replicas: Sequence[PartitionKey]) -> LogDirectories | None:
        """Returns what the registration says of directories, None if there is but the one that it was made with."""
        hello = self.request.hello
        if self.ids == (hello.directory_id,) and not self.lacks_some:
            return None
        before = () if self.previous is None else (*self.previous.online_log_dirs, *self.previous.offline_log_dirs)
        offline = tuple([one for one in before if one not in self.ids]) if self.lacks_some else ()
        return LogDirectories(NodeId(hello.node_id), broker_epoch, self.ids, offline, tuple(sorted(offline_replicas)))

    def _speaks(self, one: RegisteredLogDir) -> bool:
        """A broker makes durable that it is past its registration before it asks to serve."""
        previous = self.previous
        return (
            previous is not None
            and DirectoryId(one.directory_id) in previous.online_log_dirs
            and not (previous.has_served and one.durable_metadata_offset <= previous.broker_epoch)
        )
