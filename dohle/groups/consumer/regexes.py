"""Subscriptions by regular expression: which topics they mean, and when that is looked up again."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from dohle.groups.consumer.group import ConsumerGroup
from dohle.groups.outcome import Moment
from dohle.groups.records import MemberSubscription, ResolvedRegex
from dohle.groups.regex import Regex, compile_regex
from dohle.groups.state import ShardState
from dohle.model.group_errors import InvalidRegularExpression

_LEAST_INTERVAL_MS: Final = 10_000
"""Topics that come and go one by one set off one rebalance, not many."""

Resolving: TypeAlias = Generator[None, None, dict[str, ResolvedRegex]]
"""A look-up under way: each `next` is a slice of it, and it returns what each expression means."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What has become known: None of an expression that nobody has any more. `job`: what is yet to be looked up."""

    known: dict[str, ResolvedRegex | None]
    job: Resolving | None = None


class Regexes:
    """`topics_offset`: the metadata offset from which on the topics are those that there are now."""

    def __init__(self, state: ShardState) -> None:
        self.topics_offset = 0
        self._state = state

    def resolve(
        self, group: ConsumerGroup, before: MemberSubscription, after: MemberSubscription, moment: Moment
    ) -> Resolution:
        """Returns what a member's change leads to, and what it is time to look up again.

        Raises InvalidRegularExpression for a new one.
        """
        known: dict[str, ResolvedRegex | None] = {}
        wanted = set(group.regex_counts)
        if before.regex != after.regex:
            if before.regex and group.regex_counts.get(before.regex) == 1:
                wanted.discard(before.regex)
                if before.regex in group.regexes:
                    known[before.regex] = None
            if after.regex:
                compile_regex(after.regex)
                wanted.add(after.regex)
        due = self._due(group, wanted, moment)
        if not due:
            return Resolution(known)
        regexes = {text: _compiled(text) for text in due}
        names = sorted(self._state.image.topic_ids)
        job = _resolve(regexes, names, self._state.image.next_offset, moment.wall_ms)
        slices = sum(len(names) / regex.names_at_once for regex in regexes.values() if regex is not None)
        if slices > 1:
            return Resolution(known, job)
        return Resolution({**known, **finish(job)})

    def _due(self, group: ConsumerGroup, wanted: set[str], moment: Moment) -> list[str]:
        resolved = [group.regexes[regex] for regex in sorted(wanted) if regex in group.regexes]
        if resolved:
            age_ms = moment.wall_ms - max(each.resolved_ms for each in resolved)
            old = min(each.metadata_offset for each in resolved) < self.topics_offset
            if age_ms > self._state.settings.consumer_regex_refresh_interval_ms or (
                old and age_ms > _LEAST_INTERVAL_MS
            ):
                return sorted(wanted)
        return [regex for regex in sorted(wanted) if regex not in group.regexes]


def finish(job: Resolving) -> dict[str, ResolvedRegex]:
    """Does all of it."""
    while True:
        try:
            next(job)
        except StopIteration as end:
            resolved: dict[str, ResolvedRegex] = end.value
            return resolved


def _resolve(
    regexes: Mapping[str, Regex | None], names: Sequence[str], metadata_offset: int, wall_ms: int
) -> Resolving:
    resolved: dict[str, ResolvedRegex] = {}
    for text, regex in regexes.items():
        topics: list[str] = []
        if regex is not None:
            for begin in range(0, len(names), regex.names_at_once):
                topics += [name for name in names[begin : begin + regex.names_at_once] if regex.matches(name)]
                yield
        resolved[text] = ResolvedRegex(tuple(topics), metadata_offset, wall_ms)
    return resolved


def _compiled(text: str) -> Regex | None:
    """None: it is not one of ours, and stands in the log all the same; then it means nothing."""
    try:
        return compile_regex(text)
    except InvalidRegularExpression:
        return None
