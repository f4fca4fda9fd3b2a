"""Elections and reassignments as Kafka's administrators ask for them."""

from __future__ import annotations

import pytest

from dohle.kafka.messages.placement import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ElectLeadersRequest,
    ElectLeadersResponse,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)
from dohle.model.errors import (
    ElectionNotNeeded,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidRequest,
    NoReassignmentInProgress,
    RequestTimedOut,
    UnknownTopicOrPartition,
)
from dohle.model.ids import NodeId, PartitionKey, TopicId
from dohle.rpc.v1 import controller_pb2
from tests.broker.brokers import until
from tests.broker.virtual_time import in_virtual_time
from tests.listeners.kafka.served_broker import ServedBroker

T = TopicId(b"t" * 16)
KEY = PartitionKey(T, 0)


async def drifted() -> ServedBroker:
    """A broker of a cluster in which partition 0 of topic t is not led by its preferred leader, and 1 is."""
    served = await ServedBroker.started()
    controller = served.cluster.controller
    controller.topic(T, [[1, 2, 3], [2, 3, 1]])
    controller.fence(1)
    await until(lambda: not controller.image.brokers[NodeId(1)].fenced)
    await until(lambda: len(served.cluster.isr(KEY)) == 3)
    await until(lambda: served.node.broker.image.partition(KEY) == controller.image.partition(KEY))
    assert controller.leader(KEY) != 1
    return served


def elected(response: ElectLeadersResponse) -> list[tuple[str, int, int]]:
    return [
        (topic.topic, one.partition_id, one.error_code)
        for topic in response.replica_election_results
        for one in topic.partition_result
    ]


def of(*named: tuple[str, list[int]]) -> list[ElectLeadersRequest.TopicPartitions]:
    return [ElectLeadersRequest.TopicPartitions(topic=topic, partitions=numbers) for topic, numbers in named]


@in_virtual_time
@pytest.mark.parametrize("version", ElectLeadersRequest.API.versions)
async def test_preferred_leaders_are_elected(version: int) -> None:
    served = await drifted()
    request = ElectLeadersRequest(topic_partitions=of(("t", [0, 1, 5]), ("none", [0]), ("t2", [])))
    response = await served.ask(request, ElectLeadersResponse, version)
    unknown = UnknownTopicOrPartition.code
    assert response.error_code == 0
    assert elected(response) == [("t", 0, 0), ("t", 1, ElectionNotNeeded.code), ("t", 5, unknown), ("none", 0, unknown)]
    assert served.cluster.controller.leader(KEY) == 1


@in_virtual_time
async def test_without_names_only_those_are_told_of_that_need_a_leader() -> None:
    served = await drifted()
    assert elected(await served.ask(ElectLeadersRequest(topic_partitions=None), ElectLeadersResponse)) == [("t", 0, 0)]
    assert elected(await served.ask(ElectLeadersRequest(topic_partitions=None), ElectLeadersResponse)) == []


@in_virtual_time
async def test_an_empty_list_asks_for_nothing() -> None:
    served = await drifted()
    for topics in ([], of(("t", []))):
        response = await served.ask(ElectLeadersRequest(topic_partitions=topics), ElectLeadersResponse)
        assert (response.error_code, elected(response)) == (0, [])
    assert served.operated == []


@in_virtual_time
async def test_an_unclean_election_is_not_needed_where_somebody_leads() -> None:
    served = await drifted()
    request = ElectLeadersRequest(election_type=1, topic_partitions=of(("t", [0])))
    assert elected(await served.ask(request, ElectLeadersResponse)) == [("t", 0, ElectionNotNeeded.code)]


@in_virtual_time
@pytest.mark.parametrize(
    ("election_type", "timeout_ms", "error"),
    [(2, 1000, InvalidRequest), (0, 0, RequestTimedOut), (0, -1, RequestTimedOut)],
)
async def test_what_cannot_be_asked_for_is_refused_for_all_partitions(
    election_type: int, timeout_ms: int, error: type[Exception]
) -> None:
    served = await drifted()
    request = ElectLeadersRequest(
        election_type=election_type, topic_partitions=of(("t", [0, 1])), timeout_ms=timeout_ms
    )
    response = await served.ask(request, ElectLeadersResponse)
    code = getattr(error, "code")  # noqa: B009
    assert response.error_code == code
    assert elected(response) == [("t", 0, code), ("t", 1, code)]
    assert served.cluster.controller.leader(KEY) != 1


def moves(*wanted: tuple[str, int, list[int] | None], **fields: object) -> AlterPartitionReassignmentsRequest:
    topics: dict[str, AlterPartitionReassignmentsRequest.Topic] = {}
    for name, number, replicas in wanted:
        topic = topics.setdefault(name, AlterPartitionReassignmentsRequest.Topic(name=name, partitions=[]))
        topic.partitions.append(
            AlterPartitionReassignmentsRequest.Topic.Partition(partition_index=number, replicas=replicas)
        )
    return AlterPartitionReassignmentsRequest(topics=list(topics.values()), **fields)


async def moved(served: ServedBroker, request: AlterPartitionReassignmentsRequest) -> list[tuple[str, int, int]]:
    response = await served.ask(request, AlterPartitionReassignmentsResponse)
    assert response.error_code == 0
    return [
        (topic.name, one.partition_index, one.error_code) for topic in response.responses for one in topic.partitions
    ]


async def listed(
    served: ServedBroker, *named: tuple[str, list[int]]
) -> list[tuple[str, int, list[int], list[int], list[int]]]:
    topics = [ListPartitionReassignmentsRequest.Topic(name=name, partition_indexes=of) for name, of in named]
    request = ListPartitionReassignmentsRequest(topics=topics or None)
    response = await served.ask(request, ListPartitionReassignmentsResponse)
    assert response.error_code == 0
    return [
        (topic.name, one.partition_index, one.replicas, one.adding_replicas, one.removing_replicas)
        for topic in response.topics
        for one in topic.partitions
    ]


async def held_back() -> ServedBroker:
    """A broker of a cluster in which reassignments of topic t to broker 3 do not end: that is down."""
    served = await ServedBroker.started()
    controller = served.cluster.controller
    controller.topic(T, [[1, 2], [2, 1]])
    controller.topic(TopicId(b"u" * 16), [[1]], name="u")
    await until(lambda: served.node.broker.image.topic_named("u") is not None)

    async def nobody_joins(_request: object, _context: object) -> object:
        return controller_pb2.AlterPartitionsResponse()

    controller.alter_partitions = nobody_joins  # type: ignore[method-assign]
    return served


@in_virtual_time
async def test_reassignments_begin_each_by_itself_are_listed_go_elsewhere_and_are_cancelled() -> None:
    served = await held_back()
    answered = await moved(served, moves(("t", 0, [3, 1]), ("t", 1, [9]), ("t", 7, [1]), ("none", 0, None)))
    assert answered == [
        ("t", 0, 0),
        ("t", 1, InvalidReplicaAssignment.code),
        ("t", 7, UnknownTopicOrPartition.code),
        ("none", 0, UnknownTopicOrPartition.code),
    ]
    ongoing = ("t", 0, [3, 1, 2], [3], [2])
    assert await listed(served) == [ongoing]
    assert await listed(served, ("t", [1, 0]), ("none", [0])) == [ongoing]
    assert await listed(served, ("t", [1])) == []
    assert await moved(served, moves(("t", 0, [2, 3]))) == [("t", 0, 0)]
    assert await listed(served) == [("t", 0, [2, 3, 1], [3], [1])]
    assert await moved(served, moves(("t", 0, None), ("t", 1, None))) == [
        ("t", 0, 0),
        ("t", 1, NoReassignmentInProgress.code),
    ]
    assert await listed(served) == []


@in_virtual_time
@pytest.mark.parametrize("version", AlterPartitionReassignmentsRequest.API.versions)
async def test_every_version_may_have_its_number_of_replicas(version: int) -> None:
    served = await held_back()
    request = moves(("t", 0, [1]), ("t", 1, []))
    response = await served.ask(request, AlterPartitionReassignmentsResponse, version)
    codes = [one.error_code for topic in response.responses for one in topic.partitions]
    assert codes == [0, InvalidReplicaAssignment.code]
    if version:
        strict = await moved(served, moves(("u", 0, [1, 2]), allow_replication_factor_change=False))
        assert strict == [("u", 0, InvalidReplicationFactor.code)]


@in_virtual_time
async def test_no_time_and_nothing_to_do_ask_for_nothing() -> None:
    served = await held_back()
    response = await served.ask(moves(("t", 0, [3]), timeout_ms=-1), AlterPartitionReassignmentsResponse)
    assert response.error_code == RequestTimedOut.code
    assert response.responses[0].partitions[0].error_code == RequestTimedOut.code
    empty = AlterPartitionReassignmentsRequest.Topic(name="t", partitions=[])
    response = await served.ask(AlterPartitionReassignmentsRequest(topics=[empty]), AlterPartitionReassignmentsResponse)
    assert (response.error_code, response.responses[0].partitions) == (0, [])
    assert served.operated == []
    listing = await served.ask(ListPartitionReassignmentsRequest(timeout_ms=0), ListPartitionReassignmentsResponse)
    assert listing.error_code == 0, "what changes nothing takes the time that it needs"
