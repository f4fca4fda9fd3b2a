"""What nodes tell of themselves in Kafka's protocol: topics in pages, directories, producers, features, offsets."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dohle.kafka.messages.cluster import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
)
from dohle.kafka.messages.fetch import ListOffsetsRequest, ListOffsetsResponse
from dohle.kafka.messages.placement import (
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
)
from dohle.kafka.messages.transactions import DescribeProducersRequest, DescribeProducersResponse
from dohle.model.records import Record, encode_batch
from tests.integration.clusters import Cluster, until
from tests.integration.kafka.raw import RawKafka, leader_of, versions_of
from tests.integration.kafka.test_protocol import any_node, topic  # noqa: F401 - fixtures

Told = DescribeTopicPartitionsResponse


# topics in pages


def pages(node: RawKafka, names: list[str], limit: int, cursor: tuple[str, int] | None = None) -> Told:
    return node.ask_newest(
        DescribeTopicPartitionsRequest(
            topics=[DescribeTopicPartitionsRequest.Topic(name=name) for name in names],
            response_partition_limit=limit,
            cursor=None
            if cursor is None
            else DescribeTopicPartitionsRequest.Cursor(topic_name=cursor[0], partition_index=cursor[1]),
        ),
        Told,
    )


def shape(told: Told) -> list[tuple[str | None, int, list[int]]]:
    return [(one.name, one.error_code, [part.partition_index for part in one.partitions]) for one in told.topics]


def next_of(told: Told) -> tuple[str, int] | None:
    return None if told.next_cursor is None else (told.next_cursor.topic_name, told.next_cursor.partition_index)


@pytest.fixture
def two_topics(trio: Cluster) -> Iterator[None]:
    trio.done("topic", "create", "pages-a", "-p", "3")
    trio.done("topic", "create", "pages-b", "-p", "2")
    yield
    for name in ("pages-a", "pages-b"):
        trio.done("topic", "delete", name, "--yes")


@pytest.mark.usefixtures("two_topics")
def test_topics_come_in_pages_by_name(trio: Cluster, any_node: RawKafka) -> None:  # noqa: F811
    asked = ["pages-b", "missing", "pages-a", "no/such", "pages-a"]
    until(lambda: pages(any_node, ["pages-b"], 9).topics[0].error_code == 0, "the node knows the topics")
    whole = pages(any_node, asked, 2000)
    assert shape(whole) == [("missing", 3, []), ("no/such", 17, []), ("pages-a", 0, [0, 1, 2]), ("pages-b", 0, [0, 1])]
    assert next_of(whole) is None
    first = pages(any_node, asked, 2)
    assert (shape(first)[2:], next_of(first)) == ([("pages-a", 0, [0, 1])], ("pages-a", 2))
    second = pages(any_node, asked, 1, next_of(first))
    assert (shape(second), next_of(second)) == ([("pages-a", 0, [2])], ("pages-b", 0))
    third = pages(any_node, asked, -5, next_of(second))
    assert (shape(third), next_of(third)) == ([("pages-b", 0, [0])], ("pages-b", 1)), "one at the least"
    everything = pages(any_node, [], 2000, ("pages-a", 1))
    assert shape(everything)[:2] == [("pages-a", 0, [1, 2]), ("pages-b", 0, [0, 1])]
    assert shape(pages(any_node, [], 2000, ("pages-aa", 1)))[0] == ("pages-b", 0, [0, 1]), "it was deleted meanwhile"
    for wrong in (("pages-c", 0), ("pages-a", -1)):
        assert shape(pages(any_node, ["pages-a"], 9, wrong)) == [("pages-a", 42, [])]
    known = trio.partition("pages-a", 1)
    told = whole.topics[2].partitions[1]
    assert whole.topics[2].topic_id == any_node.topic("pages-a").topic_id
    assert (told.leader_id, told.leader_epoch, told.replica_nodes) == (
        known.leader,
        known.leader_epoch,
        list(known.assigned_replicas),
    )
    assert (told.eligible_leader_replicas, told.last_known_elr, told.offline_replicas) == ([], [], [])


# directories


@pytest.fixture(scope="module")
def two_dirs(clusters_folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(clusters_folder / "two-dirs", nodes=1)
    config = cluster.config(1)
    second = f"{cluster.data(1)}-second"
    config.write_text(
        config.read_text() + f'log_dirs = "{cluster.data(1)},{second}"\nreplica_fill_bytes_per_s = 200000\n'
    )
    cluster.done("format", "--config", str(config), "--ignore-formatted")
    cluster.up()
    cluster.until_healthy()
    yield cluster
    cluster.end()


def dirs(
    node: RawKafka, version: int, topics: dict[str, list[int]] | None = None
) -> dict[str, DescribeLogDirsResponse.Result]:
    asked = (
        None
        if topics is None
        else [DescribeLogDirsRequest.Topic(topic=name, partitions=numbers) for name, numbers in topics.items()]
    )
    told = node.ask(DescribeLogDirsRequest(topics=asked), version, DescribeLogDirsResponse)
    assert told.error_code == 0
    return {one.log_dir: one for one in told.results}


def move(node: RawKafka, version: int, path: str, *partitions: tuple[str, int]) -> list[int]:
    topics = [AlterReplicaLogDirsRequest.Dir.Topic(name=name, partitions=[number]) for name, number in partitions]
    wanted = [AlterReplicaLogDirsRequest.Dir(path=path, topics=topics)]
    told = node.ask(AlterReplicaLogDirsRequest(dirs=wanted), version, AlterReplicaLogDirsResponse)
    return [part.error_code for one in told.results for part in one.partitions]


def test_directories_are_told_of_and_replicas_move_between_them(two_dirs: Cluster) -> None:
    two_dirs.done("topic", "create", "moving", "-p", "1", "-r", "1")
    with leader_of(two_dirs, "moving") as node:
        data = encode_batch([Record(None, bytes(400_000), (), int(time.time() * 1000))])
        for _ in range(3):
            assert node.produce("moving", data).error_code == 0
        for version in versions_of(35):
            told = dirs(node, version)
            assert [one.error_code for one in told.values()] == [0, 0]
            [source] = [path for path, one in told.items() if one.topics]
            [replica] = told[source].topics[0].partitions
            assert (replica.partition_size >= 1_200_000, replica.offset_lag, replica.is_future_key) == (True, 0, False)
            if version >= 4:
                assert 0 < told[source].usable_bytes < told[source].total_bytes
            assert not any(one.topics for one in dirs(node, version, {"moving": [3], "else": [0]}).values())
            assert dirs(node, version, {"moving": [0]})[source].topics[0].name == "moving"
        [target] = [path for path in told if path != source]
        newest = versions_of(35)[-1]
        for version in versions_of(34):
            assert move(node, version, "/no/such/dir", ("moving", 0)) == [57]
            assert move(node, version, target, ("missing", 0), ("moving", 7)) == [3, 3]
            assert move(node, version, source, ("moving", 0)) == [0], "it lies there"
            assert move(node, version, target, ("moving", 0)) == [0]
            assert move(node, version, target, ("moving", 0)) == [0], "it is on its way there"
            [future] = dirs(node, newest)[target].topics[0].partitions
            assert (future.is_future_key, 0 <= future.offset_lag <= 3) == (True, True)
            assert move(node, version, source, ("moving", 0)) == [0], "it turns round"
            assert dirs(node, newest)[target].topics == []
        assert move(node, version, target, ("moving", 0)) == [0]
        until(lambda: not dirs(node, newest)[source].topics, "it has arrived", within_s=60)
        [arrived] = dirs(node, newest)[target].topics[0].partitions
        assert (arrived.is_future_key, arrived.offset_lag) == (False, 0)
        assert node.fetch("moving", 2).error_code == 0


# producers


def test_producers_are_told_of_with_what_they_wrote_last(trio: Cluster, topic: str) -> None:  # noqa: F811
    def described(node: RawKafka, name: str, number: int = 0) -> DescribeProducersResponse.Topic.Partition:
        asked = DescribeProducersRequest.Topic(name=name, partition_indexes=[number])
        told = node.ask_newest(DescribeProducersRequest(topics=[asked]), DescribeProducersResponse)
        return told.topics[0].partitions[0]

    with leader_of(trio, topic) as leader:
        assert described(leader, topic).active_producers == []
        now = int(time.time() * 1000)
        records = [Record(None, b"x", (), now)]
        for sequence in (0, 1):
            batch = encode_batch(records, producer_id=4711, producer_epoch=3, base_sequence=sequence)
            assert leader.produce(topic, batch).error_code == 0
        [one] = described(leader, topic).active_producers
        assert (one.producer_id, one.producer_epoch, one.last_sequence, one.last_timestamp) == (4711, 3, 1, now)
        assert (one.coordinator_epoch, one.current_txn_start_offset) == (-1, -1)
        assert described(leader, topic, 7).error_code == 3
        assert described(leader, "missing").error_code == 3
        assert described(leader, "no/such").error_code == 17
    follower = next(node for node in trio.partition(topic).assigned_replicas if node != trio.partition(topic).leader)
    with RawKafka(trio.kafka_port(follower)) as node:
        until(lambda: len(described(node, topic).active_producers) == 1, "a follower knows it as well")
    trio.done("topic", "create", "elsewhere", "-p", "1", "-r", "1")
    lacking = next(node for node in trio.node_ids if node != trio.partition("elsewhere").leader)
    with RawKafka(trio.kafka_port(lacking)) as node:
        until(lambda: described(node, "elsewhere").error_code == 6, "it knows that others have it")
    trio.done("topic", "delete", "elsewhere", "--yes")


# offsets


@pytest.mark.parametrize("version", versions_of(2))
def test_offsets_of_every_special_timestamp(trio: Cluster, topic: str, version: int) -> None:  # noqa: F811
    def listed(node: RawKafka, *timestamps: int) -> list[tuple[int, int, int, int]]:
        answers = []
        for timestamp in timestamps:
            asked = [ListOffsetsRequest.Topic.Partition(partition_index=0, timestamp=timestamp)]
            request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsRequest.Topic(name=topic, partitions=asked)])
            [one] = node.ask(request, version, ListOffsetsResponse).topics[0].partitions
            answers.append((one.error_code, one.offset, one.timestamp, one.leader_epoch))
        return answers

    def at(offset: int, timestamp: int, epoch: int) -> tuple[int, int, int, int]:
        return 0, offset, timestamp, epoch if version >= 4 else -1

    def since(first: int, answer: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        return answer if version >= first else (35, -1, -1, -1)

    now = int(time.time() * 1000)
    with leader_of(trio, topic) as leader:
        early = trio.partition(topic).leader_epoch
        nothing = at(-1, -1, -1)
        assert listed(leader, -1, -2, now) == [at(0, -1, early), at(0, -1, early), nothing]
        assert listed(leader, -3) == [since(7, nothing)]
        for offset, stamp in enumerate((now - 3000, now - 1000, now - 2000)):
            batch = encode_batch([Record(None, b"x", (), stamp)])
            assert leader.produce(topic, batch).base_offset == offset
        assert listed(leader, -1, -2) == [at(3, -1, early), at(0, -1, early)]
        assert listed(leader, now - 2500, now) == [at(1, now - 1000, early), nothing]
        assert listed(leader, -3, -4, -5, -6) == [
            since(7, at(1, now - 1000, early)),
            since(8, at(0, -1, early)),
            since(9, nothing),
            since(11, nothing),
        ]
        assert listed(leader, -7) == [(35, -1, -1, -1)]
        absent = [ListOffsetsRequest.Topic.Partition(partition_index=9, timestamp=-1)]
        request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsRequest.Topic(name=topic, partitions=absent)])
        [told] = leader.ask(request, version, ListOffsetsResponse).topics[0].partitions
        assert (told.error_code, told.offset) == (3, -1)
        twice = [ListOffsetsRequest.Topic.Partition(partition_index=0, timestamp=-1)] * 2
        request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsRequest.Topic(name=topic, partitions=twice)])
        answers = leader.ask(request, version, ListOffsetsResponse).topics[0].partitions
        assert [one.error_code for one in answers] == [42]


def test_a_records_leader_epoch_is_the_one_in_which_it_was_written(trio: Cluster, topic: str) -> None:  # noqa: F811
    stamp = int(time.time() * 1000)
    with leader_of(trio, topic) as leader:
        assert leader.produce(topic, encode_batch([Record(None, b"x", (), stamp)])).error_code == 0
    before = trio.partition(topic)
    trio.kill(before.leader)
    trio.up(before.leader)
    trio.until_healthy()
    now = trio.partition(topic)
    assert now.leader_epoch > before.leader_epoch
    with leader_of(trio, topic) as leader:
        wanted = [ListOffsetsRequest.Topic.Partition(partition_index=0, timestamp=stamp)]
        request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsRequest.Topic(name=topic, partitions=wanted)])
        [found] = leader.ask_newest(request, ListOffsetsResponse).topics[0].partitions
        assert (found.offset, found.leader_epoch) == (0, before.leader_epoch)
        wanted[0].timestamp = -1
        [end] = leader.ask_newest(request, ListOffsetsResponse).topics[0].partitions
        assert (end.offset, end.leader_epoch) == (1, now.leader_epoch)


# versions


def test_features_are_told_with_an_epoch_that_grows(trio: Cluster, any_node: RawKafka) -> None:  # noqa: F811
    def told(version: int) -> ApiVersionsResponse:
        request = ApiVersionsRequest(client_software_name="raw", client_software_version="1.2.3")
        return any_node.ask(request, version, ApiVersionsResponse)

    assert told(2).supported_features == []
    for version in (3, 4):
        answer = told(version)
        supported = {feature.name: feature for feature in answer.supported_features}
        assert set(supported) == ({"metadata.version"} if version == 3 else {"metadata.version", "group.version"})
        finalized = {feature.name: feature for feature in answer.finalized_features}
        assert set(finalized) == {"metadata.version", "group.version"}
        for name, feature in supported.items():
            assert feature.min_version <= finalized[name].min_version_level == finalized[name].max_version_level
            assert finalized[name].max_version_level <= feature.max_version
    epoch = told(4).finalized_features_epoch
    trio.done("topic", "create", "grows", "-p", "1")
    until(lambda: told(4).finalized_features_epoch > epoch, "the epoch grows with the metadata")
    trio.done("topic", "delete", "grows", "--yes")


def test_which_software_clients_are_is_counted(trio: Cluster, any_node: RawKafka) -> None:  # noqa: F811
    request = ApiVersionsRequest(client_software_name="counted", client_software_version="9")
    for _ in range(3):
        any_node.ask(request, 3, ApiVersionsResponse)
    node = trio.local.state.nodes[0]
    page = urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/metrics").read().decode()
    assert 'dohle_kafka_client_software_total{name="counted",version="9"} 3.0' in page
