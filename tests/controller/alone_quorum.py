"""A quorum of one in memory: what is proposed is committed in the next turn of the loop, and office comes at a word.

While commits are held back they gather, until they are let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dohle.controller.controller import Controller
from dohle.controller.quorum_listener import QuorumListener
from dohle.model.errors import NotController
from dohle.model.ids import NO_NODE, IncarnationId
from dohle.model.metadata import SUPPORTED_FEATURES, MetadataRecord
from dohle.model.metadata_batch import MetadataBatch
from dohle.rpc.identity import NodeIdentity
from tests.controller.decided_cluster import CLUSTER_ID, VOTER, DecidedCluster


class AloneQuorum:
    def __init__(self) -> None:
        self.identity = NodeIdentity(
            CLUSTER_ID, VOTER.node_id, IncarnationId(bytes(16)), VOTER.directory_id, SUPPORTED_FEATURES
        )
        self.leader_id = NO_NODE
        self.is_transferring = False
        self.commit_offset = 0
        self.commits = 0
        self.held_back: list[MetadataBatch] | None = None
        self._end_offset = 0
        self._listener: QuorumListener | None = None

    def attach(self, listener: QuorumListener) -> None:
        self._listener = listener

    @property
    def listener(self) -> QuorumListener:
        assert self._listener is not None
        return self._listener

    def not_controller(self) -> NotController:
        return NotController("not in office")

    async def read_barrier(self) -> int:
        return self._end_offset

    def propose(self, records: Sequence[MetadataRecord], _metadata_version: int) -> int:
        base_offset, self._end_offset = self._end_offset, self._end_offset + len(records)
        batch = MetadataBatch(base_offset, self._end_offset, 1, tuple(records))
        self.commits += 1
        if self.held_back is not None:
            self.held_back.append(batch)
        else:
            asyncio.get_running_loop().call_soon(self.listener.committed, batch)
        return self._end_offset

    def forget_held_back(self) -> None:
        """What was held back is lost with the office, and what comes is committed again."""
        assert self.held_back is not None, "nothing is held back"
        self._end_offset -= sum(len(batch.records) for batch in self.held_back)
        self.held_back = None

    def let_go(self, count: int) -> None:
        """Commits the oldest of what is held back."""
        assert self.held_back is not None, "nothing is held back"
        for _ in range(count):
            self.listener.committed(self.held_back.pop(0))


class AloneController:
    """The real controller on top, beginning with what a decided cluster has come to."""

    def __init__(self, cluster: DecidedCluster) -> None:
        self.quorum = AloneQuorum()
        self.controller = Controller(self.quorum)  # type: ignore[arg-type]
        self.quorum.propose(cluster.log, cluster.image.metadata_version)

    async def take_office(self) -> None:
        await asyncio.sleep(0)
        self.quorum.listener.leads(1)

    def leave_office(self) -> None:
        self.quorum.listener.leads_no_longer()
