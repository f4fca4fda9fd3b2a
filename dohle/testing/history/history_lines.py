"""Histories as lines of JSON, one an event, so that what real clients did can be kept, and judged elsewhere.

::

    {"operation": 0, "process": "writer0", "type": "invoke", "time": 0.5, "value": [["send", "t-0", "a"]]}
    {"operation": 0, "process": "writer0", "type": "ok", "time": 0.7, "value": [["send", "t-0", [17, "a"]]]}

`type`: invoke, ok, fail or info. `operation`: a number of the writer's choice that joins an operation's two events.
`time`: seconds. `value`, which an event that completes may leave out: a list of ["send", log, value], with an offset
["send", log, [offset, value]]; ["poll", {log: [[offset, value], ...]}]; ["assign", {log: offset or null}];
["subscribe", [topic, ...]] or ["subscribe", [topic, ...], group]; ["ends", {log: offset}]; ["delete", {log: offset}],
of what lies below; ["commit", group, {log: offset}, epoch], -1: unknown; ["committed", group, {log: offset or null}].
An event that completes may have `rebalanced`, a list of logs, and `why`, a text. The order of the lines is that of the
events.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
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
    Send,
    Subscribe,
)


def write_lines(history: History) -> Iterator[str]:
    """Yields the history's lines, without their ends."""
    events = [(operation.invoked, operation, False) for operation in history.operations]
    events += [(done.completed, done, True) for done in history.operations if done.completed is not None]
    events.sort(key=lambda event: event[0])
    for _, operation, completes in events:
        yield json.dumps(_completion(operation) if completes else _invocation(operation), separators=(",", ":"))


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


def _invocation(operation: Operation) -> dict[str, Any]:
    asked = [_asked(micro) for micro in operation.micro]
    return _event(operation, "invoke", operation.invoked_s) | {"value": [_micro_to_json(micro) for micro in asked]}


def _completion(operation: Operation) -> dict[str, Any]:
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
        case Ends():
            return Ends()
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
    micro = tuple(map(_micro_from_json, event.get("value", ())))
    time_s = float(event["time"])
    key, kind = event["operation"], event["type"]
    if kind == "invoke":
        if key in open_operations:
            raise ValueError(f"operation {key} is open already")
        open_operations[key] = history.invoke(_text(event["process"]), *micro, at_s=time_s)
        return
    rebalanced, why = tuple(event.get("rebalanced", ())), event.get("why", "")
    operation = open_operations.pop(key)
    history.complete(operation, Outcome(kind), *micro, at_s=time_s, rebalanced=rebalanced, why=why)


def _micro_from_json(micro: list[Any]) -> Micro:
    match micro:
        case ["send", str(log), str(value)]:
            return Send(log, value)
        case ["send", str(log), [offset, str(value)]]:
            return Send(log, value, _offset(offset))
        case ["poll", dict(records)]:
            return Poll({log: [_record(*record) for record in polled] for log, polled in records.items()})
        case ["assign", dict(starts)]:
            return Assign({log: None if start is None else _offset(start) for log, start in starts.items()})
        case ["subscribe", list(topics)]:
            return Subscribe(tuple(map(_text, topics)))
        case ["subscribe", list(topics), str(group)]:
            return Subscribe(tuple(map(_text, topics)), group)
        case ["ends", dict(ends)]:
            return Ends({log: _offset(end) for log, end in ends.items()})
        case ["delete", dict(before)]:
            return Delete({log: _offset(offset) for log, offset in before.items()})
        case ["commit", str(group), dict(offsets), int(epoch)]:
            return Commit(group, {log: _offset(offset) for log, offset in offsets.items()}, epoch)
        case ["committed", str(group), dict(found)]:
            return Committed(group, {log: None if at is None else _offset(at) for log, at in found.items()})
    raise ValueError(f"there is no micro-operation {micro!r}")


def _record(offset: Any, value: Any) -> tuple[int, str]:
    return _offset(offset), _text(value)


def _offset(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no offset")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value
