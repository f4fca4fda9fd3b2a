"""A leader appends a batch that keeps its offset there or nowhere, and repeated ones not at all."""

from __future__ import annotations

import pytest

from dohle.broker.leading import ACKS_ALL
from dohle.model.errors import NotEnoughReplicas, OffsetOutOfRange
from dohle.model.placed import hole
from dohle.model.records import Record, encode_batch
from tests.broker.led_partition import Partition
from tests.broker.logs import batch
from tests.broker.virtual_time import in_virtual_time


def place(partition: Partition, data: bytes) -> object:
    leading, now = partition.leading, partition.now
    return leading.append(data, ACKS_ALL, now + 5, now, 0, keeps_offset=True)


@in_virtual_time
async def test_a_repeated_batch_is_refused_and_the_log_keeps_the_first_one() -> None:
    partition = await Partition.new()
    data = encode_batch([Record(b"k", b"v")], base_offset=7)
    with pytest.raises(OffsetOutOfRange, match="the log ends at 0"):
        place(partition, data)
    place(partition, hole(0, 7))
    place(partition, data)
    assert partition.log.log_end_offset == 8
    for again in (hole(0, 7), data):
        with pytest.raises(OffsetOutOfRange, match="the log ends at 8"):
            place(partition, again)
    partition.append(data=batch())
    assert partition.log.log_end_offset == 9
    await partition.tasks.close()


@in_virtual_time
async def test_it_is_acknowledged_by_all_in_sync_or_not_taken() -> None:
    partition = await Partition.new(isr=(1,))
    with pytest.raises(NotEnoughReplicas):
        place(partition, hole(0, 7))
    assert partition.log.log_end_offset == 0
    await partition.tasks.close()
