"""Mutations: the product with one rule switched off, which a simulation must notice, or it proves nothing.

A mutation is one or more edits of methods, written as what `diff` prints: lines that begin with `- ` are replaced by
those with `+ `, a blank line parts one place from the next, and how deep a place is indented does not matter. Each
place must be there exactly once, so a product that has moved on breaks its mutations loudly. New lines may call
`mutated()`, which is true, and counts: by `Activity.times` a test sees that the rule was really broken.
"""

from __future__ import annotations
import __future__

import contextlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

Scenario = Callable[[], tuple[str, ...]]
"""Runs a script in the simulated world, and returns what was violated."""


@dataclass(slots=True)
class Activity:
    """How often the mutated places were passed."""

    times: int = 0

    def mutated(self) -> bool:
        self.times += 1
        return True


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that stand together, and what stands there instead; indented relative to the first."""

    old: tuple[str, ...]
    new: tuple[str, ...]

    def applied_to(self, lines: Sequence[str], where: str) -> list[str]:
        wanted = [line.strip() for line in self.old]
        stripped = [line.strip() for line in lines]
        found = [at for at in range(len(lines)) if stripped[at : at + len(wanted)] == wanted]
        assert len(found) == 1, f"{where} has {len(found)} times: {wanted}"
        before, after = lines[: found[0]], lines[found[0] + len(wanted) :]
        first = lines[found[0]]
        indent = first[: len(first) - len(first.lstrip())]
        return [*before, *(indent + line for line in self.new), *after]


@dataclass(frozen=True, slots=True)
class Edit:
    """Changes one function, method or property, by its owner and name."""

    owner: type | ModuleType
    name: str
    hunks: tuple[Hunk, ...]

    @contextlib.contextmanager
    def applied(self, mutated: Callable[[], bool]) -> Iterator[None]:
        original = vars(self.owner)[self.name]
        changed = self._changed(original, mutated)
        owners = [self.owner] if isinstance(self.owner, type) else _importers(self.name, original)
        for owner in owners:
            setattr(owner, self.name, changed)
        try:
            yield
        finally:
            for owner in owners:
                setattr(owner, self.name, original)

    def _changed(self, original: Any, mutated: Callable[[], bool]) -> Any:
        """Returns what takes the original's place; it sees the same globals."""
        where = f"{self.owner.__name__}.{self.name}"
        function = original.fget if isinstance(original, property) else original
        assert isinstance(function, FunctionType), f"{where} is no function: {function}"
        lines = textwrap.dedent(inspect.getsource(function)).splitlines()
        for hunk in self.hunks:
            lines = hunk.applied_to(lines, where)
        source = "\n".join(["def outer(mutated):", *(f"    {line}" for line in lines), f"    return {self.name}"])
        flags = __future__.annotations.compiler_flag
        code = compile(source, f"<mutated {where}>", "exec", flags, dont_inherit=True)
        made: dict[str, Any] = {}
        exec(code, function.__globals__, made)
        return made["outer"](mutated)


@dataclass(frozen=True, slots=True)
class Mutation:
    """`rule` says where the rule stands, `says` what it says.

    What finds it is a `scenario` made for it, or a plan in `kept.toml` that a search found; or nothing, so far.
    """

    name: str
    rule: str
    says: str
    edits: tuple[Edit, ...]
    scenario: Scenario | None

    @contextlib.contextmanager
    def applied(self) -> Iterator[Activity]:
        """Breaks the rule for as long as it lasts."""
        activity = Activity()
        with contextlib.ExitStack() as stack:
            for one in self.edits:
                stack.enter_context(one.applied(activity.mutated))
            yield activity


def mutation(name: str, rule: str, says: str, *edits: Edit, scenario: Scenario | None = None) -> Mutation:
    return Mutation(name, rule, says, edits, scenario)


def edit(owner: type | ModuleType, name: str, diff: str) -> Edit:
    """Returns the edit that `diff` shows."""
    places = textwrap.dedent(diff).strip("\n").split("\n\n")
    return Edit(owner, name, tuple(_hunk(place.splitlines()) for place in places))


def _hunk(lines: Sequence[str]) -> Hunk:
    assert all(line.startswith(("- ", "+ ")) for line in lines), lines
    old = tuple(line[2:] for line in lines if line.startswith("-"))
    return Hunk(old, tuple(line[2:] for line in lines if line.startswith("+")))


def _importers(name: str, original: Any) -> list[ModuleType]:
    """Returns every module of the product that knows a function by this name."""
    modules = [module for path, module in sorted(sys.modules.items()) if path.startswith("dohle.")]
    return [module for module in modules if vars(module).get(name) is original]
