"""Log starts: what is let go, was to be let go, and stays gone once that was acknowledged."""

from __future__ import annotations

from collections.abc import Iterator

from dohle.model.errors import CorruptLog
from dohle.model.ids import PartitionKey
from dohle.storage.checkpoints import LOG_STARTS, decode_offsets
from dohle.storage.log import Log
from dohle.testing.clients.deleter import Deletions
from dohle.testing.invariants.sure_log import SureLog, durable_content
from dohle.testing.world.world import Machine

_DAY_MS = 86_400_000


def let_go_wrongly(log: Log, leaders_start: int, deletions: Deletions | None) -> Iterator[str]:
    """`leaders_start`: the greatest at which a leader's log has begun, this one's included if it leads."""
    start = log.log_start_offset
    if start > leaders_start:
        yield f"it begins at {start}, and no leader's log has begun above {leaders_start}"
    retains_all = log.config.retention_bytes < 0 and not 0 <= log.config.retention_ms < _DAY_MS
    asked = 0 if deletions is None else deletions.asked.get(log.name, 0)
    if deletions is not None and retains_all and start > asked:
        yield f"it begins at {start}, and nobody has asked for a deletion above {asked}"


def brings_back(log: Log, deletions: Deletions | None) -> Iterator[str]:
    """Yields what the log of one who begins to lead shows that was deleted."""
    before = acknowledged(deletions, log.name)
    if log.log_start_offset < before:
        yield f"it begins at {log.log_start_offset}, and a deletion of what lies below {before} was acknowledged"


def acknowledged(deletions: Deletions | None, log_name: str) -> int:
    """Returns below which offset records are deleted for good."""
    return 0 if deletions is None else deletions.acknowledged.get(log_name, 0)


def noted_start(machine: Machine, disk: SureLog, key: PartitionKey, name: str) -> int:
    """Returns where a start of this machine's node would find that the log on `disk` begins."""
    path = f"{disk.parent}/{LOG_STARTS}"
    try:
        noted = decode_offsets(path, durable_content(machine, path).decode("utf-8", "replace"))
    except CorruptLog:
        return disk.start
    topic = name.removesuffix(f"-{key.partition}")
    return max(disk.start, noted.get((topic, key.partition), 0))
