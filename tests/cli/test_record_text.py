"""Records as text, both ways."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.cli.record_text import Input, headers_of, parse_json, parse_line, record_json, record_line
from dohle.model.errors import InvalidRecord
from dohle.model.records import Record

_bytes = st.none() | st.binary(max_size=20)
_headers = st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), _bytes), max_size=3)


@given(_bytes, _bytes, _headers.map(tuple), st.integers(0, 2**40))
def test_what_consume_prints_produce_reads(key, value, headers, timestamp_ms):
    line = record_json("t", 2, Record(key, value, headers, timestamp_ms, 7))
    assert parse_json(line.encode(), ()) == Input(key, value, headers, 2, timestamp_ms)


def test_bytes_that_are_no_text_stand_as_base64():
    fields = json.loads(record_json("t", 0, Record(b"k", b"\xff", (("h", b"\xfe"),), 5, 6)))
    assert fields == {
        "topic": "t",
        "partition": 0,
        "offset": 6,
        "timestamp_ms": 5,
        "key": "k",
        "value_base64": "/w==",
        "headers": [["h", {"base64": "/g=="}]],
    }


def test_a_line_is_split_at_the_first_separator():
    assert parse_line(b"a:b:c", b":", ()) == Input(b"a", b"b:c")
    assert parse_line(b"a:b", None, (("h", b"1"),)) == Input(None, b"a:b", (("h", b"1"),))
    with pytest.raises(InvalidRecord, match="no ':' between key and value: 'abc'"):
        parse_line(b"abc", b":", ())


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{", "no JSON"),
        (b"[]", 'at least a "value"'),
        (b'{"key": "x"}', 'at least a "value"'),
        (b'{"value": 5}', "5 is not a string"),
        (b'{"value": "x", "partition": true}', "True is not a whole number"),
        (b'{"value_base64": "?"}', "'\\?' is not base64"),
        (b'{"value": "x", "headers": [1]}', "."),
    ],
)
def test_bad_json_is_refused_with_the_line(line, complaint):
    with pytest.raises(InvalidRecord, match=complaint) as caught:
        parse_json(line, ())
    assert repr(line.decode()) in caught.value.message


def test_a_line_shows_the_value_and_on_request_the_key():
    record = Record(b"k", b"v", (), 0, 0)
    assert record_line(record, key_separator=None) == b"v"
    assert record_line(record, key_separator=b"\t") == b"k\tv"
    assert record_line(Record(None, None), key_separator=b"\t") == b"\t"


def test_headers_are_names_and_values():
    assert headers_of(["a=b=c", "x="]) == (("a", b"b=c"), ("x", b""))
    with pytest.raises(ValueError, match="NAME=VALUE"):
        headers_of(["a"])
