"""The Controller service: what brokers ask of the active controller.

Nothing is decided here. Requests become decisions on the pending image; what a broker lacks the right to ask, and what
changes nothing, is for the decisions to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from google.protobuf.message import Message

from dohle.controller.brokers import allocate_producer_ids, heartbeat, unregister_broker
from dohle.controller.controller import Controller
from dohle.controller.decision import Decision, failure_of
from dohle.controller.draining import drain_broker
from dohle.controller.failed_dirs import fail_log_dirs
from dohle.controller.failure_detector import FailureDetector
from dohle.controller.features import describe_features, newest_version, update_features, voters_called
from dohle.controller.fork_watch import ForkWatch
from dohle.controller.isr import IsrProposals
from dohle.controller.leader_elections import wanted_elections
from dohle.controller.metadata_stream import Following, push_metadata
from dohle.controller.partition_history import describe_partition_history
from dohle.controller.placement import Random
from dohle.controller.reassignment import alter_partition_reassignments, list_partition_reassignments
from dohle.controller.registration import register_broker
from dohle.controller.shutdowns import Shutdowns
from dohle.controller.snapshot_stream import Serving, send_snapshot
from dohle.controller.snapshot_taker import SnapshotTaker
from dohle.controller.topics import TopicDefaults, alter_configs, create_partitions, create_topics, delete_topics
from dohle.controller.voter_changes import VoterChanges
from dohle.model.errors import DohleError, NotController, RequestTimedOut
from dohle.model.ids import IncarnationId, NodeId
from dohle.model.image import ClusterImage
from dohle.rpc.identity import NodeIdentity
from dohle.rpc.methods import service
from dohle.rpc.v1 import admin_pb2, controller_pb2
from dohle.runtime.clock import Clock
from dohle.runtime.network import RequestContext, Service, Stream
from dohle.runtime.tasks import OnFailure, Tasks

CONTROLLER = controller_pb2.DESCRIPTOR.services_by_name["Controller"]
_BEAT_WAIT_S = 0.15  # a heartbeat's answer waits no longer for a commit, so that a slow disk fences nobody
_SAY_AGAIN_S = 0.9  # a broker waits 2 s for an answer; each costs an idle cluster as much as a beat does
_DEFAULT_TIMEOUT_S = 30.0

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

Beats = Stream[controller_pb2.HeartbeatResponse, controller_pb2.HeartbeatRequest]


def _decided(
    decide: Callable[[ClusterImage, Request], Decision[Response]],
) -> Callable[[ControllerService, Request, RequestContext], Coroutine[Any, Any, Response]]:
    """Returns a broker's rpc that is decided on the pending image, in as much time as the broker has."""

    async def rpc(service: ControllerService, request: Request, _context: RequestContext) -> Response:
        await service._controller.leader_found()
        return await service._controller.change(lambda image: decide(image, request))

    return rpc


def _decided_within(
    decide: Callable[[ClusterImage, Request], Decision[Response]],
) -> Callable[[ControllerService, Request, RequestContext], Coroutine[Any, Any, Response]]:
    """Returns an operator's rpc that is decided on the pending image, within the time that the request names."""

    async def rpc(service: ControllerService, request: Any, _context: RequestContext) -> Response:
        return await service._decide_within(request.timeout_ms, lambda image: decide(image, request))

    return rpc


class ControllerService:
    """One voter's; all but the active one answer NOT_CONTROLLER and name the one they know."""

    def __init__(
        self,
        controller: Controller,
        detector: FailureDetector,
        taker: SnapshotTaker,
        voter_changes: VoterChanges,
        forks: ForkWatch,
        identity: NodeIdentity,
        *,
        clock: Clock,
        random: Random,
        defaults: TopicDefaults,
        on_failure: OnFailure,
    ) -> None:
        self._controller = controller
        self._detector = detector
        self._taker = taker
        self._identity = identity
        self._clock = clock
        self._random = random
        self._defaults = defaults
        self._voter_changes = voter_changes
        self._forks = forks
        self._tasks = Tasks("controller service", on_failure)
        self._shutdowns = Shutdowns(controller, self._tasks)

    fail_log_dirs = _decided(fail_log_dirs)
    allocate_producer_ids = _decided(allocate_producer_ids)
    delete_topics = _decided_within(delete_topics)
    alter_configs = _decided_within(alter_configs)
    alter_partition_reassignments = _decided_within(alter_partition_reassignments)
    list_partition_reassignments = _decided_within(list_partition_reassignments)
    drain_broker = _decided_within(drain_broker)
    unregister_broker = _decided_within(unregister_broker)

    def as_service(self) -> Service:
        return service(CONTROLLER, self)

    async def close(self) -> None:
        """Ends what its streams have running; the server is stopped before."""
        await self._tasks.close()

    async def follow_metadata(self, stream: Following, _context: RequestContext) -> None:
        await push_metadata(stream, self._controller, self._identity, self._tasks)

    async def fetch_snapshot(self, stream: Serving, _context: RequestContext) -> None:
        await send_snapshot(stream, self._controller.quorum.snapshots.files, self._taker, self._identity)

    async def register_broker(
        self, request: controller_pb2.RegisterBrokerRequest, _context: RequestContext
    ) -> controller_pb2.RegisterBrokerResponse:
        """Registers an incarnation; another one under its node id is probed first."""
        self._identity.check(request.hello)
        node_id = NodeId(request.hello.node_id)
        await self._controller.leader_found()
        replaced = await self._detector.may_replace(node_id, IncarnationId(request.hello.incarnation_id))

        def decide(image: ClusterImage) -> Decision[controller_pb2.RegisterBrokerResponse]:
            before = image.brokers.get(node_id)
            decision = register_broker(
                image, request, previous_gone=before is not None and before.incarnation_id == replaced
            )
            if decision.records:
                self._detector.sessions.end(node_id)
            return decision

        return await self._controller.change(decide)

    async def heartbeat(self, stream: Beats, _context: RequestContext) -> None:
        """Answers a beat where that says something new, and now and then; the stream's end starts a probe."""
        request = await stream.receive()
        if request is None:
            return
        hello = request.hello
        self._identity.check(hello)
        await self._controller.leader_found()
        said: controller_pb2.HeartbeatResponse | None = None
        say_again_at = 0.0
        try:
            while request is not None:
                answer = await self._beat(NodeId(hello.node_id), request)
                if answer != said or self._clock.now() >= say_again_at or request.wants_shutdown:
                    await stream.send(answer)
                    said, say_again_at = answer, self._clock.now() + _SAY_AGAIN_S
                if answer.failure.code == NotController.code:
                    return
                request = await stream.receive()
        finally:
            self._detector.stream_broke(NodeId(hello.node_id), IncarnationId(hello.incarnation_id))

    async def _beat(
        self, node_id: NodeId, request: controller_pb2.HeartbeatRequest
    ) -> controller_pb2.HeartbeatResponse:
        sessions, now = self._detector.sessions, self._clock.now()

        def decide(image: ClusterImage) -> Decision[controller_pb2.HeartbeatResponse]:
            may_unfence = sessions.may_unfence(node_id, request.broker_epoch, now)
            decision = heartbeat(image, node_id, request, may_unfence=may_unfence)
            sessions.beat(node_id, now, fenced=decision.answer.fenced)
            return decision

        try:
            async with asyncio.timeout(_BEAT_WAIT_S):
                await self._controller.leader_found()  # nobody decides while the office is being handed over
                answer = await self._controller.change(decide, linearizable=False)
                if request.wants_shutdown:
                    answer.may_shut_down = await self._shutdowns.emptied(node_id, request.broker_epoch)
                return answer
        except TimeoutError:
            # nobody decides: the broker has no controller, and is to know it
            if not self._controller.quorum.is_leader:
                unknown = NotController("no active controller is known here")
                return controller_pb2.HeartbeatResponse(failure=failure_of(unknown), leader_id=-1)
            broker = self._controller.committed.brokers.get(node_id)
            is_current = broker is not None and broker.broker_epoch == request.broker_epoch
            return controller_pb2.HeartbeatResponse(fenced=broker is None or broker.fenced or not is_current)
        except NotController as error:
            return controller_pb2.HeartbeatResponse(
                failure=failure_of(error), leader_id=self._controller.quorum.leader_id
            )
        except DohleError as error:
            return controller_pb2.HeartbeatResponse(failure=failure_of(error))

    async def alter_partitions(
        self, request: controller_pb2.AlterPartitionsRequest, _context: RequestContext
    ) -> controller_pb2.AlterPartitionsResponse:
        await self._controller.leader_found()
        return await self._controller.change(IsrProposals(request).next)

    async def elect_leaders(
        self, request: admin_pb2.ElectLeadersRequest, _context: RequestContext
    ) -> admin_pb2.ElectLeadersResponse:
        return await self._decide_within(request.timeout_ms, wanted_elections(request).next)

    async def create_topics(
        self, request: admin_pb2.CreateTopicsRequest, _context: RequestContext
    ) -> admin_pb2.CreateTopicsResponse:
        return await self._decide_within(
            request.timeout_ms,
            lambda image: create_topics(image, request, defaults=self._defaults, random=self._random),
        )

    async def fork_topic(
        self, request: admin_pb2.ForkTopicRequest, _context: RequestContext
    ) -> admin_pb2.ForkTopicResponse:
        await self._controller.leader_found()
        return await self._forks.fork(request)

    async def confirm_forks(
        self, request: controller_pb2.ConfirmForksRequest, _context: RequestContext
    ) -> controller_pb2.ConfirmForksResponse:
        await self._controller.leader_found()
        return await self._forks.confirm(request)

    async def create_partitions(
        self, request: admin_pb2.CreatePartitionsRequest, _context: RequestContext
    ) -> admin_pb2.CreatePartitionsResponse:
        return await self._decide_within(
            request.timeout_ms, lambda image: create_partitions(image, request, random=self._random)
        )

    async def describe_partition_history(
        self, request: admin_pb2.DescribePartitionHistoryRequest, _context: RequestContext
    ) -> admin_pb2.DescribePartitionHistoryResponse:
        return await describe_partition_history(self._controller, request, self._clock)

    async def describe_quorum(
        self, request: admin_pb2.DescribeQuorumRequest, _context: RequestContext
    ) -> admin_pb2.DescribeQuorumResponse:
        if request.as_known:
            return self._voter_changes.as_known()
        await self._controller.leader_found()
        return await self._voter_changes.describe()

    async def add_voter(
        self, request: admin_pb2.AddVoterRequest, _context: RequestContext
    ) -> admin_pb2.AddVoterResponse:
        await self._controller.leader_found()
        changed = await self._voter_changes.add(NodeId(request.node_id), request.directory_id)
        return admin_pb2.AddVoterResponse(changed=changed, metadata_offset=self._controller.committed.next_offset)

    async def remove_voter(
        self, request: admin_pb2.RemoveVoterRequest, _context: RequestContext
    ) -> admin_pb2.RemoveVoterResponse:
        await self._controller.leader_found()
        changed = await self._voter_changes.remove(NodeId(request.node_id), request.directory_id)
        return admin_pb2.RemoveVoterResponse(changed=changed, metadata_offset=self._controller.committed.next_offset)

    async def transfer_controller(
        self, request: admin_pb2.TransferControllerRequest, _context: RequestContext
    ) -> admin_pb2.TransferControllerResponse:
        await self._controller.leader_found()
        successor = NodeId(request.node_id) if request.node_id >= 0 else None
        return admin_pb2.TransferControllerResponse(leader_id=await self._voter_changes.transfer(successor))

    async def describe_features(
        self, request: admin_pb2.DescribeFeaturesRequest, _context: RequestContext
    ) -> admin_pb2.DescribeFeaturesResponse:
        quorum, newest = self._controller.quorum, newest_version(self._identity.features)
        await voters_called(self._controller, self._clock)
        return await self._decide_within(
            request.timeout_ms, lambda image: describe_features(image, quorum.supported_features(), newest)
        )

    async def update_features(
        self, request: admin_pb2.UpdateFeaturesRequest, _context: RequestContext
    ) -> admin_pb2.UpdateFeaturesResponse:
        quorum, newest = self._controller.quorum, newest_version(self._identity.features)
        await voters_called(self._controller, self._clock)
        return await self._decide_within(
            request.timeout_ms, lambda image: update_features(image, request, quorum.supported_features(), newest)
        )

    async def _decide_within(self, timeout_ms: int, decide: Callable[[ClusterImage], Decision[Response]]) -> Response:
        """As `Controller.change`; a time-out of 0 means the default. The answer to a change says where it is."""
        try:
            async with asyncio.timeout(timeout_ms / 1000 if timeout_ms > 0 else _DEFAULT_TIMEOUT_S):
                await self._controller.leader_found()
                answer = await self._controller.change(decide)
        except TimeoutError:
            raise RequestTimedOut(
                "no majority of the controllers has confirmed the change in time; it may yet take effect"
            ) from None
        if "metadata_offset" in answer.DESCRIPTOR.fields_by_name:
            answer.metadata_offset = self._controller.committed.next_offset  # type: ignore[attr-defined]  # just asked
        return answer
