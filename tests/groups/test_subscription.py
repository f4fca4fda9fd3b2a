"""The embedded consumer protocol: to and fro, against kafka-python's classes, and whatever bytes come."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.protocol.consumer import ConsumerProtocolAssignment, ConsumerProtocolSubscription

from dohle.groups.subscription import (
    MemberAssignment,
    Subscription,
    decode_assignment,
    decode_subscription,
    encode_assignment,
    encode_subscription,
)

NAMES = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.integers(-(1 << 31), (1 << 31) - 1)
PARTITIONS = st.lists(st.tuples(NAMES, st.lists(NUMBERS, max_size=3).map(tuple)), max_size=3).map(tuple)
DATA = st.none() | st.binary(max_size=8)
SUBSCRIPTIONS = st.builds(
    Subscription, st.lists(NAMES, max_size=3).map(tuple), DATA, PARTITIONS, NUMBERS, st.none() | NAMES
)
ASSIGNMENTS = st.builds(MemberAssignment, PARTITIONS, DATA)
VERSIONS = st.integers(0, 3)


def known(subscription: Subscription, version: int) -> Subscription:
    """Returns what a version says of it."""
    without = {1: {"owned": ()}, 2: {"generation": -1}, 3: {"rack": None}}
    for since, fields in without.items():
        if version < since:
            subscription = dataclasses.replace(subscription, **fields)  # type: ignore[arg-type]
    return subscription


@given(SUBSCRIPTIONS, VERSIONS, st.binary(max_size=4))
def test_subscriptions_come_back_whatever_follows_them(sent: Subscription, version: int, more: bytes) -> None:
    data = encode_subscription(sent, version)
    assert decode_subscription(data) == known(sent, version)
    assert decode_subscription(data + more if version in (0, 3) else data) == known(sent, version)


@given(ASSIGNMENTS, VERSIONS, st.binary(max_size=4))
def test_assignments_come_back_whatever_follows_them(sent: MemberAssignment, version: int, more: bytes) -> None:
    assert decode_assignment(encode_assignment(sent, version) + more) == sent


@given(SUBSCRIPTIONS, st.integers(4, 32767))
def test_a_newer_version_is_read_as_the_newest_known(sent: Subscription, version: int) -> None:
    data = encode_subscription(sent)
    assert decode_subscription(version.to_bytes(2, "big") + data[2:] + b"what version 4 adds") == sent


@given(SUBSCRIPTIONS)
def test_fields_may_be_left_out_at_the_end(sent: Subscription) -> None:
    for older, newer in pairwise(range(4)):
        data = newer.to_bytes(2, "big") + encode_subscription(sent, older)[2:]
        assert decode_subscription(data) == known(sent, older)


@given(st.binary(max_size=64) | st.binary(max_size=32).map(lambda rest: b"\0\1" + rest))
def test_no_bytes_do_harm(data: bytes) -> None:
    for decode in (decode_subscription, decode_assignment):
        try:
            decode(data)
        except ValueError:
            continue


@given(SUBSCRIPTIONS, st.data())
def test_what_is_cut_short_is_refused_or_lacks_its_end(sent: Subscription, draw: st.DataObject) -> None:
    data = encode_subscription(sent)
    cut = data[: draw.draw(st.integers(0, len(data) - 1))]
    try:
        decoded = decode_subscription(cut)
    except ValueError:
        return
    assert decoded in [known(sent, version) for version in range(3)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\xff\xff\0\0\0\0\xff\xff\xff\xff",  # version -1
        b"\0\0\x7f\xff\xff\xff",  # as many topics as nobody has sent
        b"\0\0\xff\xff\xff\xff\xff\xff\xff\xff",  # -1 topics
        b"\0\0\0\0\0\1\xff\xff\0\0\0\0",  # a name of -1 bytes
        b"\0\0\0\0\0\1\0\1\xff\0\0\0\0",  # no UTF-8
        b"\0\0\0\0\0\0",  # without user data
        b"\0\0\0\0\0\0\xff\xff\xff\xfe",  # user data of -2 bytes
    ],
)
def test_what_is_no_subscription_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_subscription(data)


@given(SUBSCRIPTIONS, VERSIONS)
def test_subscriptions_have_the_bytes_that_kafka_python_writes(sent: Subscription, version: int) -> None:
    theirs = ConsumerProtocolSubscription(
        version=version,
        topics=list(sent.topics),
        user_data=sent.user_data,
        owned_partitions=[
            ConsumerProtocolSubscription.TopicPartition(topic=topic, partitions=list(numbers))
            for topic, numbers in sent.owned
        ],
        generation_id=sent.generation,
        rack_id=sent.rack,
    )
    assert encode_subscription(sent, version) == bytes(theirs.encode(version=version))


@given(ASSIGNMENTS, VERSIONS)
def test_assignments_have_the_bytes_that_kafka_python_writes(sent: MemberAssignment, version: int) -> None:
    theirs = ConsumerProtocolAssignment(
        version=version,
        assigned_partitions=[
            ConsumerProtocolAssignment.TopicPartition(topic=topic, partitions=list(numbers))
            for topic, numbers in sent.partitions
        ],
        user_data=sent.user_data,
    )
    assert encode_assignment(sent, version) == bytes(theirs.encode(version=version))


def test_no_bytes_are_no_partitions() -> None:
    assert decode_assignment(b"") == MemberAssignment(())
