"""What deciding on a command gives: pure functions from the pending image and a request to a `Decision`.

A decision changes nothing. The active controller appends its records as one batch at the image's next offset, and gives
the answer once that batch is committed (without records: once everything is that the image rests on). A command that is
refused as a whole raises its DohleError; one of several things in a command that fails carries it in its own answer.

What changes thousands of partitions is decided in steps, each of them a decision with a batch of its own: in one go the
loops of all nodes would stand still for it (docs/decisions/0026, 0029). What is to follow is kept by an object that has
the next step decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from dohle.model.errors import BrokerIdNotRegistered, DohleError, NotController, StaleBrokerEpoch, UnsupportedVersion
from dohle.model.ids import NodeId
from dohle.model.image import BrokerImage, ClusterImage
from dohle.model.metadata import MetadataRecord
from dohle.rpc.v1 import common_pb2

Answer = TypeVar("Answer")

MOST_CHANGES = 100
"""Partitions that one step of a long change looks at; each that it changes costs every node some 0.1 ms, in which
nothing else goes on there."""


@dataclass(frozen=True, slots=True)
class Decision(Generic[Answer]):
    """The records to commit, in one batch, and what to answer then."""

    records: tuple[MetadataRecord, ...]
    answer: Answer
    alarms: tuple[str, ...] = ()  # what a person should read in the log: data is gone, or may be
    more: bool = False  # a step of a long change, and not the last: that one's answer is the answer


def failure_of(error: DohleError) -> common_pb2.Failure:
    """Returns `error` as it travels inside an answer."""
    return common_pb2.Failure(code=error.code, message=error.message)


def need_version(image: ClusterImage, metadata_version: int, what: str) -> None:
    """Raises UnsupportedVersion where the cluster works at a metadata.version that does not know this yet."""
    if image.metadata_version < metadata_version:
        raise UnsupportedVersion(
            f"{what} needs metadata.version {metadata_version}, and this cluster works at {image.metadata_version}:"
            " finalise it first, with `dohle cluster features upgrade`"
        )


def registered(image: ClusterImage, node_id: NodeId, broker_epoch: int) -> BrokerImage:
    """Returns the broker whose request names this epoch.

    Raises BrokerIdNotRegistered, StaleBrokerEpoch, and NotController if the broker knows more than this image.
    """
    broker = image.brokers.get(node_id)
    if broker_epoch >= image.next_offset:
        raise NotController(
            f"broker {node_id} has epoch {broker_epoch}, but metadata ends at {image.next_offset} here: "
            "this controller is out of date"
        )
    if broker is None:
        raise BrokerIdNotRegistered(f"broker {node_id} is not registered: it has to register first")
    if broker_epoch != broker.broker_epoch:
        raise StaleBrokerEpoch(
            f"broker {node_id} has registered again: epoch {broker.broker_epoch} has replaced {broker_epoch}"
        )
    return broker
