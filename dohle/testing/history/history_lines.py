"""Histories as lines of JSON, one an event, so that what real clients did can be kept, and judged elsewhere.

::

    {"operation": 0, "process": "writer0", "type": "invoke", "time": 0.5, "value": [["send", "t-0", "a"]]}
    {"operation": 0, "process": "writer0", "type": "ok", "time": 0.7, "value": [["send", "t-0", [17, "a"]]]}

`type`: invoke, ok, fail or info. `operation`: a number of the writer's choice that joins an operation's two events.
`time`: seconds. `value`, which an event that completes may leave out: a list of ["send", log, value], with an offset
["send", log, [offset, value]]; ["poll", {log: [[offset, value], ...]}]; ["assign", {log: offset or null}];
["subscribe", [topic, ...]] or ["subscribe", [topic, ...], group]; ["ends", {log: offset}]; ["delete", {log: offset}],
of what lies below; ["commit", group, {log: offset}, epoch], -1: unknown; ["committed", group, {log: offset or null}];
of compacted logs ["put", log, key, token, deletes], with an offset ["put", log, key, [offset, token], deletes], and
["scan", {log: [[offset, key, token, deletes], ...]}]. An event that completes may have `rebalanced`, a list of logs,
and `why`, a text. The order of the lines is that of the events.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from sys import intern
from typing import Any

from dohle.model.errors import InvalidRequest
from dohle.testing.history.history import History
from dohle.testing.history.operations import (
    Assign,
    Commit,
    Committed,
    Delete,
    Ends,
    Micro,
    Operation,
    Outcome,
    Poll,
    Put,
    Scan,
    Send,
    Shown,
    Subscribe,
)
from dohle.testing.history.uncollected import uncollected


def write_lines(history: History) -> Iterator[str]:
    """Yields the history's lines, without their ends."""
    events = [(operation.invoked, operation, False) for operation in history.operations]
    events += [(done.completed, done, True) for done in history.operations if done.completed is not None]
    events.sort(key=lambda event: event[0])
    for _, operation, completes in events:
        yield json.dumps(completion(operation) if completes else invocation(operation), separators=(",", ":"))


@uncollected()
def read_lines(lines: Iterable[str]) -> History:
    """Returns the history that `lines` tell. Raises InvalidRequest, which names the line that is wrong."""
    history = History()
    open_operations: dict[int, Operation] = {}
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        try:
            _take(history, open_operations, json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, json.JSONDecodeError) and not line.endswith("\n") and next(numbered, None) is None:
                raise InvalidRequest(
                    f"the history is cut off in the middle of line {number}, its last: {line[:200]!r}. Whoever wrote it"
                    " was stopped: take that line away to judge what came before"
                ) from error
            raise InvalidRequest(
                f"line {number} of the history is no event ({error!r}): {line[:200].rstrip()}"
            ) from error
    return history


def invocation(operation: Operation) -> dict[str, Any]:
    """Returns the event that an operation begins, as JSON has it."""
    asked = [_asked(micro) for micro in operation.micro]
    return _event(operation, "invoke", operation.invoked_s) | {"value": [_micro_to_json(micro) for micro in asked]}


def completion(operation: Operation) -> dict[str, Any]:
    """Returns the event that an operation has completed, likewise."""
    assert operation.completed_s is not None, "it has completed"
    event = _event(operation, operation.outcome.value, operation.completed_s)
    if any(_asked(micro) != micro for micro in operation.micro):
        event["value"] = [_micro_to_json(micro) for micro in operation.micro]
    if operation.rebalanced:
        event["rebalanced"] = operation.rebalanced
    if operation.why:
        event["why"] = operation.why
    return event


def _event(operation: Operation, kind: str, time_s: float) -> dict[str, Any]:
    return {"operation": operation.number, "process": operation.process, "type": kind, "time": round(time_s, 6)}


def _asked(micro: Micro) -> Micro:
    """Returns what of it was known before it happened."""
    match micro:
        case Send(log, value):
            return Send(log, value)
        case Poll():
            return Poll()
        case Put():
            return micro._replace(offset=None)
        case Scan():
            return Scan()
        case Ends():
            return Ends()
        case Commit(group, offsets):
            return Commit(group, offsets)
        case Committed(group):
            return Committed(group)
        case _:
            return micro


def _micro_to_json(micro: Micro) -> list[Any]:
    match micro:
        case Send(log, value, offset):
            return ["send", log, value if offset is None else [offset, value]]
        case Poll(records):
            return ["poll", records]
        case Put(log, key, token, deletes, offset):
            return ["put", log, key, token if offset is None else [offset, token], deletes]
        case Scan(shown):
            return ["scan", shown]
        case Assign(starts):
            return ["assign", starts]
        case Subscribe(topics, group):
            return ["subscribe", topics, group] if group else ["subscribe", topics]
        case Ends(ends):
            return ["ends", ends]
        case Delete(before):
            return ["delete", before]
        case Commit(group, offsets, epoch):
            return ["commit", group, offsets, epoch]
        case Committed(group, found):
            return ["committed", group, found]


def _take(history: History, open_operations: dict[int, Operation], event: dict[str, Any]) -> None:
    micro = tuple([_MICRO[one[0]](*one[1:]) for one in event.get("value", ())])
    time_s = float(event["time"])
    key, kind = event["operation"], event["type"]
    if kind == "invoke":
        if key in open_operations:
            raise ValueError(f"operation {key} is open already")
        open_operations[key] = history.invoke(_text(event["process"]), *micro, at_s=time_s)
        return
    rebalanced, why = tuple(map(_text, event.get("rebalanced", ()))), event.get("why", "")
    operation = open_operations.pop(key)
    history.complete(operation, _OUTCOMES[kind], *micro, at_s=time_s, rebalanced=rebalanced, why=why)


def _send(log: Any, sent: Any) -> Send:
    if type(sent) is str:
        return Send(_text(log), intern(sent))
    offset, value = sent
    return Send(_text(log), _text(value), _offset(offset))


def _poll(records: Any) -> Poll:
    return Poll({_text(log): _records(polled) for log, polled in _dict(records).items()})


def _records(polled: Any) -> list[tuple[int, str]]:
    records = [(offset, intern(value)) for offset, value in polled]
    for offset, _ in records:
        if type(offset) is not int or offset < 0:
            raise ValueError(f"{offset!r} is no offset")
    return records


def _put(log: Any, key: Any, put: Any, deletes: Any) -> Put:
    offset, token = (None, put) if isinstance(put, str) else put
    return Put(_text(log), _text(key), _text(token), _flag(deletes), None if offset is None else _offset(offset))


def _scan(records: Any) -> Scan:
    return Scan({_text(log): [_shown(*one) for one in shown] for log, shown in _dict(records).items()})


def _shown(offset: Any, key: Any, token: Any, deletes: Any) -> Shown:
    return Shown(_offset(offset), _text(key), _text(token), _flag(deletes))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _assign(starts: Any) -> Assign:
    return Assign(_maybe_offsets(starts))


def _subscribe(topics: Any, group: Any = "") -> Subscribe:
    if not isinstance(topics, list):
        raise ValueError(f"{topics!r} is no list of topics")
    return Subscribe(tuple(map(_text, topics)), _text(group))


def _commit(group: Any, offsets: Any, epoch: Any) -> Commit:
    if type(epoch) is not int:
        raise ValueError(f"{epoch!r} is no epoch")
    return Commit(_text(group), _offsets(offsets), epoch)


def _committed(group: Any, found: Any) -> Committed:
    return Committed(_text(group), _maybe_offsets(found))


_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_MICRO: dict[str, Callable[..., Micro]] = {
    "send": _send,
    "poll": _poll,
    "put": _put,
    "scan": _scan,
    "assign": _assign,
    "subscribe": _subscribe,
    "ends": lambda ends: Ends(_offsets(ends)),
    "delete": lambda before: Delete(_offsets(before)),
    "commit": _commit,
    "committed": _committed,
}
"""What a micro-operation's line is read by: with the wrong arguments these raise TypeError or ValueError."""


def _dict(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} says nothing by log")
    return value


def _offsets(offsets: Any) -> dict[str, int]:
    return {_text(log): _offset(offset) for log, offset in _dict(offsets).items()}


def _maybe_offsets(offsets: Any) -> dict[str, int | None]:
    return {_text(log): None if at is None else _offset(at) for log, at in _dict(offsets).items()}


def _offset(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no offset")
    return value


def _text(value: Any) -> str:
    """Returns the text itself, which is there once however often it is told: histories are large."""
    if type(value) is not str:
        raise ValueError(f"{value!r} is no text")
    return intern(value)
