"""Dohle: a replicated, distributed commit log.

The clients are imported when they are first asked for, so that a broker does not load them.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.consumer import Consumer, FetchedBatch
    from dohle.client.partition_changes import Reassignment
    from dohle.client.producer import Producer
    from dohle.client.values import CommittedOffset, ConsumerRecord, Delivery, NewTopic, OffsetAndTimestamp, OffsetSpec
    from dohle.model.errors import DohleError
    from dohle.model.ids import TopicPartition

__all__ = [
    "Admin",
    "CommittedOffset",
    "Consumer",
    "ConsumerRecord",
    "Delivery",
    "DohleError",
    "FetchedBatch",
    "NewTopic",
    "OffsetAndTimestamp",
    "OffsetSpec",
    "Producer",
    "Reassignment",
    "TopicPartition",
    "__version__",
]

_HOMES = MappingProxyType(
    {
        "Admin": "dohle.client.admin",
        "CommittedOffset": "dohle.client.values",
        "Consumer": "dohle.client.consumer",
        "ConsumerRecord": "dohle.client.values",
        "Delivery": "dohle.client.values",
        "DohleError": "dohle.model.errors",
        "FetchedBatch": "dohle.client.consumer",
        "NewTopic": "dohle.client.values",
        "OffsetAndTimestamp": "dohle.client.values",
        "OffsetSpec": "dohle.client.values",
        "Producer": "dohle.client.producer",
        "Reassignment": "dohle.client.partition_changes",
        "TopicPartition": "dohle.model.ids",
    }
)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
