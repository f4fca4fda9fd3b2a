"""Zigzag varints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.model.errors import CorruptMessage
from dohle.model.varint import VARINTS, decode_varint, encode_varint

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "00"),
        (-1, "01"),
        (1, "02"),
        (-64, "7f"),
        (64, "8001"),
        (8191, "fe7f"),
        (-8193, "818001"),
        ((1 << 31) - 1, "feffffff0f"),
        ((1 << 63) - 1, "feffffffffffffffff01"),
        (-(1 << 63), "ffffffffffffffffff01"),
    ],
)
def test_known_encodings(number, encoded):
    assert encode_varint(number).hex() == encoded
    assert VARINTS[number].hex() == encoded


@given(INT64, st.binary(max_size=5), st.binary(max_size=5))
def test_every_int64_comes_back_and_the_position_behind_it(number, before, after):
    encoded = VARINTS[number]
    assert decode_varint(before + encoded + after, len(before)) == (number, len(before) + len(encoded))


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\xff" * 9, b"\x80" * 11 + b"\x00"])
def test_cut_and_endless_varints_are_refused(raw):
    with pytest.raises(CorruptMessage):
        decode_varint(raw, 0)


def test_the_table_stays_as_large_as_it_is():
    size = len(VARINTS)
    assert VARINTS[1 << 40] == encode_varint(1 << 40)
    assert len(VARINTS) == size
