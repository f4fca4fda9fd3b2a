"""A partition's queue against a leader that loses, refuses and answers late, in every order that can be thought of."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dohle.client.backoff import Backoff
from dohle.client.partition_queue import PartitionQueue
from dohle.client.pending_batch import PendingBatch, ProducerIdentity
from dohle.model.codecs import Codec
from dohle.model.errors import DohleError, InvalidRecord, NetworkException, NotEnoughReplicas
from tests.client.fake_broker import Partition

TIMEOUT_S = 10.0

STEPS = st.lists(
    st.sampled_from(
        [
            *["put", "put", "send", "send", "lose request", "lose answer", "not enough", "refuse"],
            *["answer", "answer last", "wait", "time out", "break"],
        ]
    ),
    max_size=80,
)


class World:
    """The queue, its leader, and the answers that are on their way."""

    def __init__(self) -> None:
        self.queue = PartitionQueue("t", b"i" * 16, 0, idempotent=True, max_in_flight=5, backoff=Backoff(Random(1)))
        self.leader = Partition()
        self.now = 0.0
        self.next_id = 1
        self.sent: list[tuple[bytes, PendingBatch]] = []
        self.answers: list[tuple[PendingBatch, int | DohleError | None]] = []  # None: it will never come
        self.settled: list[PendingBatch] = []

    def put(self) -> None:
        batch = PendingBatch("t", 0, send_at=self.now, deadline=self.now + TIMEOUT_S, on_settled=self.settled.append)
        value = b"%d" % len(self.sent)
        batch.builder.append(None, value, 1)
        batch.record_count = 1
        self.queue.put(batch)
        self.sent.append((value, batch))

    def send(self, fault: str) -> None:
        if self.queue.wants_identity:
            while not self.queue.adopt(ProducerIdentity(self.next_id, 0)):
                self.next_id += 1
        if self.queue.ready(self.now) is None:
            return
        batch = self.queue.take()
        match fault:
            case "lose request":
                self.answers.append((batch, None))
            case "not enough":
                self.answers.append((batch, NotEnoughReplicas()))
            case "refuse":
                self.answers.append((batch, InvalidRecord()))
            case _:
                try:
                    outcome: int | DohleError | None = self.leader.append(batch.encoded(Codec.NONE))
                except DohleError as refusal:
                    outcome = refusal
                self.answers.append((batch, None if fault == "lose answer" else outcome))

    def answer(self, index: int) -> None:
        if not self.answers or self.answers[index][1] is None:
            return
        batch, outcome = self.answers.pop(index)
        if isinstance(outcome, DohleError):
            self.queue.failed(batch, outcome, self.now)
        else:
            self.queue.acknowledged(batch, outcome, -1)

    def break_connection(self) -> None:
        self.queue.abandoned(NetworkException(), self.now)
        self.answers.clear()

    def step(self, step: str) -> None:
        match step:
            case "put":
                self.put()
            case "answer":
                self.answer(0)
            case "answer last":
                self.answer(-1)
            case "wait":
                self.now += 0.6
            case "time out":
                self.now += TIMEOUT_S
                self.queue.expire(self.now)
            case "break":
                self.break_connection()
            case fault:
                self.send(fault)

    def heal(self) -> None:
        """Answers whatever comes from now on, until nothing is left."""
        for _ in range(len(self.sent) * 4 + 10):
            self.break_connection()
            self.now += 0.6
            for _ in range(5):
                self.send("send")
            while self.answers:
                self.answer(0)
            if not len(self.queue):
                return
        raise AssertionError("batches are left that never settle")


@settings(max_examples=400)
@given(STEPS)
def test_whatever_goes_wrong_nothing_is_doubled_reordered_or_lied_about(steps: list[str]) -> None:
    world = World()
    for step in steps:
        world.step(step)
    world.heal()
    log = world.leader.values()
    assert len(set(log)) == len(log), "written twice"
    assert log == sorted(log, key=lambda value: int(value or b"")), "out of order"
    assert len(world.settled) == len(world.sent), "each batch settles once"
    for value, batch in world.sent:
        if batch.failure is None:
            assert log[batch.delivery(0, 1).offset] == value, "acknowledged where it is not"
        elif batch.failure.definite:
            assert value not in log, "said to be certainly not written, and it was"


def test_what_is_behind_a_refused_batch_is_numbered_anew_only_if_it_was_not_written() -> None:
    world = World()
    for _ in range(3):
        world.put()
    for fault in ("refuse", "lose answer", "not enough"):
        world.send(fault)
    world.answer(0)
    world.answer(-1)
    world.break_connection()
    first, second, third = (batch for _, batch in world.sent)
    assert isinstance(first.failure, InvalidRecord)
    assert second.failure is not None
    assert not second.failure.definite
    assert not third.settled
    world.heal()
    assert world.leader.values() == [b"2"]
