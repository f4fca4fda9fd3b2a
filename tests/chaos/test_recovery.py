from __future__ import annotations

from math import inf

import pytest

from dohle.testing.chaos.report.happenings import Happening
from dohle.testing.chaos.report.recovery import Recoveries, by_kind, middle_and_worst


def fault(began_s: float, healed_s: float, name: str = "kill", step: int = 0) -> Happening:
    return Happening(step, name, {"nodes": [1]}, began_s, healed_s)


def write(recoveries: Recoveries, log: str, invoked_s: float, completed_s: float | None) -> None:
    recoveries.asked(log, invoked_s)
    if completed_s is not None:
        recoveries.acknowledged(log, invoked_s, completed_s)


def test_writes_work_everywhere_again_once_the_slowest_partition_acknowledged_what_was_asked_after_the_healing() -> (
    None
):
    recoveries = Recoveries([fault(10, 20)])
    write(recoveries, "a-0", 9.0, 9.1)
    write(recoveries, "a-1", 9.0, 9.2)
    write(recoveries, "a-0", 19.0, 21.0)  # was asked for before: says nothing of new ones
    write(recoveries, "a-0", 21.0, 21.5)
    write(recoveries, "a-1", 20.5, 23.0)
    write(recoveries, "a-1", 24.0, 24.1)
    (found,) = recoveries.of_each()
    assert found.recovered_s == pytest.approx(3.0)
    assert found.standstill_s == pytest.approx(13.8)
    assert found.never == ()


def test_a_partition_that_acknowledges_nothing_any_more_never_recovered() -> None:
    recoveries = Recoveries([fault(1, 2)])
    write(recoveries, "a-0", 3.0, 3.1)
    write(recoveries, "a-1", 3.0, None)
    (found,) = recoveries.of_each()
    assert found.never == ("a-1",)
    assert found.recovered_s is None


def test_a_partition_that_is_gone_is_not_waited_for() -> None:
    recoveries = Recoveries([fault(1, 2)])
    write(recoveries, "a-0", 3.0, 3.1)
    write(recoveries, "deleted-0", 3.0, None)
    (found,) = recoveries.of_each(living={"a-0"})
    assert found.never == ()
    assert found.recovered_s == pytest.approx(1.1)


def test_a_partition_to_which_nobody_wrote_afterwards_says_nothing() -> None:
    recoveries = Recoveries([fault(1, 2)])
    write(recoveries, "a-0", 0.5, 0.6)
    (found,) = recoveries.of_each()
    assert (found.recovered_s, found.standstill_s, found.never) == (None, None, ())


def test_a_gap_counts_for_every_fault_that_it_overlaps_and_for_no_other() -> None:
    recoveries = Recoveries([fault(1, 2), fault(4, 6), fault(5, 5.5), fault(9, 9.5)])
    for at_s in (0.5, 1.0, 1.5, 2.0, 3.0, 3.9, 7.0, 8.0, 9.2, 10.0):
        write(recoveries, "a-0", at_s - 0.1, at_s)
    stood = [found.standstill_s for found in recoveries.of_each()]
    assert stood == pytest.approx([0.5, 3.1, 3.1, 1.2])


def test_a_partition_that_never_acknowledged_anything_stood_still_from_its_first_write_to_its_last() -> None:
    recoveries = Recoveries([fault(1, 9)])
    write(recoveries, "a-0", 2.0, None)
    write(recoveries, "a-0", 8.0, None)
    (found,) = recoveries.of_each()
    assert found.standstill_s == pytest.approx(6.0)


def test_the_first_acknowledgement_ends_a_standstill_that_began_with_the_first_write() -> None:
    recoveries = Recoveries([fault(1, 9)])
    write(recoveries, "a-0", 2.0, 12.0)
    (found,) = recoveries.of_each()
    assert found.standstill_s == pytest.approx(10.0)


def test_a_fault_that_was_never_healed_has_a_standstill_and_no_recovery() -> None:
    recoveries = Recoveries([fault(1, inf)])
    write(recoveries, "a-0", 0.5, 0.6)
    write(recoveries, "a-0", 2.5, 2.6)
    (found,) = recoveries.of_each()
    assert (found.recovered_s, found.never) == (None, ())
    assert found.standstill_s == pytest.approx(2.0)


def test_kinds_have_the_recoveries_of_their_faults() -> None:
    recoveries = Recoveries([fault(1, 2), fault(3, 4, "pause"), fault(5, 6)])
    for at_s in (2.0, 4.0, 6.0):
        write(recoveries, "a-0", at_s, at_s + 0.5)
    kill, pause = by_kind(recoveries.of_each())
    assert (kill.fault, len(kill.recoveries), pause.fault) == ("kill", 2, "pause")
    assert middle_and_worst(kill.recovered_s) == (0.5, 0.5)
    assert middle_and_worst(()) is None
