"""Topics that the cluster keeps for itself: clients read them like any other, and do not write to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dohle.model.errors import InvalidConfig, InvalidPartitions, InvalidTopic, PolicyViolation
from dohle.model.topic_config import TopicConfig

OFFSETS_TOPIC: Final = "__consumer_offsets"
"""What group coordinators know: members, assignments, committed offsets."""

_INTERNAL: Final = frozenset({OFFSETS_TOPIC, "__transaction_state", "__share_group_state"})


def is_internal(topic: str) -> bool:
    """Whether Kafka's clients are told so: those that subscribe by a pattern leave such topics out."""
    return topic in _INTERNAL


def check_not_internal(topic: str) -> None:
    """Raises InvalidTopic for one that only the cluster writes to."""
    if is_internal(topic):
        raise InvalidTopic(f"{topic} is the cluster's own: only its coordinators write to it")


def check_may_have(topic: str, overrides: Mapping[str, str]) -> None:
    """Raises InvalidConfig for overrides, legal in themselves, by which the cluster would lose what it keeps there."""
    if topic == OFFSETS_TOPIC and TopicConfig.from_overrides(overrides).cleanup_policy != ("compact",):
        raise InvalidConfig(
            f"{topic} keeps the offsets of groups: its cleanup.policy is compact; nobody needs to make it, for it is"
            " made when a group is first asked for"
        )


def check_may_go(topic: str) -> None:
    """Raises PolicyViolation for one with which offsets would be lost."""
    if topic == OFFSETS_TOPIC:
        raise PolicyViolation(f"{topic} keeps the offsets of all groups, and is not deleted: delete groups")


def check_may_grow(topic: str) -> None:
    """Raises InvalidPartitions where what there is would be looked for in other partitions than it is in."""
    if topic == OFFSETS_TOPIC:
        raise InvalidPartitions(f"{topic} gets no more partitions: its groups would not be found any more")
