"""`dohle group explain`: who is in a group, who has what, and what its last rebalances were about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dohle.cli.group_json import description_json
from dohle.cli.group_words import assignment_words, cause_words, held_up_words, known, member_name, whole_lag
from dohle.cli.output import age, counted, print_json, print_table, time_text
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option
from dohle.model.errors import DohleError

if TYPE_CHECKING:
    from dohle.client.group_values import GroupDescription, RebalanceDescription, RebalanceMember


@click.command()
@click.argument("name", metavar="GROUP")
@click.option(
    "-n",
    "--rebalances",
    "most",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="COUNT",
    help="How many rebalances to show, of the last 100.",
)
@bootstrap_option
@timeout_option
@json_option
def explain(name: str, most: int, bootstrap: str, timeout_s: float, as_json: bool) -> int:
    """Say who is in GROUP and has what, when it rebalanced last, how long that took, who set it off and why, and who
    held the others up.

    What has happened is kept with the group's offsets, and known to whichever broker coordinates it.
    """

    async def work() -> GroupDescription:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-group") as admin:
            found = (await admin.describe_groups([name], with_history=True))[name]
            if isinstance(found, DohleError):
                raise found
            return found

    found = run_async(work())
    if as_json:
        print_json(_to_json(found))
    else:
        _show(found, most)
    return 0


def _show(found: GroupDescription, most: int) -> None:
    click.echo(known(found))
    if found.partitions:
        click.echo(whole_lag(found.partitions))
    for one in found.members:
        state = f"; {one.state}" if one.state else ""
        leads = ", which shares the partitions out," if one.leads else ""
        client = f"{one.client_id} at {one.client_host.removeprefix('/')}"
        click.echo(f"  {member_name(one)} ({client}){leads} has {assignment_words(one.assigned)}{state}")
    click.echo()
    if not found.rebalances:
        click.echo("It has not rebalanced, as far as is known.")
        return
    newest = found.rebalances[-1]
    click.echo(f"{_when(found, newest)}: {cause_words(newest)}")
    held_up = held_up_words(newest)
    if held_up != "-":
        click.echo(f"who held it up: {held_up}")
    click.echo()
    shown = found.rebalances[-most:]
    rows = [
        (
            one.number,
            time_text(one.began_ms),
            "under way" if one.ended_ms is None else age((one.ended_ms - one.began_ms) / 1000),
            "-" if one.ended_ms is None else one.epoch,
            "-" if one.ended_ms is None else one.members,
            cause_words(one),
            held_up_words(one),
        )
        for one in shown
    ]
    print_table(("NUMBER", "BEGAN", "TOOK", "EPOCH", "MEMBERS", "WHY", "WHO HELD IT UP"), rows)
    if len(shown) < len(found.rebalances):
        click.echo(f"{counted(len(found.rebalances) - len(shown), 'older one')} not shown: --rebalances says how many")


def _when(found: GroupDescription, one: RebalanceDescription) -> str:
    ago = age((found.now_ms - one.began_ms) / 1000)
    if one.ended_ms is None:
        return f"it has been rebalancing for {ago}, since {time_text(one.began_ms)}"
    took = age((one.ended_ms - one.began_ms) / 1000)
    return f"its last rebalance began {time_text(one.began_ms)} ({ago} ago) and took {took}"


def _to_json(found: GroupDescription) -> dict[str, Any]:
    return {
        **description_json(found.group_id, found),
        "now_ms": found.now_ms,
        "rebalances": [
            {
                "number": one.number,
                "cause": one.cause,
                "who": _member_json(one.who),
                "detail": one.detail or None,
                "silent_ms": one.silent_ms,
                "began_ms": one.began_ms,
                "ended_ms": one.ended_ms,
                "epoch": one.epoch if one.ended_ms is not None else None,
                "members": one.members if one.ended_ms is not None else None,
                "last": _member_json(one.last),
                "last_ms": one.last_ms,
                "removed": [_member_json(member) for member in one.removed],
                "more_removed": one.more_removed,
                "in_words": cause_words(one),
            }
            for one in found.rebalances
        ],
    }


def _member_json(one: RebalanceMember | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "member_id": one.member_id,
        "instance_id": one.instance_id or None,
        "client_id": one.client_id,
        "client_host": one.client_host,
    }
