"""Schedule: which faults happen when, drawn from a seed, and kept as a file that can be edited and run again.

A seed draws its own mix (swarm): which kinds, how often each, how long the quiet between them, and whether a second
fault may join the first. What joins takes no node away, so that a majority stays; what destroys stands alone. The
runner holds to the latter even where a step comes later than it was to.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from dohle.model.errors import ConfigurationError
from dohle.testing.chaos.fault import Arguments, Fault, Kinds

_FORMAT = 1
_FIRST_S = 3.0  # so long nothing is wrong, for what follows to be compared with
_LEAST_KINDS = 3
_MOST_WEIGHT = 3
_QUIET_S = (1.0, 6.0)
_MOST_STEPS = 10_000


@dataclass(frozen=True)
class Step:
    """One fault: it begins at `at_s`, counted from the run's begin, and is healed `for_s` later."""

    at_s: float
    for_s: float
    fault: str
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True)
class Schedule:
    """Steps by when they begin. `seconds`: how long the clients work; all steps are healed by then."""

    seed: int
    nodes: tuple[int, ...]
    seconds: float
    steps: tuple[Step, ...]

    def save(self, path: Path) -> None:
        steps = [dataclasses.asdict(step) for step in self.steps]
        fields = {"format": _FORMAT, "seed": self.seed, "nodes": self.nodes, "seconds": self.seconds, "steps": steps}
        path.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path, kinds: Kinds, nodes: Sequence[int]) -> Schedule:
        """Returns the schedule in a file, for a world of `nodes`.

        Raises ConfigurationError, which says where it is wrong: no JSON, an unknown fault, a node that is not there.
        """
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigurationError(f"{path} is no schedule: it is no JSON ({error})") from None
        try:
            return _from_json(fields, kinds, tuple(nodes))
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error.message}") from None


def draw(seed: int, nodes: Sequence[int], kinds: Mapping[str, type[Fault]], seconds: float, swarm: bool) -> Schedule:
    """Returns what a seed draws from `kinds`; the same for the same arguments. `swarm`: from some of them alone.

    Raises ConfigurationError if nothing can happen in so short a time.
    """
    chance = Random(f"{seed} of chaos")
    names = sorted(kinds)
    if not names:
        raise ConfigurationError("there is no fault that this world has the means for")
    if swarm and len(names) > _LEAST_KINDS:
        names = sorted(chance.sample(names, chance.randint(_LEAST_KINDS, len(names))))
    quiet_s = chance.uniform(*_QUIET_S)
    steps = _track(chance, nodes, {name: kinds[name] for name in names}, seconds, quiet_s)
    weather = {name: kinds[name] for name in names if not (kinds[name].takes_nodes or kinds[name].destroys)}
    if weather and len(names) > 1 and chance.random() < 0.5:
        alone = [step for step in steps if kinds[step.fault].destroys]
        joining = _track(chance, nodes, weather, seconds, quiet_s)
        steps += [step for step in joining if not any(_overlap(step, other) for other in alone)]
    if not steps:
        raise ConfigurationError(f"in {seconds:g} s no fault begins and heals: have it run longer")
    return Schedule(seed, tuple(nodes), seconds, tuple(sorted(steps, key=lambda step: step.at_s)))


def _track(
    chance: Random, nodes: Sequence[int], kinds: Mapping[str, type[Fault]], seconds: float, quiet_s: float
) -> list[Step]:
    """Returns one fault after the other. Each kind has its turn before one has it again more often than it weighs."""
    bag = [name for name in kinds for _ in range(chance.randint(1, _MOST_WEIGHT))]
    rounds: list[str] = []
    steps: list[Step] = []
    at_s = _FIRST_S + chance.expovariate(1 / quiet_s)
    while True:
        if not rounds:
            firsts, rest = list(kinds), list(bag)
            for name in firsts:
                rest.remove(name)
            chance.shuffle(firsts)
            chance.shuffle(rest)
            rounds = [*rest, *firsts]  # taken from its end
        kind = kinds[rounds.pop()]
        for_s = round(chance.uniform(*kind.lasts_s), 3)
        if at_s + for_s > seconds:
            return steps
        steps.append(Step(round(at_s, 3), for_s, kind.name, kind.draw(chance, tuple(nodes))))
        at_s += for_s + quiet_s / 2 + chance.expovariate(2 / quiet_s)


def _overlap(one: Step, other: Step) -> bool:
    return one.at_s < other.at_s + other.for_s and other.at_s < one.at_s + one.for_s


def _from_json(fields: Any, kinds: Kinds, nodes: tuple[int, ...]) -> Schedule:
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        raise ConfigurationError(f"this is no schedule of format {_FORMAT}")
    steps, seed = fields.get("steps"), fields.get("seed", 0)
    if type(seed) is not int:
        raise ConfigurationError(f"seed is {seed!r}: expected a whole number")
    if not isinstance(steps, list) or len(steps) > _MOST_STEPS:
        raise ConfigurationError(f"steps: expected a list of at most {_MOST_STEPS} faults")
    read = [_step(number, step, kinds, nodes) for number, step in enumerate(steps)]
    ends_s = max((step.at_s + step.for_s for step in read), default=0.0)
    seconds = _seconds("seconds", fields.get("seconds", ends_s))
    if seconds < ends_s:
        raise ConfigurationError(f"a step ends {ends_s:g} s after the begin, and the run after {seconds:g} s")
    return Schedule(seed, nodes, seconds, tuple(sorted(read, key=lambda step: step.at_s)))


def _step(number: int, fields: Any, kinds: Kinds, nodes: tuple[int, ...]) -> Step:
    if not isinstance(fields, dict) or not fields.keys() <= {"at_s", "for_s", "fault", "arguments"}:
        raise ConfigurationError(f"step {number}: expected at_s, for_s, fault and arguments, and there is {fields!r}")
    name, arguments = fields.get("fault"), fields.get("arguments", {})
    where = f"step {number} ({name})"
    try:
        kind = kinds.named(str(name))
        at_s, for_s = (_seconds(key, fields.get(key)) for key in ("at_s", "for_s"))
        if not isinstance(arguments, dict):
            raise ConfigurationError(f"arguments are {arguments!r}: expected them by name")
        _check_arguments(kind, arguments, nodes)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error.message}") from None
    return Step(at_s, for_s, kind.name, arguments)


def _seconds(what: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < 1e7:
        raise ConfigurationError(f"{what} is {value!r}: expected seconds")
    return float(value)


def _check_arguments(kind: type[Fault], arguments: Mapping[str, Any], nodes: tuple[int, ...]) -> None:
    """Holds arguments beside such as a seed might have drawn: the same names, values of the same types."""
    drawn = kind.draw(Random(0), nodes)
    if arguments.keys() != drawn.keys():
        expected, given = (", ".join(sorted(some)) or "none" for some in (drawn, arguments))
        raise ConfigurationError(f"its arguments are {expected}, and given are {given}")
    for name, value in arguments.items():
        if not _alike(value, drawn[name]):
            raise ConfigurationError(f"{name} is {value!r}: expected something like {drawn[name]!r}")
    for link in arguments.get("links", ()):
        if len(link) != 2 or link[0] == link[1]:
            raise ConfigurationError(f"{link!r} is no link: expected two nodes, who sends and who hears")
    named = [*arguments.get("nodes", ()), *(node for link in arguments.get("links", ()) for node in link)]
    if unknown := sorted({node for node in named if node not in nodes}):
        there = ", ".join(map(str, nodes))
        raise ConfigurationError(f"there is no node {unknown[0]}: the cluster has {len(nodes)} ({there})")


def _alike(value: Any, drawn: Any) -> bool:
    if isinstance(drawn, list | tuple):
        return isinstance(value, list | tuple) and all(_alike(one, drawn[0]) for one in value if drawn)
    if type(drawn) in (int, float):
        return type(value) in (int, float) and (type(drawn) is float or type(value) is int)
    return type(value) is type(drawn)
