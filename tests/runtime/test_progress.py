"""Lines on how far a long piece of work has come."""

from __future__ import annotations

import pytest

from dohle.runtime.clock import LoopClock
from dohle.runtime.progress import Progress


class Clock(LoopClock):
    time = 0.0

    def now(self) -> float:
        return self.time


def test_long_work_says_every_few_seconds_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clock = Clock()
    progress = Progress(clock, "%d of 9 are done")
    for number in range(1, 10):
        clock.time += 0.7
        progress.is_at(number)
    assert caplog.messages == ["3 of 9 are done", "6 of 9 are done", "9 of 9 are done"]


def test_short_work_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    Progress(Clock(), "%d of 9 are done").is_at(9)
    assert not caplog.messages
