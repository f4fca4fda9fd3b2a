"""The demo's checks find what is wrong."""

from __future__ import annotations

import pytest

from dohle.cli.flights import Flight, FlightCheck, _flights
from dohle.cli.replica_files import differing, replica_content
from dohle.model.errors import CorruptLog
from dohle.model.records import Record, encode_batch

_LINES = [b"a,b,c,d,e,f,g,h,i,carrier,k"] + [
    b"1,2,3,4,5,6,7,8,9,%b,%d" % (c, i) for i, c in enumerate([b"UA", b"AA"] * 3)
]


@pytest.fixture
def flights():
    return list(_flights(_LINES))


def _checked(flights, received):
    check = FlightCheck(flights)
    for flight in received:
        check.add(*flight)
    return check.complaints()


def test_a_flight_is_keyed_by_its_carrier(flights):
    assert flights[1] == Flight(b"AA", b"1,1,2,3,4,5,6,7,8,9,AA,1")


def test_carriers_may_interleave_in_any_way(flights):
    assert _checked(flights, flights[1::2] + flights[0::2]) == []


def test_loss_duplication_disorder_and_strangers_are_found(flights):
    assert _checked(flights, flights[:-1]) == ["1 flights are missing"]
    assert _checked(flights, flights + flights[-1:]) == ["1 records came twice"]
    assert _checked(flights, [flights[2], flights[0], *flights[3:], flights[1]]) == [
        "2 records break their carrier's order"
    ]
    assert _checked(flights, [*flights, Flight(b"UA", b"0,x"), Flight(b"UA", b"")]) == [
        "2 records are no flights that were sent"
    ]


def _folder(tmp_path, name, *segments):
    folder = tmp_path / name
    folder.mkdir()
    for number, batches in enumerate(segments):
        (folder / f"{number:020d}.log").write_bytes(b"".join(batches))
    return str(folder)


def _batch(base_offset, value=b"v"):
    return bytes(encode_batch([Record(b"k", value, (), 1)] * 2, base_offset=base_offset))


def test_replicas_are_the_same_whatever_their_segments_and_tails(tmp_path):
    one = _folder(tmp_path, "1", [_batch(0), _batch(2)], [_batch(4, b"beyond")])
    two = _folder(tmp_path, "2", [_batch(0)], [_batch(2)])
    assert differing([one, two], 4) == []
    assert replica_content(one, 4).next_offset == 4


def test_a_replica_that_differs_or_lacks_something_is_named(tmp_path):
    one = _folder(tmp_path, "1", [_batch(0), _batch(2)])
    two = _folder(tmp_path, "2", [_batch(0), _batch(2, b"w")])
    three = _folder(tmp_path, "3", [_batch(0)])
    assert differing([one, two, three], 4) == [
        f"{two} differs from {one} below offset 4",
        f"{three} ends at offset 2, before the watermark 4",
    ]


def test_a_damaged_file_is_named_with_its_position(tmp_path):
    one = _folder(tmp_path, "1", [_batch(0), b"garbage" * 20])
    with pytest.raises(CorruptLog, match=rf"\.log, byte {len(_batch(0))}:"):
        differing([one], 4)
