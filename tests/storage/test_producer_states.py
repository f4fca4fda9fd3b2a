import struct

import pytest
from crc32c import crc32c

from dohle.model.batch import BatchHeader, read_header
from dohle.model.errors import CorruptLog, InvalidProducerEpoch, OutOfOrderSequenceNumber
from dohle.storage.producer_states import Duplicate, ProducerStates
from tests.storage.world import batch

INT32_MAX = 2**31 - 1


def header(sequence: int, count: int = 1, *, offset: int = 0, epoch: int = 0, producer: int = 9) -> BatchHeader:
    raw = read_header(batch(count, producer=producer, producer_epoch=epoch, sequence=sequence))
    return raw._replace(base_offset=offset)


def states(*written: BatchHeader) -> ProducerStates:
    one = ProducerStates()
    for each in written:
        one.update(each, 0.0)
    return one


def test_an_unknown_producer_begins_with_its_first_batch() -> None:
    assert states().check(header(0)) is None


def test_a_later_batch_of_an_unknown_producer_does_not_overtake_its_first() -> None:
    with pytest.raises(OutOfOrderSequenceNumber, match="not known here"):
        states().check(header(41))


def test_the_next_sequence_is_taken() -> None:
    assert states(header(0, 3)).check(header(3)) is None


@pytest.mark.parametrize("sequence", [0, 2, 4, 5])
def test_a_gap_or_a_step_back_is_refused(sequence: int) -> None:
    with pytest.raises(OutOfOrderSequenceNumber):
        states(header(0, 3)).check(header(sequence))


def test_a_repeated_batch_gets_its_first_offsets() -> None:
    known = states(header(0, 3, offset=100), header(3, 2, offset=103))
    assert known.check(header(0, 3)) == Duplicate(100, 102)
    assert known.check(header(3, 2)) == Duplicate(103, 104)


def test_five_batches_are_remembered_and_no_more() -> None:
    known = states(*(header(i, offset=i) for i in range(6)))
    assert known.check(header(1)) == Duplicate(1, 1)
    with pytest.raises(OutOfOrderSequenceNumber):
        known.check(header(0))


def test_sequences_follow_the_largest_with_zero() -> None:
    known = states(header(INT32_MAX - 1, 2, offset=10))
    assert known.check(header(0)) is None
    within = states(header(INT32_MAX, 3, offset=10))
    assert within.check(header(2)) is None
    assert within.check(header(INT32_MAX, 3)) == Duplicate(10, 12)


def test_a_new_epoch_begins_at_zero() -> None:
    known = states(header(0, 3))
    assert known.check(header(0, epoch=1)) is None
    with pytest.raises(OutOfOrderSequenceNumber):
        known.check(header(3, epoch=1))


def test_an_epoch_that_is_over_is_refused() -> None:
    with pytest.raises(InvalidProducerEpoch):
        states(header(0, epoch=2)).check(header(1, epoch=1))


def test_a_batch_of_the_old_epoch_is_no_duplicate_in_the_new_one() -> None:
    known = states(header(0, 3), header(0, 1, epoch=1, offset=3))
    assert known.check(header(0, 1, epoch=1)) == Duplicate(3, 3)
    with pytest.raises(InvalidProducerEpoch):
        known.check(header(0, 3))


def test_producers_that_were_not_seen_for_long_are_forgotten() -> None:
    known = states()
    known.update(header(0, producer=1), 100.0)
    known.update(header(0, producer=2), 160.0)
    known.expire(200.0, 60_000)
    with pytest.raises(OutOfOrderSequenceNumber, match="not known here"):
        known.check(header(1, producer=1))
    assert known.check(header(1, producer=2)) is None


def test_a_snapshot_keeps_all_five_batches() -> None:
    known = states(*(header(i, offset=50 + i) for i in range(5)))
    again = ProducerStates()
    again.load(known.encode(), 0.0)
    assert [again.check(header(i)) for i in range(5)] == [Duplicate(50 + i, 50 + i) for i in range(5)]
    assert again.check(header(5)) is None


def test_a_snapshot_survives_the_wrap_of_sequences() -> None:
    again = ProducerStates()
    again.load(states(header(INT32_MAX, 3, offset=10)).encode(), 0.0)
    assert again.check(header(INT32_MAX, 3)) == Duplicate(10, 12)


def test_a_snapshot_has_the_layout_of_kafka() -> None:
    data = states(header(4, 3, offset=20)).encode()
    row = struct.pack(">qhiqiqiq", 9, 0, 6, 22, 2, 1002, -1, -1)
    body = struct.pack(">i", 1) + row
    assert data == struct.pack(">hI", 1, crc32c(body)) + body


def test_every_damaged_byte_of_a_snapshot_is_noticed() -> None:
    data = states(header(0), header(0, producer=3)).encode()
    for position in range(len(data)):
        spoilt = bytearray(data)
        spoilt[position] ^= 0x40
        with pytest.raises(CorruptLog):
            ProducerStates().load(bytes(spoilt), 0.0)
    with pytest.raises(CorruptLog):
        ProducerStates().load(data[:-1], 0.0)
    with pytest.raises(CorruptLog):
        ProducerStates().load(b"", 0.0)
