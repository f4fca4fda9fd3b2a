"""What clients know of the cluster, and how they come to know it."""

import pytest

from dohle.client.backoff import Backoff
from dohle.client.cluster_view import ClusterView, PartitionView
from dohle.client.seams import parse_bootstrap
from dohle.model.errors import ConfigurationError, UnknownTopicOrPartition
from dohle.rpc.v1 import broker_pb2, common_pb2
from dohle.runtime.network import Address


class Middle:
    """A random source that always gives a half."""

    def random(self) -> float:
        return 0.5


def answer(*partitions: tuple[int, int, int], topic_id: bytes = b"i") -> broker_pb2.MetadataResponse:
    entries = [
        broker_pb2.PartitionMetadata(partition=number, leader=leader, leader_epoch=epoch)
        for number, leader, epoch in partitions
    ]
    topic = broker_pb2.TopicMetadata(name="t", topic_id=topic_id, partitions=entries)
    return broker_pb2.MetadataResponse(nodes=[broker_pb2.NodeMetadata(node_id=3, host="h", port=9)], topics=[topic])


def test_an_older_answer_does_not_bring_back_a_former_leader() -> None:
    view = ClusterView().merged(answer((0, 1, 5), (1, 1, 1))).merged(answer((0, 2, 4), (1, 2, 2)))
    assert view.topics["t"].partitions == (PartitionView(0, 1, 5), PartitionView(1, 2, 2))
    assert view.nodes == {3: Address("h", 9)}


def test_a_topic_made_again_begins_anew() -> None:
    view = ClusterView().merged(answer((0, 1, 5))).merged(answer((0, 2, 0), topic_id=b"j"))
    assert view.topics["t"].partitions == (PartitionView(0, 2, 0),)


def test_partitions_that_an_answer_does_not_know_yet_are_kept() -> None:
    view = ClusterView().merged(answer((0, 1, 0), (1, 1, 0))).merged(answer((0, 1, 0)))
    assert len(view.topics["t"].partitions) == 2


def test_a_failure_is_kept_until_the_topic_is_known() -> None:
    failed = broker_pb2.MetadataResponse(
        topics=[broker_pb2.TopicMetadata(name="t", failure=common_pb2.Failure(code=3, message="m"))]
    )
    view = ClusterView().merged(failed)
    assert isinstance(view.failures["t"], UnknownTopicOrPartition)
    assert view.merged(answer((0, 1, 0))).failures == {}


def test_pauses_grow_from_20_ms_to_half_a_second_and_begin_anew() -> None:
    backoff = Backoff(Middle())  # type: ignore[arg-type]
    pauses = [backoff.next_s() for _ in range(30)]
    assert pauses[0] == pytest.approx(0.018)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(0.45)
    backoff.reset()
    assert backoff.next_s() == pytest.approx(0.018)


def test_bootstrap_addresses_are_read_in_every_usual_form() -> None:
    assert parse_bootstrap("a:1, b:2,") == (Address("a", 1), Address("b", 2))
    assert parse_bootstrap(["localhost", "[::1]:5", "[::1]"]) == (
        Address("localhost", 7092),
        Address("::1", 5),
        Address("::1", 7092),
    )


@pytest.mark.parametrize("bootstrap", ["", [], "a:b", "a:0", "a:70000", ":5"])
def test_unusable_bootstrap_addresses_are_refused(bootstrap: str | list[str]) -> None:
    with pytest.raises(ConfigurationError):
        parse_bootstrap(bootstrap)
