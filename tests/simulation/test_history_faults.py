"""Sound histories, however their operations overlap, show nothing; and every fault that is planted in one is found."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dohle.testing.history.checker import judge
from dohle.testing.history.operations import Operation, Outcome, Poll, Send
from tests.simulation.model_log import FINAL_READER, LOGS, ModelClients

seeds = st.integers(min_value=0, max_value=2**32)


def names(operations) -> list[str]:
    return [anomaly.name for anomaly in judge(operations).anomalies]


@settings(max_examples=300)
@given(seeds)
def test_a_sound_history_shows_nothing(seed):
    verdict = judge(ModelClients(Random(seed)).history.operations)
    assert verdict.anomalies == ()


class Planter:
    """Plants a fault by its name into a history, where there is a place for it."""

    def __init__(self, operations: list[Operation], random: Random) -> None:
        self.operations = operations
        self.random = random

    def plant(self, fault: str) -> None:
        words = re.findall("[a-z0-9]+", fault.removesuffix(" (G1a)").lower())
        getattr(self, f"_{'_'.join(words)}")()

    def choose(self, candidates):
        candidates = list(candidates)
        assume(candidates)
        return self.random.choice(candidates)

    def _polls(self, *processes: str):
        for operation in self.operations:
            if isinstance(operation.micro[0], Poll) and (not processes or operation.process in processes):
                yield operation, operation.micro[0].records

    def _sends(self, *outcomes: Outcome):
        for operation in self.operations:
            if isinstance(operation.micro[0], Send) and (not outcomes or operation.outcome in outcomes):
                yield operation, operation.micro[0]

    def _final(self, log: str) -> list[str]:
        return [value for _, records in self._polls(FINAL_READER) for _, value in records[log]]

    def read_sends(self, *outcomes: Outcome):
        read = {log: set(self._final(log)) for log in LOGS}
        return [(operation, send) for operation, send in self._sends(*outcomes) if send.value in read[send.log]]

    def _forget(self, send: Send) -> None:
        for _, records in self._polls():
            records[send.log] = [record for record in records.get(send.log, []) if record[1] != send.value]

    def _chunks(self):
        """Yields pairs of polls of the final reader, the later of which goes on in a log where the earlier ended."""
        polls = [records for _, records in self._polls(FINAL_READER)]
        for earlier, later in pairwise(polls):
            for log in LOGS:
                if earlier[log] and later[log]:
                    yield earlier, later, log

    def _lost_write(self) -> None:
        acknowledged = self.read_sends(Outcome.OK)
        with_offset = (send for _, send in acknowledged if send.offset is not None)
        self._forget(self.choose(send for send in with_offset if send.value != self._final(send.log)[-1]))

    def _unseen(self) -> None:
        last = (send for _, send in self.read_sends(Outcome.OK) if send.value == self._final(send.log)[-1])
        self._forget(self.choose(last))

    def _lost_write_at_the_end(self) -> None:
        log = self.choose(log for log in LOGS if self._final(log))
        last = self._final(log)[-1]
        assume(any(value == last for _, r in self._polls("reader", "group") for _, value in r.get(log, ())))
        for _, records in self._polls(FINAL_READER):
            records[log] = [record for record in records[log] if record[1] != last]

    def _duplicate(self) -> None:
        _, records, log = self.choose(self._chunks())
        records[log].append((records[log][-1][0] + 100, records[log][0][1]))

    def _inconsistent_offsets(self) -> None:
        records, log = self.choose((r, log) for _, r in self._polls("reader") for log in LOGS if r.get(log))
        offset, _ = records[log][0]
        other = self.choose(
            send for _, send in self.read_sends() if send.log == log and send.value != records[log][0][1]
        )
        records[log][0] = offset, other.value

    def _aborted_read(self) -> None:
        operation, _ = self.choose(self.read_sends())
        operation.outcome = Outcome.FAIL

    def _unknown_record(self) -> None:
        operation, _ = self.choose(self.read_sends())
        self.operations.remove(operation)

    def _precommitted_read(self) -> None:
        operation, send = self.choose(self.read_sends(Outcome.OK))
        operation.micro = send, Poll({send.log: [self._place(send)]})

    def _place(self, send: Send) -> tuple[int, str]:
        return next(r for _, records in self._polls() for r in records.get(send.log, ()) if r[1] == send.value)

    def _internal_skip(self) -> None:
        records, log = self.choose(
            (r, log) for _, r in self._polls("reader") for log in LOGS if len(r.get(log, ())) > 2
        )
        del records[log][1]

    def _internal_non_monotonic_poll(self) -> None:
        records, log = self.choose(
            (r, log) for _, r in self._polls("reader", FINAL_READER) for log in LOGS if len(r.get(log, ())) > 1
        )
        records[log].append(records[log][0])

    def _external_skip(self) -> None:
        _, later, log = self.choose(self._chunks())
        first = later[log].pop(0)
        assume(later[log])
        self._add("another", Poll({log: [first]}), at=10_000)  # or it would be lost, not skipped

    def _external_non_monotonic_poll(self) -> None:
        earlier, later, log = self.choose(self._chunks())
        later[log].insert(0, earlier[log][-1])

    def _non_monotonic_send(self) -> None:
        sends = self.read_sends(Outcome.OK)
        one, other = self.choose(
            (one, other)
            for one, first in sends
            for other, second in sends
            if one.number < other.number and (one.process, first.log) == (other.process, second.log)
        )
        one.micro, other.micro = other.micro, one.micro

    def _pairs(self):
        """Yields acknowledged sends to x that were read, a before b, and c before d to y."""
        x, y = ([pair for pair in self.read_sends(Outcome.OK) if pair[1].log == log] for log in LOGS)
        for first, second in pairwise(sorted(x, key=lambda pair: self._place(pair[1]))):
            for third, fourth in pairwise(sorted(y, key=lambda pair: self._place(pair[1]))):
                yield first, second, third, fourth

    def _g0(self) -> None:
        """Joins a and d to one operation, and b and c to another."""
        (of_a, a), (of_b, b), (of_c, c), (of_d, d) = self.choose(self._pairs())
        of_a.micro, of_b.micro = (a, d), (b, c)
        self.operations.remove(of_c)
        self.operations.remove(of_d)

    def _g1c(self) -> None:
        """Has the sender of a read c, and that of c read a."""
        (of_a, a), _, (of_c, c), _ = self.choose(self._pairs())
        of_a.micro, of_c.micro = (a, Poll({"y": [self._place(c)]})), (c, Poll({"x": [self._place(a)]}))

    def _g1c_process(self) -> None:
        """Has a writer read what it sends a good while later."""
        operation, send = self.choose(self.read_sends(Outcome.OK))
        self._add(operation.process, Poll({send.log: [self._place(send)]}), at=-2)

    def _g1c_realtime(self) -> None:
        """Has somebody read what another sends a good while later."""
        _, send = self.choose(self.read_sends(Outcome.OK))
        self._add("early bird", Poll({send.log: [self._place(send)]}), at=-2)

    def _add(self, process: str, poll: Poll, at: int) -> None:
        number = len(self.operations) + 1
        self.operations.insert(
            0 if at < 0 else number, Operation(number, process, (poll,), at, float(at), Outcome.OK, at + 1, at + 1.0)
        )


FAULTS = (
    "lost write",
    "lost write (at the end)",
    "unseen",
    "duplicate",
    "inconsistent offsets",
    "aborted read (G1a)",
    "unknown record",
    "precommitted read",
    "internal skip",
    "internal non-monotonic poll",
    "external skip",
    "external non-monotonic poll",
    "non-monotonic send",
    "G0",
    "G1c",
    "G1c-process",
    "G1c-realtime",
)


@pytest.mark.parametrize("fault", FAULTS)
@settings(max_examples=60)
@given(seed=seeds)
def test_a_planted_fault_is_found(fault, seed):
    operations = ModelClients(Random(seed)).history.operations
    Planter(operations, Random(seed + 1)).plant(fault)
    found = names(operations)
    assert fault.removesuffix(" (at the end)") in found


@settings(max_examples=60)
@given(seeds)
def test_a_send_that_begins_when_all_is_over_but_lies_in_the_midst_is_found(seed):
    operations = ModelClients(Random(seed)).history.operations
    planter = Planter(operations, Random(seed + 1))
    late, _ = planter.choose(planter.read_sends(Outcome.OK))
    operations.remove(late)
    operations.append(late)
    late.process, late.invoked, late.completed = "latecomer", 10_000, 10_001
    (name,) = names(operations)
    assert name in ("G0-realtime", "G1c-realtime")
