"""Group commits: who asks what a group has committed is told the last acknowledged commit, or a later one.

A commit whose outcome is not known may take effect at any time after it was begun, until another process has committed
to the log in a newer generation or member epoch: from then on the log is not the first one's. Groups whose offsets were
deleted or have expired do not belong into a history.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dohle.testing.history.anomalies import Anomaly
from dohle.testing.history.evidence import Evidence
from dohle.testing.history.operations import Commit, Committed, Operation, Outcome


def lost_commits(evidence: Evidence) -> Iterator[Anomaly]:
    """A committed offset that is neither the last one acknowledged nor a later one."""
    logs: dict[tuple[str, str], _GroupLog] = {}
    for begins, operation in _events(evidence):
        for micro in operation.micro:
            match micro:
                case Commit(group, offsets):
                    for name, offset in sorted(offsets.items()):
                        log = logs.setdefault((group, name), _GroupLog(group, name))
                        log.commit_began(operation, offset) if begins else log.commit_ended(operation, micro.epoch)
                case Committed(group, found) if operation.outcome is Outcome.OK:
                    for name, told in sorted(found.items()):
                        log = logs.setdefault((group, name), _GroupLog(group, name))
                        if begins:
                            log.asked(operation)
                        else:
                            yield from log.told(operation, told)


def stale_commits(evidence: Evidence) -> Iterator[Anomaly]:
    """A commit that was acknowledged though another process had committed in a newer epoch before it was begun."""
    newest: dict[tuple[str, str], dict[str, tuple[int, Operation]]] = {}  # by group and log, then by process
    floors: dict[tuple[int, str], tuple[int, Operation]] = {}  # by commit and log, what was the newest when it began
    for begins, operation in _events(evidence):
        for micro in operation.micro:
            if not isinstance(micro, Commit) or operation.outcome is not Outcome.OK or micro.epoch < 0:
                continue
            for log in sorted(micro.offsets):
                known = newest.setdefault((micro.group, log), {})
                if begins:
                    others = (found for process, found in known.items() if process != operation.process)
                    floors[operation.number, log] = max(others, key=_epoch, default=(-1, operation))
                    continue
                epoch, newer = floors.pop((operation.number, log))
                if micro.epoch < epoch:
                    what = (
                        f"{operation.process} committed {micro.offsets[log]} of {log} for group {micro.group} in epoch"
                        f" {micro.epoch}, and epoch {epoch} had committed before"
                    )
                    yield Anomaly("stale commit", what, (newer, operation))
                if micro.epoch > known.get(operation.process, (-1, operation))[0]:
                    known[operation.process] = micro.epoch, operation


def _epoch(known: tuple[int, Operation]) -> int:
    return known[0]


def _events(evidence: Evidence) -> Iterator[tuple[bool, Operation]]:
    """Yields in order the beginnings (True) and ends of what concerns groups' commits, but for what never happened."""
    events: list[tuple[int, bool, Operation]] = []
    for operation in evidence.operations:
        if operation.outcome is not Outcome.FAIL and any(
            isinstance(one, Commit | Committed) for one in operation.micro
        ):
            events.append((operation.invoked, True, operation))
            if operation.outcome is Outcome.OK and operation.completed is not None:
                events.append((operation.completed, False, operation))
    events.sort(key=lambda event: event[0])
    for _, begins, operation in events:
        yield begins, operation


@dataclass(frozen=True, slots=True)
class _Begun:
    """A commit; None: that nothing was committed yet."""

    operation: Operation | None
    offset: int | None


@dataclass(slots=True)
class _GroupLog:
    """What one group may have committed of one log. `possible`: by what may be there now; `asking`: for each open
    question all that may have been there since it was asked; `acknowledged`: the last one that was."""

    group: str
    log: str
    possible: list[_Begun] = field(default_factory=lambda: [_Begun(None, None)])
    asking: dict[int, list[_Begun]] = field(default_factory=dict)
    acknowledged: Operation | None = None

    def commit_began(self, operation: Operation, offset: int) -> None:
        begun = _Begun(operation, offset)
        for possible in (self.possible, *self.asking.values()):
            possible.append(begun)

    def commit_ended(self, operation: Operation, epoch: int) -> None:
        self.acknowledged = operation
        self.possible = [one for one in self.possible if not _is_superseded(one.operation, operation, epoch)]

    def asked(self, operation: Operation) -> None:
        self.asking[operation.number] = list(self.possible)

    def told(self, operation: Operation, told: int | None) -> Iterator[Anomaly]:
        possible = self.asking.pop(operation.number)
        if all(one.offset != told for one in possible):
            offsets = sorted({-1 if one.offset is None else one.offset for one in possible})
            what = (
                f"{operation.process} was told that group {self.group} has committed"
                f" {'nothing' if told is None else told} of {self.log}, where it may be at {offsets}"
            )
            proof = () if self.acknowledged is None else (self.acknowledged,)
            yield Anomaly("lost commit", what, (*proof, operation))


def _is_superseded(earlier: Operation | None, acknowledged: Operation, epoch: int) -> bool:
    """Whether `earlier` can be what is committed no more, once a commit in `epoch` is acknowledged."""
    if earlier is None:
        return True
    if earlier.completed is not None and earlier.outcome is Outcome.OK and earlier.completed < acknowledged.invoked:
        return True
    epochs = [micro.epoch for micro in earlier.micro if isinstance(micro, Commit)]
    return earlier.process != acknowledged.process and any(0 <= before < epoch for before in epochs)
