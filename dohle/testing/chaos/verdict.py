"""Verdict: what a run has shown. It stands in run.json, and is what a report says first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dohle.testing.history.anomalies import Anomaly
from dohle.testing.history.operations import Operation, micro_text

Outcome = Literal["anomalies", "failed", "void", "sound"]


@dataclass(frozen=True)
class Proof:
    """An operation that proves an anomaly. `what` tells it in words; `completed_s` is None if it never completed."""

    number: int
    process: str
    what: str
    outcome: str
    invoked_s: float
    completed_s: float | None


@dataclass(frozen=True)
class Finding:
    """An anomaly, as a file keeps it."""

    name: str
    what: str
    proof: tuple[Proof, ...]

    @classmethod
    def of(cls, anomaly: Anomaly) -> Finding:
        return cls(anomaly.name, anomaly.what, tuple(map(_proof_of, anomaly.proof)))


@dataclass(frozen=True)
class Verdict:
    """`failures`: the run could not be carried out as it should, each in a sentence. `void`: why it has shown nothing,
    as a fault without effect."""

    anomalies: tuple[Finding, ...] = ()
    failures: tuple[str, ...] = ()
    void: tuple[str, ...] = ()

    @classmethod
    def of(cls, anomalies: Iterable[Anomaly], failures: Iterable[str] = (), void: Iterable[str] = ()) -> Verdict:
        return cls(tuple(map(Finding.of, anomalies)), tuple(failures), tuple(void))

    @property
    def outcome(self) -> Outcome:
        """What it comes to: the worst that is true."""
        if self.anomalies:
            return "anomalies"
        if self.failures:
            return "failed"
        return "void" if self.void else "sound"

    def to_json(self) -> dict[str, Any]:
        return {"outcome": self.outcome, **asdict(self)}

    @classmethod
    def from_json(cls, verdict: Mapping[str, Any]) -> Verdict:
        findings = (
            Finding(found["name"], found["what"], tuple(Proof(**proof) for proof in found["proof"]))
            for found in verdict["anomalies"]
        )
        return cls(tuple(findings), tuple(verdict["failures"]), tuple(verdict["void"]))


def _proof_of(operation: Operation) -> Proof:
    return Proof(
        operation.number,
        operation.process,
        ", ".join(map(micro_text, operation.micro)),
        operation.outcome.value + (f" ({operation.why})" if operation.why else ""),
        operation.invoked_s,
        operation.completed_s,
    )
