"""Which software clients say that they are: as many as there may be, and never more."""

from __future__ import annotations

from dohle.listeners.kafka.clients import MOST_SOFTWARE, Software, SoftwareCounts


def test_names_that_are_made_up_come_and_go_while_those_in_use_stay() -> None:
    counts = SoftwareCounts()
    for _ in range(5):
        counts.count("librdkafka", "2.16.0")
    for number in range(10 * MOST_SOFTWARE):
        counts.count("x" * 1000, f"made-up-{number}")
    assert len(counts) == MOST_SOFTWARE
    told = dict(counts.in_order())
    assert told[Software("librdkafka", "2.16.0")] == 5
    assert counts.others + sum(told.values()) == 5 + 10 * MOST_SOFTWARE
    assert max(len(software.name) for software in told) == 50
