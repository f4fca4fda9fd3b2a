"""Progress: a line every few seconds on how far a long piece of work has come; none where it takes less."""

from __future__ import annotations

import logging

from dohle.runtime.clock import Clock

_INTERVAL_S = 2.0

log = logging.getLogger(__name__)


class Progress:
    """Of one piece of work. `line` has a place for a number."""

    def __init__(self, clock: Clock, line: str) -> None:
        self._clock = clock
        self._line = line
        self._said = clock.now()

    def is_at(self, number: int) -> None:
        """Takes note that the work has come so far."""
        now = self._clock.now()
        if now - self._said >= _INTERVAL_S:
            self._said = now
            log.info(self._line, number)
