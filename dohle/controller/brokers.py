"""Brokers that come alive, fall silent and go: heartbeats, fencing, controlled shutdown (amended rules 12 and 18).

Fencing and shutting down move leadership away, in steps where it is much. They take a broker out of an ISR only while
enough active members remain for the topic's effective min.insync.replicas; below that it stays, for it has all that was
acknowledged. Who is silent for too long, or proven gone, is for the caller to know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

from dohle.controller.decision import Decision, need_version, registered
from dohle.controller.elections import Revisions, enough_remain
from dohle.model.errors import BrokerIdNotRegistered, InvalidRequest
from dohle.model.ids import NO_NODE, NodeId, PartitionKey
from dohle.model.image import BrokerImage, ClusterImage, PartitionImage
from dohle.model.image_apply import apply_batch
from dohle.model.metadata import BrokerChange, ProducerIds, UnregisterBroker
from dohle.rpc.v1.admin_pb2 import UnregisterBrokerRequest, UnregisterBrokerResponse
from dohle.rpc.v1.controller_pb2 import (
    AllocateProducerIdsRequest,
    AllocateProducerIdsResponse,
    HeartbeatRequest,
    HeartbeatResponse,
)

PRODUCER_ID_BLOCK = 1000


def heartbeat(
    image: ClusterImage,
    node_id: NodeId,
    request: HeartbeatRequest,
    *,
    may_unfence: bool = True,
) -> Decision[HeartbeatResponse]:
    """Decides what a broker's heartbeat changes: mostly nothing.

    A fenced broker is unfenced once it is ready and has applied metadata past its own registration, unless the caller
    still holds it back. What follows from its wish to shut down takes `ShutdownSteps`. Raises as `registered` does.
    """
    broker = registered(image, node_id, request.broker_epoch)
    shutting_down = broker.shutting_down or request.wants_shutdown
    caught_up = request.metadata_offset > broker.broker_epoch
    may_serve = caught_up and may_unfence and not shutting_down
    fenced = request.wants_fence or (broker.fenced and not may_serve)
    decided = _change_brokers(image, [_change(broker, fenced=fenced, shutting_down=broker.shutting_down)])
    return Decision(decided.records, HeartbeatResponse(fenced=fenced), decided.alarms)


def fence_brokers(image: ClusterImage, node_ids: Collection[NodeId]) -> Decision[None]:
    """Fences brokers that are gone, together: those that went together do not leave the ISR for one another."""
    return _change_brokers(image, _fenced(image, node_ids))


class FencingSteps:
    """Fences brokers that are gone, as `fence_brokers` does, in steps that look at `most` partitions each.

    Those that the brokers lead when it begins come first. The brokers themselves are fenced by the last step, which
    takes all that is left: what they have joined again meanwhile. Whoever takes office in between finds them gone and
    not fenced, and begins anew.
    """

    def __init__(self, image: ClusterImage, brokers: Sequence[BrokerImage], most: int) -> None:
        self._brokers = brokers
        self._most = most
        keys = _led_first(image, [broker.node_id for broker in brokers])
        self._left = deque(keys if len(keys) > most else [])

    def next(self, image: ClusterImage) -> Decision[None]:
        """Decides on the next step."""
        node_ids = self.current(image)
        if not self._left:
            return fence_brokers(image, node_ids)
        changes = _fenced(image, node_ids)
        after = apply_batch(image, changes, image.next_offset)
        revisions = _revisions(after, changes, _next_of(self._left, self._most, image))
        return Decision(tuple(revisions.changes), None, tuple(revisions.alarms), more=True)

    def current(self, image: ClusterImage) -> list[NodeId]:
        """Returns those that have not registered again since."""
        return [broker.node_id for broker in self._brokers if _is_current(image, broker)]


class ShutdownSteps:
    """Has others lead what a broker leads that shuts down, in steps that look at `most` partitions each.

    The first one says that it shuts down: from then on nobody elects it, and it joins no in-sync set, so that there
    never is more to do than what is listed when it begins. It leaves the in-sync sets that can spare it; what nobody
    else can lead it goes on leading. Whoever takes office in between begins anew with what is left.
    """

    def __init__(self, image: ClusterImage, broker: BrokerImage, most: int) -> None:
        self._broker = broker
        self._most = most
        self._left = deque(_led_first(image, [broker.node_id]))

    def next(self, image: ClusterImage) -> Decision[None]:
        """Decides on the next step."""
        if not _is_current(image, self._broker):
            return Decision((), None)
        broker = image.brokers[self._broker.node_id]
        change = _change(broker, fenced=broker.fenced, shutting_down=True)
        news = [change] if _differs(broker, change) else []
        after = apply_batch(image, news, image.next_offset)
        revisions = _revisions(after, [change], _next_of(self._left, self._most, after))
        return Decision((*news, *revisions.changes), None, tuple(revisions.alarms), more=bool(self._left))


def unregister_broker(image: ClusterImage, request: UnregisterBrokerRequest) -> Decision[UnregisterBrokerResponse]:
    """Forgets a broker that is gone for good. Raises BrokerIdNotRegistered, InvalidRequest while it is needed."""
    need_version(image, 2, "unregistering a broker")
    node_id = NodeId(request.node_id)
    broker = image.brokers.get(node_id)
    if broker is None:
        known = ", ".join(str(broker.node_id) for broker in image.brokers_in_order())
        raise BrokerIdNotRegistered(f"there is no broker {node_id}: there are {known}")
    replicas = image.replica_count(node_id)
    if replicas:
        raise InvalidRequest(
            f"broker {node_id} holds {replicas} replica(s): move them away first, with `dohle cluster drain {node_id}`"
        )
    if any(voter.node_id == node_id for voter in image.voters):
        raise InvalidRequest(
            f"node {node_id} votes among the controllers: take its vote away first, with"
            f" `dohle cluster voters remove {node_id}`"
        )
    if not broker.fenced:
        raise InvalidRequest(f"broker {node_id} is up, and would be forgotten while it runs: stop it first")
    return Decision((UnregisterBroker(node_id, broker.broker_epoch),), UnregisterBrokerResponse())


def allocate_producer_ids(
    image: ClusterImage, request: AllocateProducerIdsRequest
) -> Decision[AllocateProducerIdsResponse]:
    """Gives a broker a block of producer ids, which nobody gets again."""
    broker = registered(image, NodeId(request.broker_id), request.broker_epoch)
    first = image.next_producer_id
    record = ProducerIds(broker.node_id, broker.broker_epoch, first + PRODUCER_ID_BLOCK)
    return Decision((record,), AllocateProducerIdsResponse(first_producer_id=first, count=PRODUCER_ID_BLOCK))


def _change(broker: BrokerImage, *, fenced: bool, shutting_down: bool) -> BrokerChange:
    return BrokerChange(broker.node_id, broker.broker_epoch, fenced, shutting_down)


def _fenced(image: ClusterImage, node_ids: Collection[NodeId]) -> list[BrokerChange]:
    brokers = [image.brokers[node_id] for node_id in sorted(set(node_ids)) if node_id in image.brokers]
    return [_change(broker, fenced=True, shutting_down=broker.shutting_down) for broker in brokers if not broker.fenced]


def _change_brokers(image: ClusterImage, wanted: Sequence[BrokerChange]) -> Decision[None]:
    """Decides on brokers' new states, together with what follows for their partitions."""
    changes = [change for change in wanted if _differs(image.brokers[change.node_id], change)]
    after = apply_batch(image, changes, image.next_offset)
    partitions = chain.from_iterable(after.replicas_of(change.node_id) for change in changes)
    revisions = _revisions(after, changes, partitions)
    return Decision((*changes, *revisions.changes), None, tuple(revisions.alarms))


def _revisions(
    after: ClusterImage, changes: Sequence[BrokerChange], partitions: Iterable[tuple[PartitionKey, PartitionImage]]
) -> Revisions:
    """Returns what follows for these partitions from changes that `after` has already."""
    revisions = Revisions(after)
    concerned: dict[PartitionKey, PartitionImage] = {}
    changed = [change.node_id for change in changes]
    for key, partition in partitions:
        if partition.leader == NO_NODE or any(node_id in partition.in_sync_replicas for node_id in changed):
            concerned.setdefault(key, partition)
    for key, partition in concerned.items():
        revisions.revise(key, partition, isr=_remaining(after, key, partition, changes))
    return revisions


def _led_first(image: ClusterImage, node_ids: Collection[NodeId]) -> list[PartitionKey]:
    """Returns the partitions in whose in-sync sets these brokers are: first those that one of them leads."""
    found: dict[PartitionKey, bool] = {}
    for node_id in node_ids:
        for key, partition in image.replicas_of(node_id):
            if node_id in partition.in_sync_replicas:
                found[key] = partition.leader in node_ids
    return [key for key, is_led in found.items() if is_led] + [key for key, is_led in found.items() if not is_led]


def _next_of(
    left: deque[PartitionKey], most: int, image: ClusterImage
) -> Iterator[tuple[PartitionKey, PartitionImage]]:
    """Takes the next ones from the list; those that are deleted since are passed over."""
    for _ in range(min(most, len(left))):
        key = left.popleft()
        partition = image.partition(key)
        if partition is not None:
            yield key, partition


def _is_current(image: ClusterImage, broker: BrokerImage) -> bool:
    """Whether the broker has neither registered again since nor been forgotten."""
    now = image.brokers.get(broker.node_id)
    return now is not None and now.broker_epoch == broker.broker_epoch


def _differs(broker: BrokerImage, change: BrokerChange) -> bool:
    return (broker.fenced, broker.shutting_down) != (change.fenced, change.shutting_down)


def _remaining(
    image: ClusterImage, key: PartitionKey, partition: PartitionImage, changes: Sequence[BrokerChange]
) -> tuple[NodeId, ...]:
    """Returns the ISR without the changed brokers that are active no longer, if enough others are."""
    leaving = [change.node_id for change in changes if change.fenced or change.shutting_down]
    staying = tuple([node for node in partition.in_sync_replicas if node not in leaving])
    return staying if enough_remain(image, key, staying) else partition.in_sync_replicas
