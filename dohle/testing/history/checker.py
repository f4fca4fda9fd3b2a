"""Checker: everything that is wrong with a history, however it came about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice

from dohle.testing.history import anomalies
from dohle.testing.history.anomalies import Anomaly
from dohle.testing.history.compacted import wrong_registers
from dohle.testing.history.consumption import Lag, consume_counts, worst_lag
from dohle.testing.history.cycles import cycles
from dohle.testing.history.ends import stale_ends
from dohle.testing.history.evidence import Evidence
from dohle.testing.history.final_read import brought_back, vanished
from dohle.testing.history.group_commits import lost_commits, stale_commits
from dohle.testing.history.group_reads import group_skips
from dohle.testing.history.operations import Operation
from dohle.testing.history.positions import misordered_polls, misordered_sends
from dohle.testing.history.uncollected import uncollected

MOST_OF_A_KIND = 10
"""So many anomalies are reported of each search: a broken log has them by the thousands."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a history shows. It is sound if there are no anomalies; the rest is told for its own sake."""

    anomalies: tuple[Anomaly, ...]
    worst_lag: Lag | None
    consume_counts: dict[int, int]  # by number of reads, how many values were read so often


@uncollected()
def judge(
    operations: Sequence[Operation], *, read_to_end: bool = True, starts: Mapping[str, int] | None = None
) -> Verdict:
    """Judges a history, in time linear to it.

    `read_to_end`: in the end a fresh process read all logs from their beginnings, so that what was acknowledged and
    never read is an anomaly, and what was read before and not then. `starts`: by log, what lies below was not retained.
    Raises InvalidRequest if a value was sent twice.
    """
    evidence = Evidence(operations, starts)
    found = chain.from_iterable(islice(search, MOST_OF_A_KIND) for search in _searches(evidence, read_to_end))
    return Verdict(tuple(found), worst_lag(evidence), consume_counts(evidence))


def _searches(evidence: Evidence, read_to_end: bool) -> Iterator[Iterator[Anomaly]]:
    of_a_log = [
        anomalies.lost_writes,
        *([anomalies.unseen] if read_to_end else []),
        anomalies.inconsistent_offsets,
        anomalies.duplicates,
        anomalies.aborted_reads,
    ]
    for search in of_a_log:
        yield chain.from_iterable(map(partial(search, evidence), evidence.logs))
    if read_to_end:
        yield vanished(evidence)
        yield brought_back(evidence)
    yield anomalies.precommitted_reads(evidence)
    yield misordered_polls(evidence)
    yield misordered_sends(evidence)
    yield stale_ends(evidence)
    yield group_skips(evidence)
    yield lost_commits(evidence)
    yield stale_commits(evidence)
    yield wrong_registers(evidence)
    yield cycles(evidence)
