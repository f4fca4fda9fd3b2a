"""Sessions: which brokers are alive, by their heartbeats, and when one that was fenced early may come back.

Plain bookkeeping: times are handed in, in seconds of one monotonic clock. Kept by the active controller alone and lost
with its office; the next one gives every unfenced broker a whole session (replication.md, rule 18), or what is left
of it to one that it knows to be silent: never less than half, in which a broker that lives finds its new controller.

Keeps: a session never ends sooner than its time-out after the last sign of life. What this process itself slept through
is given back from when it wakes, up to one more time-out in all: a stalled controller does not fence everybody at once,
nor does one whose machine slept, so that no heartbeat waits for it. After an early fencing a broker has to beat
steadily for a while, twice as long each time it happens again soon; one that has been registered anew since is another
process, and does not have to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dohle.model.ids import NodeId

_STEADY_S = 1.0
_LONGEST_STEADY_S = 30.0
_STEADY_GAP_S = 0.6  # three beats: a longer silence is not steady
_FORGOTTEN_AFTER_S = 60.0  # an early fencing so long ago no longer counts


@dataclass(slots=True)
class _Session:
    ends_at: float
    forgiven_s: float = 0.0  # given back since the last heartbeat


@dataclass(slots=True)
class _Probation:
    """A broker that was fenced early, in this epoch."""

    broker_epoch: int
    fenced_at: float
    times: int
    steady_since: float | None = None
    last_beat: float = 0.0

    @property
    def duration_s(self) -> float:
        return min(_STEADY_S * 2.0 ** (self.times - 1), _LONGEST_STEADY_S)


class Sessions:
    """The sessions of all unfenced brokers."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._sessions: dict[NodeId, _Session] = {}
        self._probations: dict[NodeId, _Probation] = {}

    def begin(self, node_id: NodeId, now: float) -> None:
        """Gives the broker a whole session."""
        self._sessions[node_id] = _Session(now + self.timeout_s)

    def begin_silent(self, node_id: NodeId, silent_since: float, now: float) -> None:
        """Gives the broker what is left of a session that began at its last sign of life, and half of one at least."""
        self._sessions[node_id] = _Session(max(silent_since + self.timeout_s, now + self.timeout_s / 2))

    def end(self, node_id: NodeId) -> None:
        """The broker was fenced, or is about to be."""
        self._sessions.pop(node_id, None)

    def clear(self) -> None:
        """Forgets everything: this node is the active controller no longer."""
        self._sessions.clear()
        self._probations.clear()

    def beat(self, node_id: NodeId, now: float, *, fenced: bool) -> None:
        """A heartbeat has come in, and the broker is fenced or not from now on; only unfenced ones have a session."""
        if fenced:
            self.end(node_id)
        else:
            self.begin(node_id, now)
        probation = self._probations.get(node_id)
        if probation is not None:
            if probation.steady_since is None or now - probation.last_beat > _STEADY_GAP_S:
                probation.steady_since = now
            probation.last_beat = now

    def fenced_early(self, node_id: NodeId, broker_epoch: int, now: float) -> None:
        """The broker is fenced because its process was proven gone, while its session still ran."""
        before = self._probation(node_id, broker_epoch)
        recent = before is not None and now - before.fenced_at < _FORGOTTEN_AFTER_S
        times = before.times + 1 if before is not None and recent else 1
        self._probations[node_id] = _Probation(broker_epoch, now, times)

    def may_unfence(self, node_id: NodeId, broker_epoch: int, now: float) -> bool:
        """Whether nothing speaks against unfencing at a heartbeat that comes now; asked before `beat`."""
        probation = self._probation(node_id, broker_epoch)
        if probation is None:
            return True
        steady = probation.steady_since is not None and now - probation.last_beat <= _STEADY_GAP_S
        return steady and now - (probation.steady_since or 0.0) >= probation.duration_s

    def next_deadline(self, now: float) -> float:
        """Returns when to look for expired sessions: one that begins after `now` has half of its time at least."""
        return min([now + self.timeout_s / 2, *(session.ends_at for session in self._sessions.values())])

    def expired(self, now: float) -> Iterator[NodeId]:
        """Yields every broker whose session is over, in order."""
        for node_id in sorted(self._sessions):
            if self._sessions[node_id].ends_at <= now:
                yield node_id

    def forgive(self, stall_s: float, now: float) -> None:
        """This process did not run for `stall_s`, up to now: heartbeats may be on their way, or were lost meanwhile."""
        for session in self._sessions.values():
            given_s = min(stall_s, self.timeout_s - session.forgiven_s)
            session.forgiven_s += given_s
            session.ends_at = max(session.ends_at, now) + given_s

    def _probation(self, node_id: NodeId, broker_epoch: int) -> _Probation | None:
        probation = self._probations.get(node_id)
        return probation if probation is not None and probation.broker_epoch == broker_epoch else None
