"""The loggers of this node's process as resources of Kafka's: their levels are described and changed (KIP-412).

What is changed lasts until the process ends. Kafka's levels that Python has not are between or beyond its own: TRACE is
below DEBUG, FATAL is CRITICAL. All nodes that share a process share its loggers.
"""

from __future__ import annotations

import logging
from typing import Final

from dohle.model.errors import InvalidConfig, InvalidRequest

ROOT: Final = "root"
_LEVELS: Final = {
    "TRACE": 5,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
}

log = logging.getLogger(__name__)


def levels() -> dict[str, str]:
    """Returns the level at which each logger works, by its own or that of the loggers above it."""
    found = {ROOT: _name_of(logging.getLogger().level)}
    for name, logger in sorted(logging.getLogger().manager.loggerDict.items()):
        if isinstance(logger, logging.Logger):  # else it stands only for what is below it
            found[name] = _name_of(logger.getEffectiveLevel())
    return found


def check(name: str, level: str | None) -> None:
    """Raises InvalidConfig or InvalidRequest unless the logger can have this level; None: none of its own."""
    if name != ROOT and not isinstance(logging.getLogger().manager.loggerDict.get(name), logging.Logger):
        raise InvalidConfig(f"Logger {name} does not exist!")
    if level is None and name == ROOT:
        raise InvalidRequest(f"Removing the log level of the {ROOT} logger is not allowed")
    if level is not None and level not in _LEVELS:
        raise InvalidConfig(
            f"Cannot set the log level of {name} to {level} as it is not a supported log level. Valid log levels are"
            f" {', '.join(sorted(_LEVELS))}"
        )


def change(name: str, level: str | None) -> None:
    """Sets what was checked."""
    logger = logging.getLogger() if name == ROOT else logging.getLogger(name)
    logger.setLevel(logging.NOTSET if level is None else _LEVELS[level])
    log.warning("a Kafka client has set the log level of %s to %s", name, level or "that of the loggers above it")


def _name_of(number: int) -> str:
    """Returns the most severe of Kafka's levels that lets through what this one does."""
    at_most = [name for name, least in _LEVELS.items() if least <= number]
    return at_most[-1] if at_most else "TRACE"
