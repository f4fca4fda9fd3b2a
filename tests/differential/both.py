"""A real Apache Kafka and a real Dohle node, both on this machine, and the cases asked of both."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.differential.cases import Case
from tests.differential.comparison import Difference, Listed, Outcome, compare
from tests.differential.sides import Side
from tests.integration.clusters import Cluster
from tools.foreign.kafka import KafkaNodes

PREFIX = "both"
ALONE = {
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.consumer.assignment.interval.ms": 0,
    "group.consumer.assignor.offload.enable": "false",
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 1,
}
"""What Kafka's node needs where there is no other."""
SHORT, FULL = 1, 1 << 10
"""In how many of its versions a case is asked at most."""


@dataclass(slots=True)
class Findings:
    """What came of all cases."""

    outcomes: list[Outcome] = field(default_factory=list)
    explained: Counter[str] = field(default_factory=Counter)  # by the name of what is listed
    unexplained: list[Difference] = field(default_factory=list)
    not_served: Counter[int] = field(default_factory=Counter)  # cases by the key of an API that Dohle lacks
    misjudged: list[str] = field(default_factory=list)

    def gone(self, known: Sequence[Listed]) -> list[str]:
        """Returns which of the listed differences showed nowhere."""
        return [one.name for one in known if not self.explained[one.name]]


@contextlib.contextmanager
def both_sides(folder: Path) -> Iterator[tuple[Side, Side]]:
    """Yields Kafka and Dohle, one node each."""
    cluster = Cluster(folder / "dohle", nodes=1)
    try:
        with KafkaNodes(folder, 1, ALONE, standalone=True, niceness=5) as node:
            node.start()
            node.until_listening()
            cluster.up()
            kafka = Side("Kafka", node.port(1), PREFIX)
            dohle = Side("Dohle", cluster.kafka_port(1), PREFIX)
            kafka.open()
            dohle.open()
            yield kafka, dohle
            kafka.close()
            dohle.close()
    finally:
        cluster.end()


def ask_both(
    cases: Sequence[Case], sides: tuple[Side, Side], known: Sequence[Listed], *, most_versions: int
) -> Findings:
    """Asks every case in at most so many of its versions: with one alone, each case in another place of its own."""
    kafka, dohle = sides
    findings = Findings()
    for number, case in enumerate(cases):
        if case.key not in dohle.served:
            findings.not_served[case.key] += 1
            continue
        for version in _chosen(case.versions, most_versions, number):
            outcome = compare(case, version, kafka, dohle)
            findings.outcomes.append(outcome)
            _judge(outcome, known, findings)
    return findings


def _chosen(versions: Sequence[int], most: int, number: int) -> Sequence[int]:
    if len(versions) <= most:
        return versions
    return sorted({versions[(number + step * len(versions) // most) % len(versions)] for step in range(most)})


def _judge(outcome: Outcome, known: Sequence[Listed], findings: Findings) -> None:
    if outcome.was_refused == outcome.case.is_good:
        found = outcome.kafka.codes() if outcome.kafka.state == "open" else f"the connection is {outcome.kafka.state}"
        findings.misjudged.append(
            f"{outcome.case}, version {outcome.version}, is called {'good' if outcome.case.is_good else 'bad'}: {found}"
        )
    for difference in outcome.differences:
        names = [one.name for one in known if one.is_about(difference)]
        if names:
            findings.explained[names[0]] += 1
        else:
            findings.unexplained.append(difference)
