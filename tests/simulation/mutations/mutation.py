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
        function = original.fget if isinstance(original, property) else original
        assert isinstance(function, FunctionType), f"{self._where} is no function: {function}"
        changed = self._changed(function, mutated)
        if isinstance(self.owner, type):
            setattr(self.owner, self.name, changed)
            try:
                yield
            finally:
                setattr(self.owner, self.name, original)
        else:  # in place: many may have imported it, or hold it themselves
            assert not hasattr(function, "__wrapped__"), f"{self._where} is decorated"
            code, outside = function.__code__, function.__globals__
            assert outside.setdefault("mutated", mutated) is mutated, f"{outside['__name__']} has a name 'mutated'"
            function.__code__ = changed.__code__
            try:
                yield
            finally:
                function.__code__ = code
                outside.pop("mutated", None)

    @property
    def _where(self) -> str:
        return f"{self.owner.__name__}.{self.name}"

    def _changed(self, function: FunctionType, mutated: Callable[[], bool]) -> Any:
        """Returns what takes the original's place, a property with its decorator; it sees the same globals."""
        lines = textwrap.dedent(inspect.getsource(function)).splitlines()
        for hunk in self.hunks:
            lines = hunk.applied_to(lines, self._where)
        if isinstance(self.owner, type):
            lines = ["def outer(mutated):", *(f"    {line}" for line in lines), f"    return {self.name}"]
        flags = __future__.annotations.compiler_flag
        code = compile("\n".join(lines), f"<mutated {self._where}>", "exec", flags, dont_inherit=True)
        made: dict[str, Any] = {}
        exec(code, function.__globals__, made)
        return made["outer"](mutated) if isinstance(self.owner, type) else made[self.name]


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
