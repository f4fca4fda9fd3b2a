"""A group that is there for its offsets alone: who commits to it assigns partitions to itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dohle.groups.group import CLASSIC
from dohle.groups.records import GroupRecord
from dohle.model.group_errors import UnknownMember
from dohle.model.ids import PartitionKey


@dataclass(frozen=True, slots=True)
class SimpleGroup:
    """Kafka's simple group, an empty classic one without a protocol type. No record says that it is there: it begins
    with its first offset and ends with its last one."""

    group_id: str
    kind: str = CLASSIC
    state: str = "Empty"
    protocol_type: str = ""
    is_simple: bool = True
    empty_since_ms: int | None = -1

    def subscribes_to(self, _topic: str) -> bool:
        return False

    def check_commit(
        self,
        member_id: str,
        instance_id: str | None,
        epoch: int,
        partitions: Sequence[PartitionKey] = (),
        *,
        knows_epochs: bool,
    ) -> None:
        """Raises UnknownMember for a commit by a member, which the group has none of."""
        if epoch >= 0:
            raise UnknownMember(f"group {self.group_id} has no members: commit to it without a generation")

    def committed(self, member_id: str, now_s: float) -> None: ...

    def check_fetch(self, member_id: str | None, epoch: int) -> None: ...

    def check_deletion(self) -> None: ...

    def tombstones(self) -> tuple[GroupRecord, ...]:
        return ()
