"""What a controller's quorum begins with: its vote, its metadata log, the newest snapshot, and who votes by both.

Keeps: whatever is damaged or missing is refused here, before this node has said a word (raft.md, rules 5 and 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dohle.controller.joining_mark import JoiningMark
from dohle.controller.metadata_recovery import RecoveredMetadata, check_sound, recover_metadata
from dohle.controller.raft_wire import first_batch_crc
from dohle.controller.snapshot_fetch import SnapshotFetch
from dohle.controller.snapshot_files import SnapshotFiles
from dohle.controller.vote_file import Vote, read_vote
from dohle.controller.voters_log import VotersLog, read_voters
from dohle.model.errors import DataFolderError
from dohle.model.topic_config import TopicConfig
from dohle.rpc.identity import NodeIdentity
from dohle.runtime.clock import Clock
from dohle.runtime.disk import Disk
from dohle.runtime.network import Address, Network
from dohle.runtime.tasks import OnFailure, Tasks
from dohle.storage.single_log import SingleLog, open_single_log


@dataclass(frozen=True, slots=True)
class RecoveredQuorum:
    """What was found in a controller's folder, or fetched to mend it."""

    vote: Vote
    single_log: SingleLog
    log_tasks: Tasks  # outlive what appends to the log
    metadata: RecoveredMetadata
    voters_log: VotersLog
    joining_mark: JoiningMark
    first_batch_crc: int  # 0 where neither the log nor a snapshot says it


async def recover_quorum(
    identity: NodeIdentity,
    folder: str,
    *,
    disk: Disk,
    clock: Clock,
    network: Network,
    peers: Sequence[Address],
    on_failure: OnFailure,
    log_config: TopicConfig | None,
) -> RecoveredQuorum:
    """Opens what is in `folder`; nothing stays open where that fails. Raises as `Quorum.open` does."""
    if not disk.exists(folder):
        raise DataFolderError(
            f"{folder} is missing: this data folder was not formatted for a controller, or was wiped. Where it holds "
            "replicas, name a new folder as metadata_log_dir, and run `dohle format --join --ignore-formatted`; else "
            "format it anew with --join. Then let it replace this voter; or run the node as a broker alone"
        )
    vote = await read_vote(disk, folder)
    log_tasks = Tasks(f"metadata log of node {identity.node_id}", on_failure)
    single_log = await open_single_log(disk, clock, folder, log_tasks, on_failure=on_failure, config=log_config)
    mark = JoiningMark(disk, folder)
    try:
        check_sound(single_log)
        fetch = SnapshotFetch(files := SnapshotFiles(disk, clock, folder), network, clock, identity, log_tasks)
        metadata = await recover_metadata(single_log, files, fetch, peers)
        voters_log = await read_voters(single_log.log, metadata, identity, folder, mark)
        first, log = b"", single_log.log
        if log.log_start_offset == 0 and log.log_end_offset:
            first = await log.read(0, 1, up_to=log.log_end_offset)
    except BaseException:
        await single_log.close()
        await log_tasks.close()
        raise
    return RecoveredQuorum(
        vote, single_log, log_tasks, metadata, voters_log, mark, first_batch_crc(first) or files.first_batch_crc
    )
