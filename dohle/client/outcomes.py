"""Outcomes: what an answer says of one thing that was asked for, or that it says nothing."""

from __future__ import annotations

from typing import Any, TypeVar

from dohle.client.descriptions import error_in
from dohle.model.errors import (
    BrokerNotAvailable,
    DohleError,
    NetworkException,
    NotController,
    RequestTimedOut,
    ThrottlingQuotaExceeded,
    UnknownServerError,
)

Value = TypeVar("Value")


def is_of_the_way(failure: DohleError) -> bool:
    """Whether it says nothing of what was asked for."""
    return isinstance(
        failure, NetworkException | RequestTimedOut | NotController | BrokerNotAvailable | ThrottlingQuotaExceeded
    )


def only_failure(topics: Any, name: str) -> DohleError | None:
    return error_in(topics[0].failure) if topics else unanswered(name)


def unanswered(name: str) -> DohleError:
    return UnknownServerError(f"the answer says nothing of topic {name!r}")


def value_of(outcome: Value | DohleError) -> Value:
    if isinstance(outcome, DohleError):
        raise outcome
    return outcome


def raise_if(failure: DohleError | None) -> None:
    if failure is not None:
        raise failure
