"""Placement: balance over brokers and racks, and nothing but the handed-in randomness."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.controller.placement import place
from dohle.model.ids import NodeId
from dohle.model.image import BrokerImage


def broker(node_id: int, rack: str = "") -> BrokerImage:
    return BrokerImage(
        NodeId(node_id), 0, bytes(16), bytes(16), (), rack, (), fenced=False, shutting_down=False, has_served=True
    )


@given(
    racks=st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=1, max_size=12),
    partitions=st.integers(1, 40),
    replication_factor=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_replicas_are_distinct_and_no_rack_is_used_again_before_every_other(
    racks, partitions, replication_factor, seed
):
    replication_factor = min(replication_factor, len(racks))
    brokers = [broker(node_id, rack) for node_id, rack in enumerate(racks)]
    placed = place(brokers, partitions=partitions, replication_factor=replication_factor, random=Random(seed))
    rack_of = {b.node_id: b.rack or f"node {b.node_id}" for b in brokers}
    assert len(placed) == partitions
    for replicas in placed:
        assert len(set(replicas)) == replication_factor
        assert len({rack_of[node] for node in replicas}) == min(replication_factor, len(set(rack_of.values())))
    leaders = Counter(replicas[0] for replicas in placed)
    assert max(leaders.values()) - min(leaders[b.node_id] for b in brokers) <= 1
    assert placed == place(
        brokers[::-1], partitions=partitions, replication_factor=replication_factor, random=Random(seed)
    )


@pytest.mark.parametrize("racks", [[""] * 6, ["a", "b", "c"] * 2, ["a", "b"] * 3])
def test_replicas_are_balanced_and_a_brokers_followers_are_spread(racks):
    brokers = [broker(node_id, rack) for node_id, rack in enumerate(racks)]
    placed = place(brokers, partitions=60, replication_factor=3, random=Random(1))
    assert set(Counter(node for replicas in placed for node in replicas).values()) == {30}
    for leader in range(6):
        followers = Counter(node for replicas in placed if replicas[0] == leader for node in replicas[1:])
        assert len(followers) >= 4


def test_topics_of_one_partition_do_not_meet_on_one_broker():
    brokers = [broker(node_id) for node_id in range(3)]
    random = Random(1)
    placed = [place(brokers, partitions=1, replication_factor=1, random=random)[0] for _ in range(60)]
    assert min(Counter(placed).values()) >= 10


def test_who_is_placed_beside_others_is_of_a_rack_that_they_are_not_of():
    down = [broker(1, "a"), broker(2, "a"), broker(3, "b"), broker(4, "c")]
    for seed in range(20):
        placed = place(
            down, partitions=8, replication_factor=2, random=Random(seed), beside=[broker(5, "a"), broker(6, "a")]
        )
        assert {frozenset(replicas) for replicas in placed} == {frozenset({3, 4})}
        assert {replicas[0] for replicas in placed} == {3, 4}
