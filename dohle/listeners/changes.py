"""Changes that the active controller may be asked for twice, since the answer to the first attempt was lost.

An attempt without an answer may have been taken, and by then another controller may be active, which knows of it by the
metadata alone. So what a request is about is settled before the first attempt, by what the broker that passes it on
knows, and what the last attempt answers is read beside that: a topic that was there, and that another attempt finds
gone, has been deleted.

- DeleteTopics and CreatePartitions name each topic by its id as well, so that no attempt touches a topic that has been
  made under the name since. The broker catches up with the controller first: what it does not know then is not there.
- CreateTopics is recognised by the ids of the topics, which `Broker.ask_controller` draws.
- Who asked at the same time for the same is told the same: two that delete one topic may both be told that it is done.
- All others may be repeated as they are: the second attempt finds nothing to do, and says so as the first one did.
"""

from __future__ import annotations

from typing import Any

from dohle.model.errors import (
    BrokerIdNotRegistered,
    DohleError,
    ElectionNotNeeded,
    InvalidPartitions,
    OperationNotAttempted,
    UnknownTopicOrPartition,
)
from dohle.model.ids import NO_NODE, NodeId, TopicId
from dohle.model.image import ClusterImage, PartitionImage
from dohle.rpc.v1 import admin_pb2

_NO_TOPIC = TopicId(bytes(16))
"""The id of no topic: what was not there when the request came is not there for any attempt."""


class Change:
    """A request that may be repeated as it is. `lost`: an attempt was made whose answer did not come."""

    catches_up = False
    """Whether the broker is to know all that is committed before the first attempt."""

    def __init__(self, request: Any, image: ClusterImage) -> None:
        self.request = request
        self.before = image
        self.lost = False

    def attempt_lost(self) -> None:
        self.lost = True

    def recognise(self, answer: Any, image: ClusterImage) -> None:
        """Corrects the last attempt's answer by what an earlier one has done; `image` is as of that answer."""

    def is_done(self, error: DohleError) -> Any:
        """Returns the answer that an earlier attempt would have had, where `error` tells of it; else None."""
        return None


class _Deletion(Change):
    catches_up = True

    def __init__(self, request: admin_pb2.DeleteTopicsRequest, image: ClusterImage) -> None:
        super().__init__(request, image)
        named = list(request.topic_ids) or [b""] * len(request.topics)
        found = [image.topic_ids.get(name, _NO_TOPIC) for name in request.topics]
        del request.topic_ids[:]
        request.topic_ids.extend(one or other for one, other in zip(named, found, strict=False))

    def recognise(self, answer: admin_pb2.DeleteTopicsResponse, _image: ClusterImage) -> None:
        there = {
            topic: topic_id
            for topic, topic_id in zip(self.request.topics, self.request.topic_ids, strict=False)
            if self.before.topic_ids.get(topic) == topic_id
        }
        for one in answer.topics:
            if one.failure.code == UnknownTopicOrPartition.code and one.name in there:
                one.ClearField("failure")
                one.topic_id = there[one.name]


class _Growth(Change):
    catches_up = True

    def __init__(self, request: admin_pb2.CreatePartitionsRequest, image: ClusterImage) -> None:
        super().__init__(request, image)
        for wanted in request.topics:
            wanted.topic_id = image.topic_ids.get(wanted.topic, _NO_TOPIC)

    def recognise(self, answer: admin_pb2.CreatePartitionsResponse, image: ClusterImage) -> None:
        wanted = {one.topic: one for one in self.request.topics}
        for one in answer.topics:
            if one.failure.code == InvalidPartitions.code and self._has_grown(wanted[one.topic], image):
                one.ClearField("failure")

    def _has_grown(self, wanted: admin_pb2.NewPartitions, image: ClusterImage) -> bool:
        before, now = self.before.topic_named(wanted.topic), image.topic_named(wanted.topic)
        if before is None or now is None or before.topic_id != now.topic_id:
            return False
        added = now.partitions[len(before.partitions) : wanted.total_count]
        if not added or len(now.partitions) < wanted.total_count:
            return False
        placed = [tuple(one.replicas) for one in wanted.assignments]
        return not placed or placed == [partition.target_replicas for partition in added]


class _Election(Change):
    def recognise(self, answer: admin_pb2.ElectLeadersResponse, image: ClusterImage) -> None:
        unclean = self.request.election_type == admin_pb2.ELECTION_TYPE_UNCLEAN
        for one in answer.partitions:
            before, now = (_partition(which, one.topic, one.partition) for which in (self.before, image))
            if one.failure.code != ElectionNotNeeded.code or before is None or now is None:
                continue
            if unclean and not _may_be_unclean(image, one.topic):
                continue  # who leads now came back by itself
            wanted = NO_NODE if unclean else self.before.preferred_leader(before)
            if (before.leader == wanted) is unclean and now.leader_epoch > before.leader_epoch:
                one.ClearField("failure")
                one.leader, one.leader_epoch = now.leader, now.leader_epoch


def _may_be_unclean(image: ClusterImage, topic: str) -> bool:
    known = image.topic_named(topic)
    return known is not None and known.config.unclean_leader_election_enable


class _Moves(Change):
    def recognise(self, answer: admin_pb2.AlterPartitionReassignmentsResponse, image: ClusterImage) -> None:
        refused = [
            (one, wanted)
            for one, wanted in zip(answer.partitions, self.request.partitions, strict=False)
            if one.failure.code
        ]
        done = [
            one
            for one, wanted in refused
            if _is_so(wanted, image)
            and (one.failure.code == OperationNotAttempted.code or not _is_so(wanted, self.before))
        ]
        if self.request.each_by_itself or len(done) == len(refused):
            for one in done:
                one.ClearField("failure")


def _is_so(wanted: admin_pb2.WantedReassignment, image: ClusterImage) -> bool:
    """Whether the partition has the replicas that it is to have, or will have them."""
    partition = _partition(image, wanted.topic, wanted.partition)
    if partition is None:
        return False
    return not partition.is_reassigning if wanted.cancel else partition.target_replicas == tuple(wanted.replicas)


class _Farewell(Change):
    def is_done(self, error: DohleError) -> Any:
        was_there = NodeId(self.request.node_id) in self.before.brokers
        if isinstance(error, BrokerIdNotRegistered) and was_there:
            return admin_pb2.UnregisterBrokerResponse()
        return None


def _partition(image: ClusterImage, topic: str, number: int) -> PartitionImage | None:
    found = image.topic_named(topic)
    return found.partitions[number] if found is not None and 0 <= number < len(found.partitions) else None


_KINDS: dict[str, type[Change]] = {
    "DeleteTopics": _Deletion,
    "CreatePartitions": _Growth,
    "AlterPartitionReassignments": _Moves,
    "ElectLeaders": _Election,
    "UnregisterBroker": _Farewell,
}


def kind_of_change(method: str) -> type[Change]:
    return _KINDS.get(method, Change)
