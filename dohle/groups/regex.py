"""Subscriptions by regular expression (KIP-848): RE2's syntax, in time linear in the name, whatever members send."""

from __future__ import annotations

from typing import Final

import re2

from dohle.model.group_errors import InvalidRegularExpression

_MAX_MEMORY: Final = 256 * 1024
"""Bytes of a compiled expression: some 10,000 characters of alternatives, or eight classes of all letters there are."""

_STEPS_AT_ONCE: Final = 10_000
"""A long name takes a third of a microsecond or less for each instruction, where the expression is as bad as can be."""


class Regex:
    """One expression. It means the topics whose whole name it matches.

    `names_at_once`: how many can be matched without a rest, some milliseconds at most.
    """

    def __init__(self, text: str) -> None:
        """Raises InvalidRegularExpression."""
        options = re2.Options()
        options.max_mem = _MAX_MEMORY
        options.never_capture = True
        options.log_errors = False  # they are the client's, and it is told
        try:
            self._compiled = re2.compile(text, options)
        except UnicodeEncodeError:
            raise InvalidRegularExpression(f"{text[:100]!r} is no text that can be written in UTF-8") from None
        except re2.error as error:
            reason = error.args[0].decode("utf-8", "replace")
            raise InvalidRegularExpression(
                f"{text[:100]!r} is no regular expression in the syntax of RE2: {reason[:200]}"
            ) from None
        self.names_at_once = max(1, _STEPS_AT_ONCE // self._compiled.programsize)

    def matches(self, name: str) -> bool:
        # Bytes: of a text the library also counts where in it characters begin, which takes three times as long.
        return self._compiled.fullmatch(name.encode()) is not None


def compile_regex(text: str) -> Regex:
    """Returns the expression. Raises InvalidRegularExpression."""
    return Regex(text)
