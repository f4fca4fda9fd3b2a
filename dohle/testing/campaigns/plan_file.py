"""Plan files: a run as text, so that it can be replayed after the way in which seeds draw their plans has changed.

A file holds a plan and, for comparison, what became of it when the file was written. Kept runs are a TOML file of such
plans, each with a name and one line on what it once found. The text is read and written elsewhere.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from typing import Any

from dohle.model.errors import ConfigurationError
from dohle.testing.campaigns.json_values import from_json, to_json
from dohle.testing.campaigns.plan import Plan
from dohle.testing.campaigns.simulation import RunOutcome

FORMAT = "dohle simulation"
VERSION = 1
"""Of plans. It changes with their fields' meaning; a new kind of fault alone is no new version."""


@dataclass(frozen=True, slots=True)
class SavedRun:
    """What a plan file says."""

    plan: Plan
    trace_hash: str
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run that found a bug once."""

    name: str
    found: str  # what the bug was
    plan: Plan


def plan_text(plan: Plan) -> str:
    """Returns the plan as JSON, a line for each fault."""
    fields = to_json(plan)
    faults = ",\n  ".join(json.dumps(fault) for fault in fields["faults"])
    fields["faults"] = []
    return json.dumps(fields).replace('"faults": []', f'"faults": [\n  {faults}]' if faults else '"faults": []')


def run_text(outcome: RunOutcome, log: tuple[str, ...] = ()) -> str:
    """Returns the text of a plan file: the plan, and what became of it."""
    parts: dict[str, Any] = {"format": FORMAT, "version": VERSION, **to_json(outcome), "log": list(log)}
    parts.pop("plan")
    lines = [f"{json.dumps(name)}: {_list_text(value)}" for name, value in parts.items()]
    return "{\n" + ",\n".join([*lines, f'"plan": {plan_text(outcome.plan)}']) + "\n}\n"


def _list_text(value: Any) -> str:
    """A line for each item of a list, so that people can read a timeline in the file."""
    if not isinstance(value, list) or not value:
        return json.dumps(value, ensure_ascii=False)
    return "[\n  " + ",\n  ".join(json.dumps(item, ensure_ascii=False) for item in value) + "\n]"


def read_run(text: str, name: str) -> SavedRun:
    """Returns what the plan file called `name` says. Raises ConfigurationError."""
    try:
        parts = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{name} is no plan file: {error}") from None
    if not isinstance(parts, dict) or parts.get("format") != FORMAT:
        raise ConfigurationError(f"{name} is no plan file: `dohle sim run` and `dohle sim shrink` write such files")
    _check_version(parts.get("version"), name)
    return SavedRun(
        plan=_read_plan(parts.get("plan"), f"{name}: plan"),
        trace_hash=from_json(str, parts.get("trace_hash", ""), f"{name}: trace_hash"),
        violations=from_json(tuple[str, ...], parts.get("violations", []), f"{name}: violations"),
    )


def read_kept(text: str, name: str) -> dict[str, KeptRun]:
    """Returns the kept runs of a TOML file by their names. Raises ConfigurationError."""
    try:
        parts = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name} is no file of kept runs: {error}") from None
    _check_version(parts.get("version"), name)
    kept: dict[str, KeptRun] = {}
    for fields in parts.get("run", []):
        run = from_json(_KeptText, fields, f"{name}: run")
        if run.name in kept:
            raise ConfigurationError(f"{name}: two runs are called {run.name!r}")
        try:
            plan = json.loads(run.plan)
        except ValueError as error:
            raise ConfigurationError(f"{name}: the plan of {run.name!r} is no JSON: {error}") from None
        kept[run.name] = KeptRun(run.name, run.found, _read_plan(plan, f"{name}: {run.name}: plan"))
    return kept


def kept_text(run: KeptRun) -> str:
    """Returns the run as the TOML that `read_kept` reads, to be put at the end of such a file."""
    return (
        f"[[run]]\nname = {json.dumps(run.name)}\nfound = {json.dumps(run.found, ensure_ascii=False)}\n"
        f"plan = '''\n{plan_text(run.plan)}\n'''\n"
    )


@dataclass(frozen=True, slots=True)
class _KeptText:
    name: str
    found: str
    plan: str


def _read_plan(value: Any, where: str) -> Plan:
    plan = from_json(Plan, value, where)
    node_ids = [node.node_id for node in plan.topology.nodes]
    for index, fault in enumerate(plan.faults):
        if fault.node_id not in node_ids:
            known = ", ".join(map(str, node_ids))
            raise ConfigurationError(f"{where}.faults[{index}]: there is no node {fault.node_id}; there are {known}")
    return plan


def _check_version(version: object, name: str) -> None:
    if version != VERSION:
        raise ConfigurationError(f"{name} is of version {version!r}, and this Dohle reads version {VERSION}")
