"""What a follower demands of batches that its leader has pushed, before it appends them byte for byte."""

from __future__ import annotations

from dohle.model.batch import BatchHeader, Bytes, check_crc, split_batches
from dohle.model.errors import CorruptMessage, InvalidRecord


def check_pushed(
    batches: Bytes, *, name: str, end: int, epoch: int, leader_epoch: int
) -> list[tuple[int, BatchHeader]]:
    """Returns position and header of each batch, all of which continue a log that ends at `end` in `epoch`.

    Raises CorruptMessage or InvalidRecord where they are damaged or out of order; `name` is the log's.
    """
    found = list(split_batches(batches))
    if not found:
        raise InvalidRecord(f"{name}: no batch was sent")
    for position, header in found:
        if header.base_offset < end or header.last_offset_delta < 0:
            raise InvalidRecord(f"{name}: a batch of offset {header.base_offset} where {end} comes next")
        if not epoch <= header.partition_leader_epoch <= leader_epoch:
            raise InvalidRecord(
                f"{name}: a batch of leader epoch {header.partition_leader_epoch} at offset "
                f"{header.base_offset}, after one of epoch {epoch} and from a leader of epoch {leader_epoch}"
            )
        if not check_crc(batches, position, header):
            raise CorruptMessage(f"{name}: the batch of offset {header.base_offset} was damaged on its way")
        end, epoch = header.next_offset, header.partition_leader_epoch
    return found
