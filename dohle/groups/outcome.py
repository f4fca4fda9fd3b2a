"""What a command leads to, and how it is carried out.

A command decides: it looks at the state and returns an `Outcome`, and has not changed anything that records say. The
driver then

1. appends the records as one batch. If that fails, nothing was written: the replies are that error in place of what
   they say, and `then` is told of it.
2. gives each record to `GroupShard.apply`, in order, before it begins any other command: later ones see the state as it
   will be once all is committed.
3. lets the replies out once all that was appended until then is committed, whether or not this outcome has records: no
   reply tells of what might still be lost. If that becomes uncertain (the leadership ends, replicas are too few), the
   replies are NotCoordinator or CoordinatorNotAvailable instead.
4. tells `then`, if there is one, of the commit or the failure, and carries out what it returns.

What is not in records (who waits for a rebalance, when a session ends) commands change at once; it is lost with the
coordinator, and begun anew by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NewType, TypeAlias

from dohle.groups.records import GroupRecord
from dohle.model.errors import DohleError

Ticket = NewType("Ticket", int)
"""Whose answer it is: the driver gives each command that is to be answered one, and never the same twice."""

Reply: TypeAlias = Any
"""What the command's docstring says it is answered with, or a DohleError."""


class Moment(NamedTuple):
    """When a command runs: `now_s` is monotonic, for time-outs; `wall_ms` is what records are stamped with."""

    now_s: float
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """`replies` need not be to the command that led to them: the last one to join a group answers all who wait."""

    records: tuple[GroupRecord, ...] = ()
    replies: Mapping[Ticket, Reply] = field(default_factory=dict)
    then: Callable[[DohleError | None, Moment], Outcome] | None = None


NOTHING = Outcome()
