"""ElectLeaders, AlterPartitionReassignments, ListPartitionReassignments: who leads, and where replicas lie.

The active controller decides, by the rules of `dohle cluster elect` and `reassign`. As Kafka has it, each partition of
a request stands by itself, and a reassignment takes the place of one that runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dohle.broker.broker import Broker
from dohle.kafka.messages.placement import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ElectLeadersRequest,
    ElectLeadersResponse,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.asking import asked
from dohle.listeners.kafka.topics_known import failed
from dohle.listeners.passing_on import passed_on
from dohle.model.errors import DohleError, ElectionNotNeeded, InvalidRequest
from dohle.rpc.v1 import admin_pb2

_ELECTION_TYPES: Final = {0: admin_pb2.ELECTION_TYPE_PREFERRED, 1: admin_pb2.ELECTION_TYPE_UNCLEAN}
_ANY_EPOCH: Final = -1

_Elected = ElectLeadersResponse.Topic
_Altered = AlterPartitionReassignmentsResponse.Topic
_Ongoing = ListPartitionReassignmentsResponse.Topic


class Placement:
    """What goes on to the active controller, and its answers."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def elect(self, request: ElectLeadersRequest, _caller: Caller) -> ElectLeadersResponse:
        """Elects leaders of the partitions that are named, without names of all that need it."""
        try:
            return ElectLeadersResponse(error_code=0, replica_election_results=await self._elected(request))
        except DohleError as error:
            code, message = failed(error)
            refused = [
                _Elected(
                    topic=topic.topic,
                    partition_result=[
                        _Elected.Partition(partition_id=number, error_code=code, error_message=message)
                        for number in topic.partitions
                    ],
                )
                for topic in request.topic_partitions or []
            ]
            return ElectLeadersResponse(error_code=code, replica_election_results=refused)

    async def _elected(self, request: ElectLeadersRequest) -> list[_Elected]:
        election_type = _ELECTION_TYPES.get(request.election_type)
        if election_type is None:
            raise InvalidRequest(f"Unknown election type {request.election_type}")
        topics = request.topic_partitions
        named = [topic for topic in topics or [] if topic.partitions]
        results = {topic.topic: _Elected(topic=topic.topic, partition_result=[]) for topic in topics or []}
        if topics is not None and not named:
            return list(results.values())
        wanted = admin_pb2.ElectLeadersRequest(
            election_type=election_type,
            partitions=[admin_pb2.ElectionOf(topic=topic.topic, partitions=topic.partitions) for topic in named],
        )
        answer = await asked(self._broker, "ElectLeaders", wanted, request.timeout_ms)
        for one in answer.partitions:
            code, message = failed(one.failure)
            if topics is None and code == ElectionNotNeeded.code:
                continue
            topic = results.setdefault(one.topic, _Elected(topic=one.topic, partition_result=[]))
            topic.partition_result.append(
                _Elected.Partition(partition_id=one.partition, error_code=code, error_message=message)
            )
        return list(results.values())

    async def reassign(
        self, request: AlterPartitionReassignmentsRequest, _caller: Caller
    ) -> AlterPartitionReassignmentsResponse:
        """Begins, changes and cancels reassignments; each partition stands by itself."""
        wanted = [
            admin_pb2.WantedReassignment(
                topic=topic.name,
                partition=one.partition_index,
                replicas=one.replicas or [],
                cancel=one.replicas is None,
                partition_epoch=_ANY_EPOCH,
            )
            for topic in request.topics
            for one in topic.partitions
        ]
        asking = admin_pb2.AlterPartitionReassignmentsRequest(
            partitions=wanted,
            each_by_itself=True,
            replace=True,
            keep_replication_factor=not request.allow_replication_factor_change,
        )
        response = AlterPartitionReassignmentsResponse(
            allow_replication_factor_change=request.allow_replication_factor_change,
            error_code=0,
            error_message=None,
            responses=[],
        )
        if not wanted:
            response.error_message = None if request.topics else ""
            response.responses = [_Altered(name=topic.name, partitions=[]) for topic in request.topics]
            return response
        try:
            answer = await asked(self._broker, "AlterPartitionReassignments", asking, request.timeout_ms)
        except DohleError as error:
            response.error_code, response.error_message = failed(error)
            outcomes: Iterable[tuple[int, str | None]] = [failed(error)] * len(wanted)
        else:
            outcomes = [failed(one.failure) for one in answer.partitions]
        told = iter(outcomes)
        for topic in request.topics:
            altered = _Altered(name=topic.name, partitions=[])
            for one in topic.partitions:
                code, message = next(told)
                altered.partitions.append(
                    _Altered.Partition(partition_index=one.partition_index, error_code=code, error_message=message)
                )
            response.responses.append(altered)
        return response

    async def reassignments(
        self, request: ListPartitionReassignmentsRequest, _caller: Caller
    ) -> ListPartitionReassignmentsResponse:
        """Lists what has not ended, of all topics or of those partitions that are named."""
        response = ListPartitionReassignmentsResponse(error_code=0, error_message=None, topics=[])
        try:
            answer = await passed_on(
                self._broker,
                "ListPartitionReassignments",
                admin_pb2.ListPartitionReassignmentsRequest(),
                timeout_ms=request.timeout_ms,
            )
        except DohleError as error:
            response.error_code, response.error_message = failed(error)
            return response
        named = {(topic.name, number) for topic in request.topics or [] for number in topic.partition_indexes}
        topics: dict[str, _Ongoing] = {}
        for one in answer.partitions:
            if request.topics is None or (one.topic, one.partition) in named:
                topics.setdefault(one.topic, _Ongoing(name=one.topic, partitions=[])).partitions.append(
                    _Ongoing.Partition(
                        partition_index=one.partition,
                        replicas=list(one.replicas),
                        adding_replicas=list(one.adding_replicas),
                        removing_replicas=list(one.removing_replicas),
                    )
                )
        response.topics = list(topics.values())
        return response
