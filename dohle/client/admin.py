"""Admin: topics, configurations and the state of the cluster, for operators and for programs that set things up.

What only reads is repeated at the next node until the time-out. What changes something is sent to a node that has just
answered, and repeated only if it certainly did not happen; NetworkException and RequestTimedOut mean that it may have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from dohle.client import descriptions, group_messages, partition_changes
from dohle.client.backoff import Backoff
from dohle.client.group_values import GroupDescription, GroupListings
from dohle.client.leader_questions import LeaderQuestions, Led
from dohle.client.listed_offsets import listed_offsets, offsets_request
from dohle.client.outcomes import is_of_the_way, only_failure, raise_if, unanswered, value_of
from dohle.client.partition_changes import ElectedLeader, OngoingReassignments, PartitionHistory, Reassignment
from dohle.client.record_deletion import RecordDeletion
from dohle.client.seams import Seams, parse_bootstrap
from dohle.client.values import (
    ClusterDescription,
    CreatedTopic,
    DeletedRecords,
    DrainedBroker,
    FeatureDescription,
    ForkedTopic,
    LogDirDescription,
    LogDirMove,
    NewTopic,
    OffsetAndTimestamp,
    OffsetSpec,
    QuorumDescription,
    Shortage,
    TopicConfigEntry,
    TopicDescription,
)
from dohle.model.errors import (
    BrokerNotAvailable,
    Closed,
    DohleError,
    RequestTimedOut,
)
from dohle.model.ids import TopicPartition, new_id
from dohle.model.snapshot_names import PREFIX, is_snapshot
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import admin_pb2, broker_pb2, group_admin_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.network import Address, Lane, Method, Network

Answer = TypeVar("Answer", bound=Message)

_SERVICES: Final = (
    admin_pb2.DESCRIPTOR.services_by_name["Admin"],
    broker_pb2.DESCRIPTOR.services_by_name["Broker"],
    group_admin_pb2.DESCRIPTOR.services_by_name["GroupAdmin"],
)
_METHODS: Final[dict[type[Message], Method[Any, Any]]] = {
    method.request: method for service in _SERVICES for method in methods_of(service).values()
}
_PROBE_S: Final = 1.0
"""How long a node may take to say that it is there, before the next is asked."""
_READ_S: Final = 5.0
"""How long one node may take to answer what only reads."""
_GRACE_S: Final = 2.0
"""How much longer than the time-out that it was given a node may take to answer."""


class Admin:
    """Asks and changes what operators do.

    ::

        async with Admin("localhost:7092") as admin:
            await admin.create_topic("greetings", partitions=6)

    Methods for several topics return a value or an error for each; those for one topic raise.

    - request_timeout_ms: how long a method may take, repetitions included
    """

    def __init__(
        self,
        bootstrap: str | Sequence[str],
        *,
        request_timeout_ms: int = 30_000,
        client_id: str = "dohle-admin",
        network: Network | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self._bootstrap = parse_bootstrap(bootstrap)
        self._nodes: dict[int, Address] = {}
        self._line = list(self._bootstrap)  # whom to ask, in turn
        self._timeout_ms = request_timeout_ms
        self._seams = Seams.of(client_id, network, clock, random)
        self._closed = False

    async def __aenter__(self) -> Admin:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def create_topics(
        self, topics: Sequence[NewTopic], *, validate_only: bool = False
    ) -> dict[str, CreatedTopic | DohleError]:
        """Creates topics, or only says whether it could. Returns by name what was created, or why it was not."""
        request = admin_pb2.CreateTopicsRequest(
            topics=[descriptions.new_topic_message(topic) for topic in topics], validate_only=validate_only
        )
        answer = await self._change(request, admin_pb2.CreateTopicsResponse)
        return {topic.name: descriptions.created_topic(topic) for topic in answer.topics}

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int | None = None,
        replication_factor: int | None = None,
        configs: Mapping[str, str] | None = None,
        validate_only: bool = False,
    ) -> CreatedTopic:
        """Creates one topic. Raises TopicAlreadyExists, InvalidTopic, InvalidReplicationFactor, InvalidConfig, ..."""
        topic = NewTopic(name, partitions, replication_factor, configs or {})
        outcomes = await self.create_topics([topic], validate_only=validate_only)
        return value_of(outcomes.get(name, unanswered(name)))

    async def fork_topic(
        self,
        source: str,
        name: str,
        *,
        offset: int | None = None,
        offsets: Mapping[int, int] | None = None,
        timestamp_ms: int | None = None,
    ) -> ForkedTopic:
        """Makes a topic that begins with what another one has, and shares its old files; returns once it is there.

        Cut as late as can be, or at an `offset` of every partition, at `offsets` of some, or before the first record
        that is not older than a time: in each case at the border between batches at or below, and of what is committed.
        It takes over the source's configuration and the places of its replicas. Raises UnknownTopicOrPartition,
        TopicAlreadyExists, OffsetOutOfRange, InvalidReplicaAssignment while a broker drains, NotEnoughReplicas where
        too few replicas can have it, UnsupportedVersion below metadata.version 5, and RequestTimedOut: then it may be
        there later.
        """
        request = admin_pb2.ForkTopicRequest(
            source=source,
            name=name,
            offset=offset,
            timestamp_ms=timestamp_ms,
            points=[admin_pb2.ForkPoint(partition=one, offset=at) for one, at in sorted((offsets or {}).items())],
            topic_id=new_id(self._seams.random),  # by which it is the same fork, however often it is asked for
        )
        deadline, timeout_s = self._deadline(), self._timeout_ms / 1000 + _GRACE_S
        while True:
            answer = await self._repeat(request, admin_pb2.ForkTopicResponse, timeout_s, is_of_the_way)
            if answer.whole:
                ends = {one.partition: one.offset for one in answer.ends}
                return ForkedTopic(name, request.topic_id, ends, answer.replication_factor)
            if self._seams.clock.now() >= deadline:
                raise RequestTimedOut(f"topic {source} is still being forked: {name} may be there later")

    async def snapshot_topic(
        self,
        source: str,
        name: str,
        *,
        offset: int | None = None,
        offsets: Mapping[int, int] | None = None,
        timestamp_ms: int | None = None,
    ) -> ForkedTopic:
        """Makes a snapshot of a topic, which nobody writes to, and of which nothing goes before it is deleted.

        It is a fork under a name of its own kind; otherwise as `fork_topic`, which raises TopicAlreadyExists where
        there is a snapshot `name`.
        """
        return await self.fork_topic(
            source, f"{PREFIX}{name}", offset=offset, offsets=offsets, timestamp_ms=timestamp_ms
        )

    async def restore_topic(self, snapshot: str, name: str) -> ForkedTopic:
        """Makes a topic that begins with all that a snapshot has, with its source's configuration; as `fork_topic`."""
        return await self.fork_topic(f"{PREFIX}{snapshot}", name)

    async def list_snapshots(self) -> list[TopicDescription]:
        """Returns all snapshots, by name; each with that name."""
        found = [topic for topic in await self.list_topics() if is_snapshot(topic.name)]
        return [replace(topic, name=topic.name.removeprefix(PREFIX)) for topic in found]

    async def delete_snapshot(self, name: str) -> None:
        """Deletes a snapshot. Raises UnknownTopicOrPartition."""
        await self.delete_topic(f"{PREFIX}{name}")

    async def delete_topics(self, names: Sequence[str]) -> dict[str, DohleError | None]:
        """Deletes topics and all their records. Returns by name why a topic was not deleted, None where it was."""
        request = admin_pb2.DeleteTopicsRequest(topics=names)
        answer = await self._change(request, admin_pb2.DeleteTopicsResponse)
        return {topic.name: descriptions.error_in(topic.failure) for topic in answer.topics}

    async def delete_topic(self, name: str) -> None:
        """Deletes one topic and all its records. Raises UnknownTopicOrPartition."""
        outcomes = await self.delete_topics([name])
        raise_if(outcomes.get(name, unanswered(name)))

    async def list_topics(self) -> list[TopicDescription]:
        """Returns all topics, by name."""
        answer = await self._read(broker_pb2.MetadataRequest(all_topics=True), broker_pb2.MetadataResponse)
        topics = [descriptions.topic(topic) for topic in answer.topics if not topic.failure.code]
        return sorted(topics, key=lambda topic: topic.name)

    async def describe_topics(self, names: Sequence[str]) -> dict[str, TopicDescription | DohleError]:
        """Returns by name what is known of a topic, or why nothing is."""
        answer = await self._read(broker_pb2.MetadataRequest(topics=names), broker_pb2.MetadataResponse)
        return {
            topic.name: descriptions.error_in(topic.failure) or descriptions.topic(topic) for topic in answer.topics
        }

    async def describe_topic(self, name: str) -> TopicDescription:
        """Returns what is known of one topic. Raises UnknownTopicOrPartition."""
        outcomes = await self.describe_topics([name])
        return value_of(outcomes.get(name, unanswered(name)))

    async def delete_records(
        self, before: Mapping[TopicPartition, int] | Mapping[tuple[str, int], int], *, validate_only: bool = False
    ) -> dict[TopicPartition, DeletedRecords | DohleError]:
        """Deletes, of each partition, the records below an offset; -1 stands for all that are committed.

        Returns, by partition, where it begins now, once nothing brings the records back, or why not: OffsetOutOfRange
        where so many are not committed, PolicyViolation where the topic is compacted alone, and RequestTimedOut where a
        replica has not confirmed it: then it may happen yet. With `validate_only`, says what would go.
        """
        wanted = {TopicPartition(topic, partition): offset for (topic, partition), offset in before.items()}
        leaders = LeaderQuestions(self.describe_topics, self._seams, self._timeout_ms / 1000)
        deletion = RecordDeletion(wanted, leaders, self._ask_to_delete)
        return await (deletion.foreseen() if validate_only else deletion.run())

    async def _ask_to_delete(
        self, node_id: int, request: broker_pb2.DeleteRecordsRequest
    ) -> broker_pb2.DeleteRecordsResponse:
        timeout_s = request.timeout_ms / 1000 + _GRACE_S
        return await self._call(self._leader(node_id), request, broker_pb2.DeleteRecordsResponse, timeout_s)

    def _leader(self, node_id: int) -> Address:
        address = self._nodes.get(node_id)  # as those who told of the leader know it
        if address is None:
            raise BrokerNotAvailable(f"node {node_id}, which leads, is not among the running brokers")
        return address

    async def list_offsets(
        self, wanted: Mapping[TopicPartition, OffsetSpec | int] | Mapping[tuple[str, int], OffsetSpec | int]
    ) -> dict[TopicPartition, OffsetAndTimestamp | DohleError]:
        """Returns, by partition, the offset that an `OffsetSpec` stands for, or that of the first record at or after a
        time in ms; -1 where there is no such record.

        With it comes the record's time, -1 for the log's ends.
        """
        specs = {TopicPartition(topic, partition): spec for (topic, partition), spec in wanted.items()}

        async def question(
            leader: int, parts: Mapping[TopicPartition, Led]
        ) -> dict[tuple[bytes, int], OffsetAndTimestamp | DohleError]:
            request = offsets_request((led, specs[name]) for name, led in parts.items())
            return listed_offsets(
                await self._call(self._leader(leader), request, broker_pb2.ListOffsetsResponse, _READ_S)
            )

        leaders = LeaderQuestions(self.describe_topics, self._seams, self._timeout_ms / 1000)
        return await leaders.ask(list(specs), question)

    async def list_groups(self) -> GroupListings:
        """Returns all groups, by id, with what is known of their lags."""
        return group_messages.listings(
            await self._read(group_admin_pb2.ListGroupsRequest(), group_admin_pb2.ListGroupsResponse)
        )

    async def describe_groups(
        self, groups: Sequence[str], *, with_history: bool = False
    ) -> dict[str, GroupDescription | DohleError]:
        """Returns by id what there is to know of each group, its lag measured now, or why it is not known.

        With `with_history`, its last rebalances as well, and one that is under way. Errors: GroupIdNotFound,
        InvalidGroupId, CoordinatorNotAvailable, ...
        """
        request = group_admin_pb2.DescribeGroupsRequest(groups=groups, with_history=with_history)
        return group_messages.descriptions(await self._read(request, group_admin_pb2.DescribeGroupsResponse))

    async def alter_group_offsets(
        self,
        group: str,
        offsets: Mapping[TopicPartition, int] | Mapping[tuple[str, int], int],
        *,
        validate_only: bool = False,
    ) -> None:
        """Sets where a group goes on, in all of these partitions or in none; to repeat it does no harm.

        Raises NonEmptyGroup while the group has members, naming them, UnknownTopicOrPartition, and
        CoordinatorNotAvailable or RequestTimedOut: then it may have happened.
        """
        request = group_messages.new_offsets(group, offsets, validate_only=validate_only)
        await self._repeat(request, group_admin_pb2.AlterGroupOffsetsResponse, _READ_S, group_messages.may_heal)

    async def delete_groups(self, groups: Sequence[str]) -> dict[str, DohleError | None]:
        """Deletes groups without members, with their offsets. Returns by id why not, None where it was done."""
        request = group_admin_pb2.RemoveGroupsRequest(groups=groups)
        answer = await self._change(request, group_admin_pb2.RemoveGroupsResponse)
        return {one.group_id: descriptions.error_in(one.failure) for one in answer.groups}

    async def create_partitions(self, topic: str, total_count: int, *, validate_only: bool = False) -> None:
        """Gives `topic` more partitions, `total_count` altogether. Raises InvalidPartitions; keys may move."""
        request = admin_pb2.CreatePartitionsRequest(
            topics=[admin_pb2.NewPartitions(topic=topic, total_count=total_count)], validate_only=validate_only
        )
        answer = await self._change(request, admin_pb2.CreatePartitionsResponse)
        raise_if(only_failure(answer.topics, topic))

    async def describe_configs(self, topic: str) -> list[TopicConfigEntry]:
        """Returns every configuration value of `topic`, those that nobody set among them, by name."""
        answer = await self._read(admin_pb2.DescribeConfigsRequest(topics=[topic]), admin_pb2.DescribeConfigsResponse)
        raise_if(only_failure(answer.topics, topic))
        entries = [descriptions.config_entry(entry) for entry in answer.topics[0].configs]
        return sorted(entries, key=lambda entry: entry.name)

    async def alter_configs(
        self,
        topic: str,
        changes: Mapping[str, str] | None = None,
        *,
        remove: Sequence[str] = (),
        validate_only: bool = False,
    ) -> None:
        """Sets the values in `changes` and takes those in `remove` back to their defaults. Raises InvalidConfig."""
        entries = [admin_pb2.ConfigEntry(name=name, value=value) for name, value in (changes or {}).items()]
        request = admin_pb2.AlterConfigsRequest(
            topics=[admin_pb2.AlterTopicConfigs(topic=topic, set=entries, remove=remove)], validate_only=validate_only
        )
        answer = await self._change(request, admin_pb2.AlterConfigsResponse)
        raise_if(only_failure(answer.topics, topic))

    async def alter_partition_reassignments(
        self,
        reassignments: Sequence[Reassignment],
        *,
        throttle_bytes_per_s: int | None = None,
        validate_only: bool = False,
    ) -> dict[TopicPartition, DohleError | None]:
        """Begins to move replicas, all of the plan or nothing. Returns by partition why not, None where it began.

        The throttle bounds what each broker sends to replicas that are added; 0 takes it off, None leaves it.
        """
        request = admin_pb2.AlterPartitionReassignmentsRequest(
            partitions=[partition_changes.wanted_message(wanted) for wanted in reassignments],
            throttle_bytes_per_s=throttle_bytes_per_s,
            validate_only=validate_only,
        )
        return partition_changes.outcomes(await self._change(request, admin_pb2.AlterPartitionReassignmentsResponse))

    async def list_partition_reassignments(self) -> OngoingReassignments:
        """Returns what has not ended, as the active controller has it."""
        request = admin_pb2.ListPartitionReassignmentsRequest()
        return partition_changes.ongoing(await self._read(request, admin_pb2.ListPartitionReassignmentsResponse))

    async def elect_leaders(
        self, partitions: Mapping[str, Sequence[int]] | None = None, *, unclean: bool = False
    ) -> dict[TopicPartition, ElectedLeader | DohleError]:
        """Elects the preferred leaders of these partitions by topic, all of a topic's if none is named, or of all that
        have others. With `unclean`, replicas that are not in sync, where nobody else can lead and the topic allows it.
        """
        request = admin_pb2.ElectLeadersRequest(
            election_type=admin_pb2.ELECTION_TYPE_UNCLEAN if unclean else admin_pb2.ELECTION_TYPE_PREFERRED,
            partitions=partition_changes.elections_of(partitions or {}),
        )
        return partition_changes.elected(await self._change(request, admin_pb2.ElectLeadersResponse))

    async def describe_partition_history(
        self, topic: str, partition: int, *, most_changes: int = 50, as_known: bool = False
    ) -> PartitionHistory:
        """Returns who led and who was in sync, since when. Raises UnknownTopicOrPartition.

        With `as_known`, as `describe_quorum` has it.
        """
        request = admin_pb2.DescribePartitionHistoryRequest(
            topic=topic, partition=partition, most_changes=most_changes, as_known=as_known
        )
        ask = self._ask_any if as_known else self._read
        answer = await ask(request, admin_pb2.DescribePartitionHistoryResponse)
        raise_if(descriptions.error_in(answer.failure))
        return partition_changes.history(answer)

    async def describe_cluster(self) -> ClusterDescription:
        """Returns nodes, voters and unhealthy partitions, as the node that answers sees them."""
        answer = await self._read(admin_pb2.DescribeClusterRequest(), admin_pb2.DescribeClusterResponse)
        return descriptions.cluster(answer)

    async def describe_quorum(self, *, as_known: bool = False) -> QuorumDescription:
        """Returns who votes among the controllers and how far each is, as the active one knows it at this moment.

        With `as_known`, for while no majority of them answers: what those that do know by themselves. That may be old,
        and the end of their logs may be taken back.
        """
        request = admin_pb2.DescribeQuorumRequest(as_known=as_known)
        ask = self._ask_any if as_known else self._change
        return descriptions.quorum(await ask(request, admin_pb2.DescribeQuorumResponse))

    async def add_voter(self, node_id: int) -> bool:
        """Gives a controller that is connected a vote, once it has the log; returns whether it had none.

        Raises VoterNotFound if no such controller is there, InvalidRequest if that may not be.
        """
        answer = await self._change(admin_pb2.AddVoterRequest(node_id=node_id), admin_pb2.AddVoterResponse)
        return answer.changed

    async def remove_voter(self, node_id: int) -> bool:
        """Takes a controller's vote away, which may be down; returns whether it had one. Raises InvalidRequest."""
        answer = await self._change(admin_pb2.RemoveVoterRequest(node_id=node_id), admin_pb2.RemoveVoterResponse)
        return answer.changed

    async def transfer_controller(self, node_id: int | None = None) -> int:
        """Lets another voter be the active controller, by choice the furthest; returns which one is then.

        Raises VoterNotFound if it has no vote, InvalidRequest if it did not take over.
        """
        request = admin_pb2.TransferControllerRequest(node_id=-1 if node_id is None else node_id)
        answer = await self._change(request, admin_pb2.TransferControllerResponse)
        return answer.leader_id

    async def drain_broker(self, node_id: int, *, cancel: bool = False, validate_only: bool = False) -> DrainedBroker:
        """Has a broker get no new replicas from now on, or has it be one like any other again.

        What it has stays until it is moved. Raises BrokerIdNotRegistered, InvalidReplicaAssignment where that could not
        be elsewhere, and UnsupportedVersion below metadata.version 4.
        """
        request = admin_pb2.DrainBrokerRequest(node_id=node_id, cancel=cancel, validate_only=validate_only)
        answer = await self._change(request, admin_pb2.DrainBrokerResponse)
        return DrainedBroker(answer.changed, answer.replicas)

    async def unregister_broker(self, node_id: int) -> None:
        """Forgets a broker that is switched off for good: it is down, holds no replica and has no vote.

        Raises BrokerIdNotRegistered, and InvalidRequest while it is up or anything needs it.
        """
        await self._change(admin_pb2.UnregisterBrokerRequest(node_id=node_id), admin_pb2.UnregisterBrokerResponse)

    async def describe_features(self) -> FeatureDescription:
        """Returns at which metadata.version the cluster works, and which ones its nodes support."""
        request = admin_pb2.DescribeFeaturesRequest()
        return descriptions.features(await self._change(request, admin_pb2.DescribeFeaturesResponse))

    async def update_features(
        self, metadata_version: int | None = None, *, validate_only: bool = False
    ) -> tuple[int, int]:
        """Finalises a metadata.version, the newest that the active controller knows unless one is given; for good.

        Returns the one before and the one from now on. Raises InvalidUpdateVersion while a node does not support it.
        """
        request = admin_pb2.UpdateFeaturesRequest(metadata_version=metadata_version or 0, validate_only=validate_only)
        answer = await self._change(request, admin_pb2.UpdateFeaturesResponse)
        return answer.previous_metadata_version, answer.metadata_version

    async def describe_log_dirs(self, node_id: int) -> list[LogDirDescription]:
        """Returns the log folders of one broker and the replicas in them. Raises BrokerNotAvailable."""
        request = admin_pb2.DescribeLogDirsRequest()
        answer = await self._ask(node_id, request, admin_pb2.DescribeLogDirsResponse)
        return [descriptions.log_dir(log_dir) for log_dir in answer.log_dirs]

    async def describe_shortage(self, node_id: int) -> Shortage:
        """Returns what one broker lacks room for, and which of its replicas are damaged.

        Raises BrokerNotAvailable.
        """
        request = admin_pb2.DescribeLogDirsRequest(omit_replicas=True)
        answer = await self._ask(node_id, request, admin_pb2.DescribeLogDirsResponse)
        return Shortage(
            tuple(log_dir.lacks_room for log_dir in answer.log_dirs if log_dir.lacks_room),
            {TopicPartition(one.topic, one.partition): one.reason for one in answer.waiting},
            {
                TopicPartition(one.topic, one.partition): one.failure.message
                for log_dir in answer.log_dirs
                for one in log_dir.replicas
                if one.HasField("failure")
            },
        )

    async def describe_log_dir_moves(self, node_id: int) -> list[LogDirMove]:
        """Returns which replicas of one broker go from one of its log folders to another, and the last that did."""
        request = admin_pb2.DescribeLogDirsRequest()
        answer = await self._ask(node_id, request, admin_pb2.DescribeLogDirsResponse)
        return [descriptions.log_dir_move(move) for move in answer.moves]

    async def alter_replica_log_dirs(
        self, node_id: int, targets: Mapping[TopicPartition, str | None], *, validate_only: bool = False
    ) -> dict[TopicPartition, DohleError | None]:
        """Begins to move replicas of one broker to other log folders of it; None takes back a move.

        Returns why a move could not begin, None where it has. It goes on when this returns, for as long as the broker
        runs. Raises BrokerNotAvailable.
        """
        replicas = [
            admin_pb2.WantedLogDir(topic=name.topic, partition=name.partition, path=path or "")
            for name, path in targets.items()
        ]
        request = admin_pb2.AlterReplicaLogDirsRequest(replicas=replicas, validate_only=validate_only)
        answer = await self._ask(node_id, request, admin_pb2.AlterReplicaLogDirsResponse)
        return {TopicPartition(one.topic, one.partition): descriptions.error_in(one.failure) for one in answer.replicas}

    async def _ask(self, node_id: int, request: Message, response: type[Answer]) -> Answer:
        """Asks that very broker. Raises BrokerNotAvailable if it does not run."""
        await self._reachable(self._deadline())
        address = self._nodes.get(node_id)
        if address is None:
            known = ", ".join(str(node) for node in sorted(self._nodes))
            raise BrokerNotAvailable(f"node {node_id} is not among the running brokers ({known})")
        return await self._call(address, request, response, self._timeout_ms / 1000)

    async def close(self) -> None:
        """Ends. May be called more than once."""
        if not self._closed:
            self._closed = True
            await self._seams.close()

    async def _read(self, request: Message, response: type[Answer]) -> Answer:
        return await self._repeat(request, response, _READ_S, lambda failure: failure.retriable)

    async def _change(self, request: Message, response: type[Answer]) -> Answer:
        timeout_s = self._timeout_ms / 1000 + _GRACE_S
        return await self._repeat(request, response, timeout_s, lambda failure: failure.retriable and failure.definite)

    async def _ask_any(self, request: Message, response: type[Answer]) -> Answer:
        """Asks one node after the other, those too that start and know no topics yet; each once."""
        failure: DohleError = BrokerNotAvailable("there is nobody to ask")
        for address in list(self._line):
            try:
                return await self._call(address, request, response, _READ_S)
            except DohleError as error:
                failure = error
        raise failure

    async def _repeat(
        self, request: Any, response: type[Answer], timeout_s: float, may_repeat: Callable[[DohleError], bool]
    ) -> Answer:
        if "timeout_ms" in request.DESCRIPTOR.fields_by_name:
            request.timeout_ms = self._timeout_ms
        deadline = self._deadline()
        backoff = Backoff(self._seams.random)
        while True:
            address = await self._reachable(deadline)
            try:
                return await self._call(address, request, response, timeout_s)
            except DohleError as failure:
                if not may_repeat(failure) or self._seams.clock.now() >= deadline:
                    raise
            self._to_the_end(address)
            await self._seams.clock.sleep(backoff.next_s())

    async def _reachable(self, deadline: float) -> Address:
        """Returns the address of a node that answered just now, and learns the nodes from it."""
        backoff = Backoff(self._seams.random)
        while True:
            if self._closed:
                raise Closed("the client is closed")
            for address in list(self._line):
                try:
                    answer = await self._call(
                        address, broker_pb2.MetadataRequest(), broker_pb2.MetadataResponse, _PROBE_S
                    )
                except DohleError as error:
                    failure = error
                    self._to_the_end(address)
                else:
                    self._learn(answer)
                    return address
            if self._seams.clock.now() >= deadline:
                asked = ", ".join(str(address) for address in sorted(self._line))
                raise BrokerNotAvailable(f"no node serves at {asked}; is the cluster up? {failure.message}")
            await self._seams.clock.sleep(backoff.next_s())

    def _learn(self, answer: broker_pb2.MetadataResponse) -> None:
        self._nodes = {node.node_id: Address(node.host, node.port) for node in answer.nodes}
        current = dict.fromkeys([*self._nodes.values(), *self._bootstrap])
        self._line = list(dict.fromkeys([*(address for address in self._line if address in current), *current]))

    def _to_the_end(self, address: Address) -> None:
        if address in self._line:  # what another request has learned meanwhile may have dropped it
            self._line.remove(address)
            self._line.append(address)

    def _deadline(self) -> float:
        return self._seams.clock.now() + self._timeout_ms / 1000

    async def _call(self, address: Address, request: Message, response: type[Answer], timeout_s: float) -> Answer:
        method = _METHODS[type(request)]
        assert method.response is response, f"{method.path} is answered by {method.response.__name__}"
        return await self._seams.network.call(address, method, request, lane=Lane.CLIENT, timeout_s=timeout_s)
