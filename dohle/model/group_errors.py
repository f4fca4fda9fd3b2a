"""What can go wrong with consumer groups, by the codes of Kafka's protocol."""

from __future__ import annotations

from dohle.model.error_tree import DohleError, Retriable


class OffsetMetadataTooLarge(DohleError):
    """The metadata that a commit brings is longer than offset.metadata.max.bytes."""

    code = 12


class CoordinatorLoadInProgress(Retriable):
    """The coordinator is reading what it has to know; it will answer soon."""

    code = 14


class NotCoordinator(Retriable):
    """This broker does not coordinate the group."""

    code = 16
    definite = False


class IllegalGeneration(DohleError):
    """The member speaks of a generation of the group that is not the one it is in."""

    code = 22


class InconsistentGroupProtocol(DohleError):
    """The member supports no assignment protocol that all others of the group do."""

    code = 23


class InvalidGroupId(DohleError):
    """The group's id is not a legal one."""

    code = 24


class UnknownMember(DohleError):
    """The group has no member of this id."""

    code = 25


class InvalidSessionTimeout(DohleError):
    """The session time-out lies outside what the coordinator allows."""

    code = 26


class RebalanceInProgress(DohleError):
    """The group is being rebalanced: the member has to join again."""

    code = 27


class InvalidCommitOffsetSize(DohleError):
    """A commit is larger than the coordinator's log takes."""

    code = 28


class NonEmptyGroup(DohleError):
    """The group has members."""

    code = 68


class GroupIdNotFound(DohleError):
    """There is no such group."""

    code = 69


class MemberIdRequired(DohleError):
    """The member has to join again with the id that it was given."""

    code = 79


class GroupMaxSizeReached(DohleError):
    """The group has as many members as it may."""

    code = 81


class FencedInstanceId(DohleError):
    """Another member has registered under this static member's instance id."""

    code = 82


class GroupSubscribedToTopic(DohleError):
    """Members of the group subscribe to the topic: its offsets cannot be deleted."""

    code = 86


class UnstableOffsetCommit(Retriable):
    """A transaction has offsets of the partition that are neither committed nor aborted."""

    code = 88


class FencedMemberEpoch(DohleError):
    """The coordinator has fenced the member: it has to give its partitions up, and join again."""

    code = 110


class UnreleasedInstanceId(Retriable):
    """The static member's instance id is still in use by another member."""

    code = 111


class UnsupportedAssignor(DohleError):
    """The coordinator has no such assignor."""

    code = 112


class StaleMemberEpoch(DohleError):
    """The member speaks of an epoch that it has left behind: it has to ask again with its own."""

    code = 113


class InvalidRegularExpression(DohleError):
    """The regular expression is not one of RE2."""

    code = 128
