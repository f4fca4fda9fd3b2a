"""A topic while a batch of metadata records changes it: every record sees what those before it did, and the topic's
image is built once.
"""

from __future__ import annotations

from collections.abc import Mapping

from dohle.model.ids import TopicId
from dohle.model.image import PartitionImage, TopicImage
from dohle.model.snapshot_names import config_of
from dohle.model.topic_config import TopicConfig


class Contradiction(Exception):
    """A record does not fit the image before it."""


def demand(condition: bool, complaint: str) -> None:
    if not condition:
        raise Contradiction(complaint)


class TopicDraft:
    """A topic while a batch changes it."""

    __slots__ = ("config", "created_at", "name", "overrides", "partitions", "topic_id")

    def __init__(self, topic_id: TopicId, name: str, created_at: int) -> None:
        self.topic_id = topic_id
        self.name = name
        self.created_at = created_at
        self.partitions: list[PartitionImage] = []
        self.overrides: Mapping[str, str] = {}
        self.config: TopicConfig | None = None  # None: to be built from the overrides

    @classmethod
    def of(cls, topic: TopicImage) -> TopicDraft:
        draft = cls(topic.topic_id, topic.name, topic.created_at)
        draft.partitions = list(topic.partitions)
        draft.overrides = topic.overrides
        draft.config = topic.config
        return draft

    def finish(self) -> TopicImage:
        config = self.config
        if config is None:
            config = config_of(self.name, self.overrides)
        partitions = tuple(self.partitions)
        return TopicImage(self.topic_id, self.name, self.created_at, partitions, self.overrides, config)
