"""Assignors: what a target assignment of a large group takes, and the longest slice of it.

    python -m bench.assignors [MEMBERS [PARTITIONS]]

1,000 members and 10,000 partitions by default, with one topic, with 100 topics that all subscribe to, and with mixed
subscriptions: ten sets of 50 of them, and a set of its own for each member. Each line is CPU time of this process, the
best of three runs, since others on this machine only ever add to it. The yardstick deals as many partitions in turn,
and sorts what each member got.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dohle.cli.output import print_table
from dohle.groups.assignors import ASSIGNORS, assign
from dohle.groups.assignors.plan import Subscription
from dohle.groups.records import Assignment
from dohle.model.ids import TopicId, new_id

MEMBERS, PARTITIONS = 1000, 10_000
RUNS = 3


@dataclass(frozen=True)
class Task:
    """What there is to assign."""

    name: str
    members: Mapping[str, Subscription]
    topics: Mapping[TopicId, int]
    previous: Mapping[str, Assignment]


def tasks(assignor: str, members: int, partitions: int) -> Iterator[Task]:
    """Yields them: a group at first, one more, one less, twice as many, and all who join the first."""
    source = random.Random(1)
    hundred = dict.fromkeys((TopicId(new_id(source)) for _ in range(100)), max(1, partitions // 100))
    one = {TopicId(new_id(source)): partitions}
    sets = [frozenset(source.sample(sorted(hundred), 50)) for _ in range(members)]
    ids = [f"{source.getrandbits(64):016x}" for _ in range(members + 1)]
    kinds = (
        ("one topic", one, [frozenset(one)] * (members + 1)),
        ("100 topics", hundred, [frozenset(hundred)] * (members + 1)),
        ("mixed, 10 sets", hundred, [sets[number % 10] for number in range(members + 1)]),
        ("mixed, all differ", hundred, [*sets, sets[0]]),
    )
    for name, topics, subscribed in kinds:
        everyone = {member_id: Subscription(those) for member_id, those in zip(ids, subscribed, strict=True)}
        all_but_one = {member_id: everyone[member_id] for member_id in ids[:members]}
        half = {member_id: everyone[member_id] for member_id in ids[: members // 2]}
        alone = {ids[0]: everyone[ids[0]]}
        had = assign(ASSIGNORS[assignor], all_but_one, topics, {})
        yield Task(f"{name}: at first", all_but_one, topics, {})
        yield Task(f"{name}: one joins", everyone, topics, had)
        yield Task(f"{name}: half are left", half, topics, had)
        yield Task(f"{name}: twice as many", all_but_one, topics, assign(ASSIGNORS[assignor], half, topics, had))
        yield Task(f"{name}: all join one", all_but_one, topics, assign(ASSIGNORS[assignor], alone, topics, {}))


def measure(assignor: str, task: Task) -> tuple[float, float, dict[str, Assignment]]:
    """Returns (milliseconds in sum, those of the longest slice, target)."""
    assigning = ASSIGNORS[assignor](task.members, task.topics, task.previous)
    longest, begin = 0, time.thread_time_ns()
    at = begin
    while True:
        try:
            next(assigning)
        except StopIteration as end:
            now = time.thread_time_ns()
            return (now - begin) / 1e6, max(longest, now - at) / 1e6, end.value
        now = time.thread_time_ns()
        longest, at = max(longest, now - at), now


def yardstick_ms(members: int, partitions: int) -> float:
    begin = time.thread_time_ns()
    dealt: list[list[tuple[bytes, int]]] = [[] for _ in range(members)]
    for number in range(partitions):
        dealt[number % members].append((b"0123456789abcdef", number))
    for hand in dealt:
        hand.sort()
    return (time.thread_time_ns() - begin) / 1e6


def main() -> None:
    """Measures, and prints the table."""
    given = [int(argument) for argument in sys.argv[1:]]
    members, partitions = [*given, *(MEMBERS, PARTITIONS)[len(given) :]]
    yardstick = min(yardstick_ms(members, partitions) for _ in range(RUNS))
    rows = []
    for assignor in ASSIGNORS:
        for task in tasks(assignor, members, partitions):
            gc.collect()
            gc.freeze()  # as in a node that has been up for a while
            runs = [measure(assignor, task) for _ in range(RUNS)]
            target = runs[0][2]
            had = {(member_id, *key) for member_id in task.members for key in _keys(task.previous.get(member_id, ()))}
            has = {(member_id, *key) for member_id, assignment in target.items() for key in _keys(assignment)}
            loads = sorted(sum(len(numbers) for _, numbers in assignment) for assignment in target.values())
            total = min(run[0] for run in runs)
            rows.append(
                (
                    assignor,
                    task.name,
                    f"{total:.0f}",
                    f"{min(run[1] for run in runs):.1f}",
                    f"{total / yardstick:.0f}",
                    f"{loads[0]}-{loads[-1]}",
                    len(had - has),
                )
            )
    print_table(("ASSIGNOR", "GROUP", "CPU MS", "LONGEST SLICE MS", "TIMES A PLAIN DEAL", "LOADS", "MOVED"), rows)


def _keys(assignment: Assignment) -> Iterator[tuple[TopicId, int]]:
    return ((topic_id, number) for topic_id, numbers in assignment for number in numbers)


if __name__ == "__main__":
    main()
