"""Which topics a group subscribes to, and whether they are still what they were."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from dohle.groups.consumer.group import ConsumerGroup
from dohle.groups.records import MemberSubscription, ResolvedRegex
from dohle.model.ids import TopicId
from dohle.model.image import ClusterImage


def subscribed_topics(
    group: ConsumerGroup,
    left: Iterable[MemberSubscription],
    come: MemberSubscription | None,
    regexes: Mapping[str, ResolvedRegex],
) -> set[str]:
    """Returns the names to which the group subscribes with `come` in place of `left`; there may be no such topics."""
    counts, regex_counts = dict(group.topic_counts), dict(group.regex_counts)
    for subscription, by in [*((subscription, -1) for subscription in left), *([(come, 1)] if come else [])]:
        for topic in subscription.topics:
            counts[topic] = counts.get(topic, 0) + by
        if subscription.regex:
            regex_counts[subscription.regex] = regex_counts.get(subscription.regex, 0) + by
    names = {topic for topic, count in counts.items() if count}
    for regex, count in regex_counts.items():
        if count and (resolved := regexes.get(regex)) is not None:
            names.update(resolved.topics)
    return names


def topic_names(subscription: MemberSubscription, regexes: Mapping[str, ResolvedRegex]) -> set[str]:
    """Returns what one member subscribes to; a regular expression that was never resolved stands for nothing."""
    names = set(subscription.topics)
    if subscription.regex and (resolved := regexes.get(subscription.regex)) is not None:
        names.update(resolved.topics)
    return names


def topic_ids(
    subscription: MemberSubscription, regexes: Mapping[str, ResolvedRegex], image: ClusterImage
) -> frozenset[TopicId]:
    """Returns the topics of them that exist."""
    found = (image.topic_ids.get(name) for name in topic_names(subscription, regexes))
    return frozenset(topic_id for topic_id in found if topic_id is not None)


def metadata_hash(image: ClusterImage, names: Iterable[str]) -> int:
    """Returns a signed 64-bit number that differs where these topics or their partitions do; 0 if there are none.

    Racks of replicas do not count: no assignor looks at them.
    """
    digest = hashlib.blake2b(digest_size=8)
    exist = False
    for name in sorted(names):
        if (topic := image.topic_named(name)) is not None:
            exist = True
            digest.update(topic.topic_id + len(topic.partitions).to_bytes(4, "big"))
    return int.from_bytes(digest.digest(), "big", signed=True) if exist else 0
