"""Run: all that a report tells, read from a run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any

from dohle.model.errors import InvalidRequest
from dohle.testing.chaos.report.clients import Clients, clients_of
from dohle.testing.chaos.report.happenings import Happenings, happenings_of
from dohle.testing.chaos.report.leaders import Leaders, leaders_of
from dohle.testing.chaos.report.lines import events_in
from dohle.testing.chaos.run_folder import RunFolder
from dohle.testing.chaos.verdict import Verdict


@dataclass(frozen=True)
class Run:
    """`about`: run.json. `verdict` is None as long as there is none. `notes`: what the folder lacks."""

    folder: RunFolder
    about: Mapping[str, Any]
    verdict: Verdict | None
    happenings: Happenings
    clients: Clients
    leaders: Leaders
    notes: tuple[str, ...]

    @property
    def ended_s(self) -> float:
        """When the last thing happened that is known of."""
        times = [self.clients.last_s, self.leaders.last_s, float(self.about.get("ended_s", 0.0))]
        times += [fault.healed_s if isfinite(fault.healed_s) else fault.began_s for fault in self.happenings.faults]
        times += [phase.at_s for phase in self.happenings.phases]
        return max(times)

    @property
    def begun_at(self) -> datetime:
        return datetime.fromisoformat(self.about["begun_at"])

    @property
    def nodes(self) -> list[int]:
        return sorted({*self.about["nodes"], *self.leaders.nodes})


def read_run(path: Path) -> Run:
    """Raises InvalidRequest where `path` holds no run, or what it holds cannot be read."""
    folder = RunFolder(path, 0.0)
    if not folder.run.exists():
        raise InvalidRequest(f"{path} holds no run: there is no {folder.run.name} in it")
    notes: list[str] = []
    try:
        about = json.loads(folder.run.read_text())
        verdict = Verdict.from_json(about["verdict"]) if "verdict" in about else None
        happenings = happenings_of(events_in(folder.events, notes))
        leaders = leaders_of(events_in(folder.state, notes))
        clients = clients_of(events_in(folder.history, notes), happenings, leaders.living)
        run = Run(folder, about, verdict, happenings, clients, leaders, tuple(notes))
        if run.begun_at.tzinfo is None:
            raise ValueError("begun_at does not say in which time zone")
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(f"the run in {path} cannot be told: {error!r}") from error
    return run
