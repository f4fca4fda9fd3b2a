"""How metadata records are written: one table of forms, and what is written and read by it.

A record's value is a msgpack array: type, version, then the record's fields in their order. `version` is the
metadata.version with which this form came in, so that a node that does not know it can name what it lacks; such a
record is fatal to it.

A form is never changed, and stays for as long as a log may hold it. A form of a later version adds fields at the end:
what was written without them is read with their defaults. Records are written in the newest form at or below the
cluster's finalised metadata.version, which every node of it reads. A field beyond that version must have its default,
and a kind of record beyond it must not be written at all: that is an error of whoever decided on it, and an assertion.

The named tuples inside a record are part of its form: they never change, a later one is a kind of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

import msgpack

from dohle.model.errors import CorruptLog, UnsupportedVersion
from dohle.model.ids import PartitionKey
from dohle.model.metadata import (
    NEWEST_METADATA_VERSION,
    BrokerChange,
    BrokerDraining,
    BrokerState,
    Doubt,
    EndFork,
    Endpoint,
    FeatureLevel,
    FeatureRange,
    ForkedPartition,
    ForkedReplica,
    ForkState,
    ForkTopic,
    GroupOverride,
    LogDirectories,
    MetadataRecord,
    NoOp,
    Partition,
    PartitionChange,
    PartitionState,
    ProducerIds,
    ReassignmentThrottle,
    RegisterBroker,
    RemoveTopic,
    ReplicasChange,
    SnapshotFooter,
    SnapshotHeader,
    Topic,
    TopicOverride,
    TopicState,
    UnregisterBroker,
    Voter,
    Voters,
)


def encode_record(record: MetadataRecord, metadata_version: int) -> bytes:
    """Returns the value of the log record that says `record`, in a cluster with this finalised version."""
    form = _newest_form(type(record), metadata_version)
    for name, default in form.beyond:
        assert getattr(record, name) == default, f"{record} needs a metadata.version above {metadata_version}"
    packed: bytes = msgpack.packb([form.record_type, form.version, *[getattr(record, name) for name in form.fields]])
    return packed


def decode_record(value: bytes) -> MetadataRecord:
    """Returns the metadata record in a log record's value.

    Raises UnsupportedVersion if a newer node wrote it, CorruptLog if it is no metadata record at all.
    """
    try:
        record_type, version, *values = msgpack.unpackb(value, use_list=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise CorruptLog(f"not a metadata record: {bytes(value[:64])!r}") from error
    form = _FORM_AT.get((record_type, version))
    if form is None:
        raise UnsupportedVersion(
            f"metadata record type {record_type} needs metadata.version {version}; this node reads up to "
            f"{NEWEST_METADATA_VERSION}: upgrade it before it joins this cluster"
        )
    if len(values) != len(form.fields):
        raise CorruptLog(f"metadata record {form.kind.__name__} has {len(values)} fields, not {len(form.fields)}")
    for index, rebuild in form.parts:
        values[index] = tuple([rebuild(*part) for part in values[index]])
    record: MetadataRecord = form.kind(*values)
    return record


class _Form(NamedTuple):
    """How one kind of record is written from a version on."""

    record_type: int
    version: int
    kind: type[Any]
    fields: tuple[str, ...]
    parts: tuple[tuple[int, Callable[..., Any]], ...]  # fields that hold tuples of named tuples, by index
    beyond: tuple[tuple[str, Any], ...]  # fields that later versions added, with their defaults


def _form(
    record_type: int, version: int, kind: type[Any], last: str | None = None, /, **parts: Callable[..., Any]
) -> _Form:
    """Returns the form that ends with the field `last`: in all but a kind's newest form, where later ones go on."""
    names = tuple(field.name for field in fields(kind))
    count = len(names) if last is None else names.index(last) + 1
    beyond = tuple((field.name, field.default) for field in fields(kind)[count:])
    assert all(default is not MISSING for _, default in beyond), f"{kind.__name__}: later fields have no defaults"
    indexed = tuple((names.index(name), part) for name, part in parts.items())
    return _Form(record_type, version, kind, names[:count], indexed, beyond)


_FORMS = (
    _form(1, 1, FeatureLevel),
    _form(2, 1, Voters, voters=Voter),
    _form(3, 1, RegisterBroker, endpoints=Endpoint, features=FeatureRange),
    _form(4, 1, BrokerChange),
    _form(5, 1, Topic),
    _form(6, 1, Partition),
    _form(7, 1, PartitionChange, "doubts", doubts=Doubt),
    _form(7, 2, PartitionChange, doubts=Doubt),
    _form(8, 1, RemoveTopic),
    _form(9, 1, TopicOverride),
    _form(10, 1, ProducerIds),
    _form(11, 1, NoOp),
    _form(14, 1, ReplicasChange, "doubts", doubts=Doubt),
    _form(14, 2, ReplicasChange, doubts=Doubt),
    _form(15, 1, ReassignmentThrottle),
    _form(16, 2, UnregisterBroker),
    _form(17, 3, LogDirectories, offline_replicas=PartitionKey),
    _form(18, 4, BrokerDraining),
    _form(19, 5, ForkTopic, partitions=ForkedPartition),
    _form(20, 5, ForkedReplica),
    _form(21, 5, EndFork),
    _form(22, 6, GroupOverride),
    _form(101, 1, SnapshotHeader, "reassignment_bytes_per_s", voters=Voter),
    _form(101, 2, SnapshotHeader, voters=Voter),
    _form(102, 1, BrokerState, "has_served", endpoints=Endpoint, features=FeatureRange),
    _form(102, 4, BrokerState, endpoints=Endpoint, features=FeatureRange),
    _form(103, 1, TopicState),
    _form(104, 1, PartitionState, "removing_replicas", doubts=Doubt),
    _form(104, 2, PartitionState, doubts=Doubt),
    _form(105, 1, SnapshotFooter),
    _form(106, 5, ForkState, partitions=ForkedPartition),
)
"""By type and version. To add fields in version 9: end the form before with their predecessor, and add one below it,

    _form(8, 1, RemoveTopic, "topic_id"),
    _form(8, 9, RemoveTopic),
"""

_FORM_AT = {(form.record_type, form.version): form for form in _FORMS}
_FORMS_OF: dict[type[Any], tuple[_Form, ...]] = {
    form.kind: tuple([one for one in reversed(_FORMS) if one.kind is form.kind]) for form in _FORMS
}
"""Each kind's, the newest first."""


def _newest_form(kind: type[Any], metadata_version: int) -> _Form:
    for form in _FORMS_OF[kind]:
        if form.version <= metadata_version:
            return form
    raise AssertionError(f"{kind.__name__} needs a metadata.version above {metadata_version}")
