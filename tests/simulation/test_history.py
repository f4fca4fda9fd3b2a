"""The history checker finds each anomaly, and nothing in a sound history."""

from __future__ import annotations

from dohle.testing.history import History, Place, check


def sound() -> History:
    """Two keys in one partition; the third record's outcome was never known."""
    history = History()
    for offset, (key, value, number) in enumerate([(b"a", b"a1", 1), (b"b", b"b1", 2), (b"a", b"a2", 3)]):
        history.sent(key, value, number)
        history.polled(Place(0, offset), value, offset)
        history.final[Place(0, offset)] = value
    history.sends[b"a1"].acknowledged = Place(0, 0)
    history.sends[b"b1"].acknowledged = Place(0, 1)
    history.sent(b"b", b"b2", 4)
    return history


def names(history: History) -> list[str]:
    return [anomaly.name for anomaly in check(history)]


def test_a_sound_history_has_no_anomaly() -> None:
    assert names(sound()) == []


def test_an_acknowledged_record_that_is_nowhere_is_lost() -> None:
    history = sound()
    history.sends[b"b2"].acknowledged = Place(0, 3)
    assert names(history) == ["lost write"]


def test_an_unacknowledged_record_may_be_missing_or_there() -> None:
    history = sound()
    history.final[Place(0, 3)] = b"b2"
    assert names(history) == []


def test_a_record_at_two_places_is_a_duplicate() -> None:
    history = sound()
    history.final[Place(1, 0)] = b"b1"
    assert "duplicate" in names(history)


def test_a_record_elsewhere_than_acknowledged_is_inconsistent() -> None:
    history = sound()
    history.sends[b"a1"].acknowledged = Place(0, 1)
    assert names(history) == ["inconsistent offsets"]


def test_an_acknowledgement_without_an_offset_only_says_that_it_is_there() -> None:
    history = sound()
    history.sends[b"a1"].acknowledged = Place(0, -1)
    assert names(history) == []


def test_a_place_that_was_read_with_another_value_is_inconsistent() -> None:
    history = sound()
    history.seen[Place(0, 0)] = b"b2"
    assert names(history) == ["inconsistent offsets"]


def test_two_readers_that_saw_different_values_at_one_place_are_reported() -> None:
    history = sound()
    history.polled(Place(0, 0), b"a2", 0)
    assert names(history) == ["inconsistent offsets"]


def test_a_refused_record_that_is_there_is_an_aborted_read() -> None:
    history = sound()
    history.sends[b"a2"].refused = "too large"
    assert names(history) == ["aborted read"]


def test_a_record_that_nobody_sent_is_reported() -> None:
    history = sound()
    history.final[Place(0, 3)] = b"c1"
    assert names(history) == ["unknown record"]


def test_a_keys_records_in_another_order_than_sent_are_reported() -> None:
    history = sound()
    history.final[Place(0, 0)], history.final[Place(0, 2)] = b"a2", b"a1"
    history.seen.clear()
    history.sends[b"a1"].acknowledged = None
    assert names(history) == ["non-monotonic send"]


def test_a_reader_that_skips_or_goes_back_is_reported() -> None:
    history = sound()
    history.polled(Place(0, 2), b"a2", 1)
    history.polled(Place(0, 1), b"b1", 2)
    assert names(history) == ["internal skip", "non-monotonic poll"]
