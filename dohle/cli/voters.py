"""`dohle cluster voters`: which controllers vote, and how that is changed while the cluster runs.

Every command says what it is about to do before it does it, and afterwards what is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dohle.cli.as_known import complain, describe_quorum
from dohle.cli.output import print_json, print_table
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option
from dohle.model.errors import InvalidRequest
from dohle.model.ids import id_text

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.values import QuorumDescription, QuorumReplica

T = TypeVar("T")


@click.group()
def voters() -> None:
    """See and change which controllers vote."""


def _ask(bootstrap: str, timeout_s: float, question: Callable[[Admin], Awaitable[T]]) -> T:
    async def ask() -> T:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-voters") as admin:
            return await question(admin)

    return run_async(ask())


@voters.command("list")
@bootstrap_option
@timeout_option
@json_option
def list_command(bootstrap: str, timeout_s: float, as_json: bool) -> int:
    """List the controllers: who votes, who learns, and how far each of them is.

    While no majority of them answers, what those that do say of themselves; exit code 1 then.
    """
    quorum, confirmed = _ask(bootstrap, timeout_s, describe_quorum)
    if not confirmed:
        complain(quorum, "what each of the others says of itself")
    if as_json:
        print_json({"confirmed": confirmed, **quorum_json(quorum)})
    else:
        print_table(*quorum_rows(quorum))
    return 0 if confirmed else 1


@voters.command()
@click.argument("node", type=int)
@bootstrap_option
@timeout_option
@json_option
def add(node: int, bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """Give the controller NODE a vote, once it has the metadata log.

    It has to run with the role controller, with a folder that `dohle format --join` has made.
    """

    async def do(admin: Admin) -> tuple[bool, QuorumDescription]:
        before = await admin.describe_quorum()
        count = len(before.voters) + 1
        found = next((one for one in before.learners if one.node_id == node), None)
        if found is not None and node not in [voter.node_id for voter in before.voters]:
            _say(
                as_json,
                f"adding node {node} ({found.address}, folder {id_text(found.directory_id)}) to the voters "
                f"{_numbers(before.voters)}: then {count // 2 + 1} of {count} have to agree",
            )
        return await admin.add_voter(node), await admin.describe_quorum()

    changed, after = _ask(bootstrap, timeout_s, do)
    _tell(as_json, changed, f"node {node} votes" if changed else f"node {node} had its vote already", after)


@voters.command()
@click.argument("node", type=int)
@bootstrap_option
@timeout_option
@json_option
def remove(node: int, bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """Take the vote of the controller NODE away; it may be down, and its disk lost."""

    async def do(admin: Admin) -> tuple[bool, QuorumDescription]:
        before = await admin.describe_quorum()
        left = [voter for voter in before.voters if voter.node_id != node]
        if left and len(left) < len(before.voters):
            decides = " it decides at the moment, and another will;" if node == before.leader_id else ""
            _say(
                as_json,
                f"removing node {node} from the voters {_numbers(before.voters)}:{decides} then {len(left) // 2 + 1} "
                f"of {len(left)} have to agree",
            )
        return await admin.remove_voter(node), await admin.describe_quorum()

    changed, after = _ask(bootstrap, timeout_s, do)
    _tell(as_json, changed, f"node {node} has no vote any more" if changed else f"node {node} had no vote", after)


@voters.command()
@click.argument("node", type=int, required=False)
@bootstrap_option
@timeout_option
@json_option
def transfer(node: int | None, bootstrap: str, timeout_s: float, as_json: bool) -> None:
    """Let the voter NODE be the active controller; without NODE, the one that is furthest."""

    async def do(admin: Admin) -> tuple[int, int, QuorumDescription]:
        before = await admin.describe_quorum()
        if node is None and len(before.voters) == 1:
            raise InvalidRequest(
                f"node {before.leader_id} is the only voter, so no other can decide: give one a vote first, with"
                " `dohle cluster voters add`"
            )
        whom = "the voter that is furthest" if node is None else f"node {node}"
        if node is None or (node != before.leader_id and node in [voter.node_id for voter in before.voters]):
            _say(as_json, f"handing over from node {before.leader_id}, which decides in term {before.term}, to {whom}")
        return before.leader_id, await admin.transfer_controller(node), await admin.describe_quorum()

    leader_before, leader, after = _ask(bootstrap, timeout_s, do)
    already = "" if leader != leader_before else " already"
    _tell(as_json, leader != leader_before, f"node {leader} decides{already}, in term {after.term}", after)


def quorum_rows(quorum: QuorumDescription) -> tuple[Sequence[str], list[Sequence[object]]]:
    """Returns columns and rows of a table of the controllers."""
    rows: list[Sequence[object]] = []
    for replica, votes in _with_votes(quorum):
        leads = replica.node_id == quorum.leader_id
        rows.append(
            (
                replica.node_id,
                id_text(replica.directory_id),
                str(replica.address),
                "active" if leads else "voter" if votes else "learner",
                "-" if replica.durable_end is None else replica.durable_end,
                "-" if replica.durable_end is None else max(0, quorum.log_end - replica.durable_end),
                "-" if leads else "no" if replica.silent_ms < 0 else f"{replica.silent_ms / 1000:.1f} s ago",
            )
        )
    return ("NODE", "FOLDER", "ADDRESS", "ROLE", "LOG END", "BEHIND", "ANSWERED"), rows


def quorum_json(quorum: QuorumDescription) -> dict[str, Any]:
    """Returns the controllers for scripts."""
    return {
        "leader_id": quorum.leader_id,
        "term": quorum.term,
        "committed_end": quorum.committed_end,
        "controllers": [
            {
                "node_id": replica.node_id,
                "directory_id": id_text(replica.directory_id),
                "address": str(replica.address),
                "votes": votes,
                "log_end": replica.durable_end,
                "silent_ms": replica.silent_ms,
            }
            for replica, votes in _with_votes(quorum)
        ],
    }


def _with_votes(quorum: QuorumDescription) -> list[tuple[QuorumReplica, bool]]:
    return [*((voter, True) for voter in quorum.voters), *((learner, False) for learner in quorum.learners)]


def _numbers(replicas: Sequence[QuorumReplica]) -> str:
    return ", ".join(str(replica.node_id) for replica in replicas)


def _say(as_json: bool, what: str) -> None:
    if not as_json:
        click.echo(what)


def _tell(as_json: bool, changed: bool, what: str, quorum: QuorumDescription) -> None:
    if as_json:
        print_json({"changed": changed, "quorum": quorum_json(quorum)})
    else:
        click.echo(f"{what}; the voters are {_numbers(quorum.voters)}")
