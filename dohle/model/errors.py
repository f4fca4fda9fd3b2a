"""What can go wrong, by the codes that Kafka's protocol gives it; with groups: `group_errors`.

A `LocalError`, with a code below -1, never reaches Kafka's wire. docs/errors.md lists every one.
"""

from __future__ import annotations

from dohle.model import group_errors as group_errors  # known by their codes wherever any error is
from dohle.model.error_tree import DohleError as DohleError
from dohle.model.error_tree import LocalError as LocalError
from dohle.model.error_tree import RecordsRefused as RecordsRefused
from dohle.model.error_tree import Retriable as Retriable
from dohle.model.error_tree import UnknownServerError as UnknownServerError
from dohle.model.error_tree import error_for as error_for
from dohle.model.error_tree import error_types as error_types


class VoterNotFound(DohleError):
    """No controller of this node id has a vote, or may be given one."""

    code = 127


class CorruptMessage(Retriable):
    """A batch is damaged: its CRC-32C does not match its bytes."""

    code = 2


class UnknownTopicOrPartition(Retriable):
    """There is no such topic or partition."""

    code = 3


class LeaderNotAvailable(Retriable):
    """The partition has no leader at the moment."""

    code = 5


class NotLeaderOrFollower(Retriable):
    """This broker does not lead the partition, or lost its leadership while the request waited."""

    code = 6
    definite = False


class RequestTimedOut(Retriable):
    """No answer came in time; the request may have taken effect."""

    code = 7
    definite = False


class BrokerNotAvailable(Retriable):
    """The broker is not available."""

    code = 8


class ReplicaNotAvailable(Retriable):
    """The replica is not available on this broker."""

    code = 9


class NetworkException(Retriable):
    """The connection broke before the answer came; the request may have taken effect."""

    code = 13
    definite = False


class CoordinatorNotAvailable(Retriable):
    """Nobody coordinates the group, or too few replicas have what the coordinator wrote; it may last all the same."""

    code = 15
    definite = False


class FetchSessionIdNotFound(Retriable):
    """There is no such fetch session."""

    code = 70


class InvalidFetchSessionEpoch(Retriable):
    """The request names another epoch of its fetch session than comes next."""

    code = 71


class NotEnoughReplicas(Retriable):
    """Fewer replicas are in sync than min.insync.replicas asks for; nothing was written."""

    code = 19


class NotEnoughReplicasAfterAppend(Retriable):
    """The records were written, but to fewer in-sync replicas than required."""

    code = 20
    definite = False


class NotController(Retriable):
    """This node is not the active controller."""

    code = 41


class StorageFailure(Retriable):
    """A disk of the broker failed."""

    code = 56
    definite = False


class ListenerNotFound(Retriable):
    """The partition's leader has no listener of the name of that on which it was asked."""

    code = 72


class FencedLeaderEpoch(Retriable):
    """The request names a leader epoch that is over."""

    code = 74


class UnknownLeaderEpoch(Retriable):
    """The request names a leader epoch that this broker does not know yet."""

    code = 75


class OffsetNotAvailable(Retriable):
    """The new leader's high watermark has not reached its epoch's start yet."""

    code = 78


class ThrottlingQuotaExceeded(Retriable):
    """A bounded queue is full; ask again a little later."""

    code = 89


class UnknownTopicId(Retriable):
    """There is no topic with this id; it may have been deleted and made again."""

    code = 100


class InconsistentTopicId(Retriable):
    """The topic of this name has another id here."""

    code = 103


class FetchSessionTopicIdError(Retriable):
    """The fetch session was begun with names of topics and goes on with ids, or the other way."""

    code = 106


class OffsetOutOfRange(DohleError):
    """The offset lies outside the log."""

    code = 1


class MessageTooLarge(DohleError):
    """The batch is larger than max.message.bytes."""

    code = 10


class InvalidTopic(DohleError):
    """The topic's name is illegal."""

    code = 17


class RecordListTooLarge(DohleError):
    """The batch is larger than a segment."""

    code = 18


class InvalidRequiredAcks(DohleError):
    """acks is none of -1 (all), 0 and 1."""

    code = 21


class InvalidTimestamp(RecordsRefused):
    """A record's timestamp is out of the range that the topic accepts."""

    code = 32


class UnsupportedVersion(DohleError):
    """The far side does not know this version."""

    code = 35


class TopicAlreadyExists(DohleError):
    """A topic of this name exists."""

    code = 36


class InvalidPartitions(DohleError):
    """The number of partitions is not usable."""

    code = 37


class InvalidReplicationFactor(DohleError):
    """The replication factor is below 1 or larger than the number of available brokers."""

    code = 38


class InvalidReplicaAssignment(DohleError):
    """The replica assignment is not usable."""

    code = 39


class InvalidConfig(DohleError):
    """A configuration value is not usable."""

    code = 40


class InvalidRequest(DohleError):
    """The request contradicts itself or the protocol."""

    code = 42


class UnsupportedForMessageFormat(DohleError):
    """The batch's format does not allow this."""

    code = 43


class PolicyViolation(DohleError):
    """A policy forbids the request."""

    code = 44


class OutOfOrderSequenceNumber(DohleError):
    """An idempotent producer's sequence number leaves a gap."""

    code = 45


class DuplicateSequenceNumber(DohleError):
    """An idempotent producer's batch was written before, longer ago than is remembered."""

    code = 46


class InvalidProducerEpoch(DohleError):
    """A newer epoch of this producer id has been seen."""

    code = 47


class TransactionalIdAuthorizationFailed(DohleError):
    """The producer may not use this transactional id, or names none where one is needed."""

    code = 53


class SecurityDisabled(DohleError):
    """Nothing is configured here that would allow or forbid anything to anybody."""

    code = 54


class MismatchedEndpointType(DohleError):
    """This endpoint is of another kind than the one that is asked for."""

    code = 114


class DuplicateVoter(DohleError):
    """The controller has its vote already."""

    code = 126


class UnsupportedEndpointType(DohleError):
    """This kind of endpoint is not told of here."""

    code = 115


class OperationNotAttempted(DohleError):
    """The operation was not attempted."""

    code = 55


class LogDirNotFound(DohleError):
    """The broker has no log directory of this path."""

    code = 57


class UnknownProducerId(DohleError):
    """Nothing is known of this producer id."""

    code = 59


class ReassignmentInProgress(DohleError):
    """The partition is being moved to other brokers than these."""

    code = 60


class UnsupportedCompressionType(DohleError):
    """The compression codec is not supported."""

    code = 76


class StaleBrokerEpoch(DohleError):
    """The broker has registered again since it got this broker epoch."""

    code = 77


class PreferredLeaderNotAvailable(DohleError):
    """The first of the assigned replicas cannot lead now."""

    code = 80


class EligibleLeadersNotAvailable(DohleError):
    """No replica that may lead is available."""

    code = 83


class ElectionNotNeeded(DohleError):
    """The partition is led as it should be."""

    code = 84


class NoReassignmentInProgress(DohleError):
    """The partition is not being moved."""

    code = 85


class InvalidRecord(RecordsRefused):
    """A record or batch breaks the topic's or the format's rules."""

    code = 87


class InvalidUpdateVersion(DohleError):
    """The request names a partition epoch that is over."""

    code = 95


class FeatureUpdateFailed(DohleError):
    """The features cannot be finalised at this level."""

    code = 96


class DuplicateBrokerRegistration(DohleError):
    """Another live process is registered under this node id."""

    code = 101


class BrokerIdNotRegistered(DohleError):
    """No broker is registered under this node id."""

    code = 102


class InconsistentClusterId(DohleError):
    """The node belongs to another cluster."""

    code = 104


class IneligibleReplica(DohleError):
    """A replica may not join the in-sync set: its broker is fenced, shutting down, or of another epoch."""

    code = 107


class InvalidRegistration(DohleError):
    """The broker's registration is not acceptable."""

    code = 119


class CorruptLog(LocalError):
    """A file is damaged in a place that no crash explains."""

    code = -100


class DataFolderError(LocalError):
    """The data folder cannot be used by this node."""

    code = -101


class ConfigurationError(LocalError):
    """The configuration is not usable."""

    code = -102


class DeliveryTimedOut(LocalError):
    """No acknowledgement came within the delivery time-out; the record may have been written."""

    code = -103
    definite = False


class Closed(LocalError):
    """The client is closed."""

    code = -104


class BufferFull(LocalError):
    """The producer's buffer stayed full; nothing was sent."""

    code = -105


class DamagedReplica(LocalError):
    """This replica is damaged and neither served nor led from."""

    code = -106


class MalformedMessage(LocalError):
    """Bytes are not the message of Kafka's protocol that they should be."""

    code = -107

    def __init__(self, message: str = "", *, api: str = "", version: int = -1, position: int = -1) -> None:
        """`api` and `version` tell the message, `position` the byte of the frame; "" and -1 where that is not known."""
        super().__init__(message)
        self.api = api
        self.version = version
        self.position = position
