"""While no majority of the controllers answers: what is left to tell, and who has to be started.

A command asks for what a majority confirms. If that takes long, it asks who of the controllers answers; where those are
too few it tells what they know by themselves, says on stderr that it does and why, and ends with exit code 1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dohle.cli.output import counted
from dohle.model.errors import BrokerNotAvailable, DohleError, NetworkException, RequestTimedOut

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import ClusterDescription, QuorumDescription, QuorumReplica

T = TypeVar("T")

_LOOK_EVERY_S = 1.5
_BROKER_S = 5.0
_LOOKS = 2  # in a row, since one may come just while a node starts


class NoMajority(BrokerNotAvailable):
    """Too few controllers answer, or none decides; `quorum` is what those that answer know."""

    def __init__(self, quorum: QuorumDescription) -> None:
        super().__init__(no_majority_words(quorum))
        self.quorum = quorum


async def confirmed(admin: Admin, question: Coroutine[Any, Any, T]) -> T:
    """Returns the answer to `question`, which a majority of the controllers has to confirm. Raises NoMajority."""
    asking = asyncio.create_task(question)
    try:
        quorum = await _majority_missed(admin, asking)
        if quorum is None:
            return await asking
    except (RequestTimedOut, NetworkException, BrokerNotAvailable):
        quorum = await _as_known(admin)
        if quorum is None:
            raise
    finally:
        asking.cancel()
    raise NoMajority(quorum)


async def _majority_missed(admin: Admin, asking: asyncio.Task[Any]) -> QuorumDescription | None:
    """Returns once too few controllers answer, and which, or None once there is an answer."""
    without = 0
    while not asking.done():
        await asyncio.wait([asking], timeout=_LOOK_EVERY_S)
        if not asking.done():
            quorum = await _as_known(admin)
            without = without + 1 if quorum is not None and missing_voters(quorum) > 0 else 0
            if without == _LOOKS:
                return quorum
    return None


async def _as_known(admin: Admin) -> QuorumDescription | None:
    try:
        return await admin.describe_quorum(as_known=True)
    except DohleError:  # no node answers
        return None


async def describe_quorum(admin: Admin) -> tuple[QuorumDescription, bool]:
    """Returns the controllers, and whether a majority of them confirms that."""
    try:
        return await confirmed(admin, admin.describe_quorum()), True
    except NoMajority as error:
        return error.quorum, False


async def cluster_as_known(admin: Admin) -> ClusterDescription | None:
    """Returns the cluster as a broker has it; None if each that answers has started since, and knows nothing yet."""
    try:
        async with asyncio.timeout(_BROKER_S):
            return await admin.describe_cluster()
    except (DohleError, TimeoutError):
        return None


def missing_voters(quorum: QuorumDescription) -> int:
    """Returns how many more controllers have to answer before anything is decided."""
    answering = sum(voter.silent_ms >= 0 for voter in quorum.voters)
    return max(0, len(quorum.voters) // 2 + 1 - answering)


def complain(quorum: QuorumDescription, what_is_shown: str) -> None:
    """Says why nothing is confirmed, and what is shown in place of that."""
    click.echo(f"dohle: {no_majority_words(quorum)}\ndohle: shown is {what_is_shown}, which may be old", err=True)


def no_majority_words(quorum: QuorumDescription) -> str:
    """Returns which voters do not answer, and how many of them have to."""
    if not quorum.voters:
        return "no active controller answers, and which controllers vote is not known here"
    silent = [voter for voter in quorum.voters if voter.silent_ms < 0]
    missing = missing_voters(quorum)
    if not missing:
        answer = f"{len(quorum.voters) - len(silent)} of the {counted(len(quorum.voters), 'voter')} answer"
        if quorum.leader_id >= 0:
            return f"{answer}, and node {quorum.leader_id} is to decide, but has not; ask again"
        return f"{answer}, but none decides: they may be electing one, or not reach each other; ask again"
    few = "it" if len(silent) == 1 else "one of them" if missing == 1 else f"{missing} of them"
    return (
        f"no majority of the controllers answers: {len(quorum.voters) // 2 + 1} of {len(quorum.voters)} have to,"
        f" and {_named(silent)} {'does' if len(silent) == 1 else 'do'} not: start {few}"
    )


def _named(voters: Sequence[QuorumReplica]) -> str:
    return " and ".join(f"{voter.node_id} ({voter.address})" for voter in voters)
