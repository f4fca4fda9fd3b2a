import pytest

from dohle.model.errors import CorruptLog
from dohle.storage.epoch_cache import EpochCache, EpochStart


def cache(*entries: tuple[int, int]) -> EpochCache:
    return EpochCache(EpochStart(*entry) for entry in entries)


def test_end_of_the_latest_epoch_is_the_log_end() -> None:
    assert cache((1, 0), (3, 10)).end_offset(3, 25) == (3, 25)


def test_end_of_an_epoch_above_all_is_undefined() -> None:
    assert cache((1, 0), (3, 10)).end_offset(4, 25) == (-1, -1)
    assert cache().end_offset(0, 0) == (-1, -1)


def test_end_of_an_epoch_below_all_is_the_start_of_the_first() -> None:
    assert cache((2, 5), (3, 10)).end_offset(1, 25) == (1, 5)


def test_end_of_an_epoch_in_between_is_its_floor_with_the_start_of_the_next() -> None:
    assert cache((1, 0), (3, 10), (7, 20)).end_offset(5, 25) == (3, 20)
    assert cache((1, 0), (3, 10), (7, 20)).end_offset(1, 25) == (1, 10)


def test_noting_an_epoch_drops_what_contradicts_it() -> None:
    one = cache((1, 0), (3, 10), (5, 20))
    one.note(6, 10)
    assert one.entries == ((1, 0), (6, 10))
    one.note(4, 15)
    assert list(one.entries) == [(1, 0), (4, 15)]


def test_noting_the_latest_epoch_again_changes_nothing() -> None:
    one = cache((1, 0))
    one.note(1, 7)
    assert one.entries == ((1, 0),)
    assert one.version == 0


def test_an_epoch_without_data_gives_way_to_the_next_one_at_the_same_offset() -> None:
    one = cache((1, 0), (2, 10))
    one.note(3, 10)
    assert one.entries == ((1, 0), (3, 10))


def test_truncation_forgets_epochs_from_the_end_on() -> None:
    one = cache((1, 0), (3, 10), (5, 20))
    one.truncate_to(10)
    assert one.entries == ((1, 0),)


def test_beginning_later_keeps_the_epoch_that_holds_the_new_start() -> None:
    one = cache((1, 0), (3, 10), (5, 20))
    one.begin_at(15)
    assert one.entries == ((3, 15), (5, 20))
    one.begin_at(20)
    assert list(one.entries) == [(5, 20)]


def test_epoch_at_an_offset() -> None:
    one = cache((1, 5), (3, 10))
    assert [one.epoch_at(offset) for offset in (4, 5, 9, 10, 99)] == [-1, 1, 1, 3, 3]


def test_file_round_trip_in_the_layout_of_kafka() -> None:
    assert cache((1, 0), (3, 10)).encode() == "0\n2\n1 0\n3 10\n"
    assert EpochCache.decode("0\n2\n1 0\n3 10\n").entries == ((1, 0), (3, 10))


@pytest.mark.parametrize(
    "text", ["", "0\n", "1\n0\n", "0\n2\n1 0\n", "0\n2\n3 10\n1 0\n", "0\n1\nx y\n", "0\n1\n1 2 3\n"]
)
def test_a_damaged_file_is_refused(text: str) -> None:
    with pytest.raises(CorruptLog):
        EpochCache.decode(text)
