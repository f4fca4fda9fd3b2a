"""What came back as plain values that two brokers can be compared by: without what must differ between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dohle.kafka.declaration import NO_UUID, Struct
from dohle.kafka.framing import decode_response
from dohle.kafka.messages import api
from dohle.kafka.messages.consumer_groups import ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest
from dohle.kafka.messages.groups import JoinGroupRequest
from dohle.kafka.messages.quorum import DescribeQuorumRequest
from dohle.model.batch import HEADER, HEADER_BYTES, PartialBatch, split_batches
from dohle.model.errors import MalformedMessage
from tests.differential.sides import Heard, Side

BY_NAME: Final = ("name", "topic_name", "topic", "api_key", "feature", "resource_name", "group_id", "topic_id")
BY_NUMBER: Final = ("partition_index", "index", "partition", "partition_id", "node_id")
"""Lists of what has one of these have no order of their own."""
RECENTLY_MS: Final = 1_750_000_000_000
"""No record of a case has a time of its own after this one."""

_MADE_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|^[\w-]{22}$")

Normal = Callable[[Any, Side], Any]


def _is_there(value: Any, _side: Side) -> Any:
    return None if value is None else "some" if value else value


def _number(value: int, _side: Side) -> Any:
    return value if value < 0 else "some number"


def _time(value: int, _side: Side) -> Any:
    return "now" if value > RECENTLY_MS else value


def _port(value: int, side: Side) -> Any:
    return "its own" if value == side.port else value


def _nothing(_value: Any, _side: Side) -> Any:
    return None


def _member_id(value: str, _side: Side) -> Any:
    """Brokers make ids by chance; what stands around them is compared."""
    return _MADE_ID.sub("(made)", value)


NORMAL: Final[dict[str, Normal]] = {
    "throttle_time_ms": _nothing,
    "cluster_id": _is_there,
    "documentation": _is_there,
    "producer_id": _number,
    "finalized_features_epoch": _number,
    "session_id": lambda value, _side: "a session" if value > 0 else value,
    "port": _port,
    "log_append_time_ms": _time,
    "timestamp": _time,
    "last_timestamp": _time,
    "log_dir": _is_there,
    "member_id": _member_id,
    "leader": _member_id,
    "total_bytes": _number,
    "usable_bytes": _number,
}
"""By the name of the field: ids, times, places and prose, of which only that they are there can be the same."""


NORMAL_OF: Final[dict[int, dict[str, Normal]]] = {
    DescribeQuorumRequest.API.key: dict.fromkeys(
        ("leader_epoch", "high_watermark", "log_end_offset", "last_fetch_timestamp", "last_caught_up_timestamp"),
        _number,
    )
    | {"name": _is_there, "port": _number},
    JoinGroupRequest.API.key: {"generation_id": lambda value, _side: min(value, 2)},
    **dict.fromkeys(
        (ConsumerGroupHeartbeatRequest.API.key, ConsumerGroupDescribeRequest.API.key),
        dict.fromkeys(("member_epoch", "group_epoch", "assignment_epoch"), lambda value, _side: min(value, 1))
        | {"heartbeat_interval_ms": _number},
    ),
}
"""The same of one API alone. Groups of KIP-848 begin with epoch 2 at Kafka and 1 here, where members are asked to come
again sooner while something is to change hands."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one side answered: a value for each frame, and what became of the connection."""

    values: list[Any]
    state: str

    def codes(self) -> list[int]:
        """Returns the error codes in it, wherever they stand."""
        return list(error_codes(self.values))


def answer_of(heard: Heard, kinds: Sequence[tuple[int, int] | None], side: Side) -> Answer:
    """Returns it by the API and version of each request that was sent."""
    return Answer([_value_of(frame, kind, side) for frame, kind in zip(heard.frames, kinds, strict=False)], heard.state)


def _value_of(frame: bytes, kind: tuple[int, int] | None, side: Side) -> Any:
    if kind is None:
        return frame.hex()
    key, version = kind
    try:
        correlation_id, response = decode_response(api(key)[1], version, memoryview(frame))
    except MalformedMessage as error:
        return f"unreadable: {error}"
    normal = NORMAL | NORMAL_OF.get(key, {})
    return {"correlation_id": correlation_id, **_plain(response, side, normal)}


def _plain(value: Any, side: Side, normal: dict[str, Normal], name: str = "") -> Any:
    if name in normal:
        return None if value is None else normal[name](value, side)
    match value:
        case Struct():
            return {field: _plain(getattr(value, field), side, normal, field) for field in type(value)._declared}
        case list() if name == "records":
            return _batches(b"".join(value))
        case list():
            return _in_order([_plain(one, side, normal) for one in value])
        case bytes() if len(value) == len(NO_UUID):
            return "no id" if value == NO_UUID else side.topic_ids.get(value, "some id")
        case bytes() | memoryview():
            return bytes(value).hex()
        case _:
            return value


def _in_order(values: list[Any]) -> list[Any]:
    for name in BY_NAME + BY_NUMBER:
        if values and isinstance(values[0], dict) and name in values[0]:
            also = "topic_id", "resource_type"
            return sorted(values, key=lambda one: (str(type(one[name])), one[name], *(str(one.get(by)) for by in also)))
    return values


def _batches(data: bytes) -> list[Any]:
    """Returns the batches' headers and bodies; a batch that was cut, as its number of bytes."""
    found: list[Any] = []
    end = 0
    try:
        for position, header in split_batches(data):
            fields = header._asdict()
            if header.is_append_time:
                fields["max_timestamp"] = fields["crc"] = "the broker's"
            if header.producer_id >= 0:
                fields["producer_id"] = fields["crc"] = "some number"
            body = data[position + HEADER_BYTES : position + header.size_bytes]
            found.append({**fields, "body": body.hex() if len(body) < HEADER.size * 4 else len(body)})
            end = position + header.size_bytes
    except PartialBatch:
        found.append(f"{len(data) - end} bytes of a batch")
    return found


def names(values: list[Any]) -> list[str]:
    """Returns what to call each element: by its name where it has one, else by its number or place."""
    called: list[str] = []
    for place, value in enumerate(values):
        name = (
            next((str(value[by]) for by in BY_NAME + BY_NUMBER if value.get(by) not in (None, "")), None)
            if isinstance(value, dict)
            else None
        )
        called.append(str(place) if name is None or name in called else name)
    return called


def error_codes(value: Any) -> Iterator[int]:
    """Yields the error codes in an answer, wherever they stand."""
    match value:
        case dict():
            for name, inner in value.items():
                if name == "error_code":
                    yield inner
                else:
                    yield from error_codes(inner)
        case list():
            for inner in value:
                yield from error_codes(inner)
