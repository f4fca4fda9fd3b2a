"""`dohle group`: consumer groups, what they have and how far they are behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from dohle.cli.group_explain import explain
from dohle.cli.group_json import description_json, lag_json, listings_json
from dohle.cli.group_reset import reset
from dohle.cli.group_words import assignment_words, behind, known, lag_rows, member_name, records_behind, whole_lag
from dohle.cli.output import age, counted, print_json, print_table, reader_is_gone, time_text
from dohle.cli.session import bootstrap_option, check_seconds, json_option, run_async, timeout_option
from dohle.model.errors import DohleError

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.client.group_values import GroupDescription, GroupListings

T = TypeVar("T")

_LAG_COLUMNS = ("PARTITION", "COMMITTED", "END", "RECORDS BEHIND", "BEHIND FOR", "MEMBER")


@click.group()
def group() -> None:
    """See consumer groups, how far they are behind and why; reset or delete them."""


group.add_command(explain)
group.add_command(reset)


def _ask(bootstrap: str, timeout_s: float, question: Callable[[Admin], Awaitable[T]]) -> T:
    async def ask() -> T:
        from dohle.client.admin import Admin

        async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-group") as admin:
            return await question(admin)

    return run_async(ask())


@group.command("list")
@bootstrap_option
@timeout_option
@json_option
def list_command(bootstrap: str, timeout_s: float, as_json: bool) -> int:
    """List all groups, with their lags as they were measured a few seconds ago.

    Exit code 1 where some coordinator did not answer: its groups are missing.
    """
    return _show_listings(_ask(bootstrap, timeout_s, lambda admin: admin.list_groups()), as_json)


def _show_listings(found: GroupListings, as_json: bool) -> int:
    if as_json:
        print_json(listings_json(found))
    elif found.groups:
        rows = [
            (
                one.group_id,
                one.kind,
                one.state,
                one.members,
                one.coordinator,
                records_behind(one.lag_records, one.unknown_lags),
                behind(one.lag_ms),
            )
            for one in found.groups
        ]
        print_table(("GROUP", "TYPE", "STATE", "MEMBERS", "COORDINATOR", "RECORDS BEHIND", "BEHIND FOR"), rows)
    elif not found.silent:
        click.echo("There are no groups.")
    for node, error in found.silent.items():
        whose = "the groups that nobody coordinates" if node < 0 else f"the groups that broker {node} coordinates"
        click.echo(f"dohle: {whose} are missing: {error.message}", err=True)
    return 1 if found.silent else 0


@group.command()
@click.argument("names", nargs=-1, required=True, metavar="GROUP…")
@bootstrap_option
@timeout_option
@json_option
def describe(names: tuple[str, ...], bootstrap: str, timeout_s: float, as_json: bool) -> int:
    """Show groups: their members, who has which partition, what is committed, and how far they are behind.

    The lag is measured now: how many records a group has still to read, and how old the next of them is.
    """
    found = _ask(bootstrap, timeout_s, lambda admin: admin.describe_groups(names))
    if as_json:
        print_json([description_json(name, found[name]) for name in names])
    else:
        for name in names:
            _show_description(found[name])
    return _complained(found)


def _complained(found: dict[str, GroupDescription | DohleError]) -> int:
    """Says of which groups nothing is known, and returns the exit code."""
    failed = {name: one for name, one in found.items() if isinstance(one, DohleError)}
    for error in failed.values():
        click.echo(f"dohle: {error.message}", err=True)
    return 1 if failed else 0


def _show_description(found: GroupDescription | DohleError) -> None:
    if isinstance(found, DohleError):
        return
    click.echo(known(found))
    if found.members:
        rows = [
            (
                member_name(one),
                one.client_id,
                one.client_host.removeprefix("/"),
                assignment_words(one.assigned),
                "leads" if one.leads and not one.state else one.state,
            )
            for one in found.members
        ]
        click.echo()
        print_table(("MEMBER", "CLIENT", "HOST", "HAS", "STATE"), rows)
    if found.partitions:
        click.echo()
        print_table(_LAG_COLUMNS, lag_rows(found))
        click.echo()
        click.echo(whole_lag(found.partitions))
    click.echo()


@group.command()
@click.argument("names", nargs=-1, metavar="[GROUP]…")
@click.option("--watch", is_flag=True, help="Stay, and show it again and again; Ctrl-C ends.")
@click.option(
    "--interval",
    "interval_s",
    type=float,
    default=2.0,
    show_default=True,
    callback=check_seconds,
    metavar="SECONDS",
    help="How often, with --watch.",
)
@bootstrap_option
@timeout_option
@json_option
def lag(names: tuple[str, ...], watch: bool, interval_s: float, bootstrap: str, timeout_s: float, as_json: bool) -> int:
    """Show how far groups are behind, in records and in time; of all groups in one line each.

    Of groups that are named it is measured now, by partition. With --json and --watch, a line of JSON each time.
    """

    async def look(admin: Admin) -> int:
        if not names:
            return _show_listings(await admin.list_groups(), as_json)
        found = await admin.describe_groups(names)
        if as_json:
            print_json([lag_json(name, found[name]) for name in names])
        else:
            _show_lags(found, names)
        return _complained(found)

    async def watched(admin: Admin) -> int:
        while not reader_is_gone():
            began = time.monotonic()
            if not as_json:
                click.clear()
                click.echo(time_text(time.time_ns() // 1_000_000))
            try:
                await look(admin)
            except DohleError as error:  # which passes, mostly: a coordinator changes
                click.echo(f"dohle: {error.message}", err=True)
            await asyncio.sleep(max(0.0, began + interval_s - time.monotonic()))
        return 0

    return _ask(bootstrap, timeout_s, watched if watch else look)


def _show_lags(found: dict[str, GroupDescription | DohleError], names: Sequence[str]) -> None:
    for name in names:
        one = found[name]
        if isinstance(one, DohleError):
            continue
        click.echo(f"{name}: {one.state}, {counted(len(one.members), 'member')}, {whole_lag(one.partitions)}")
        if one.partitions:
            print_table(_LAG_COLUMNS, lag_rows(one))
        click.echo()


@group.command()
@click.argument("names", nargs=-1, required=True, metavar="GROUP…")
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
@bootstrap_option
@timeout_option
@json_option
def delete(names: tuple[str, ...], yes: bool, bootstrap: str, timeout_s: float, as_json: bool) -> int:
    """Delete groups without members, with the offsets that they have committed and their history.

    Says first what goes. A group that has members is refused, and named.
    """
    if as_json and not yes:
        raise click.UsageError("--json cannot ask: add --yes to delete")

    async def work(admin: Admin) -> dict[str, DohleError | None]:
        if not as_json:
            for name, one in (await admin.describe_groups(names)).items():
                if not isinstance(one, DohleError):
                    click.echo(f"{name}: {_what_goes(one)}")
        if not yes:
            click.confirm("Delete them? Nothing brings the offsets back.", abort=True, err=True)
        return await admin.delete_groups(names)

    outcomes = _ask(bootstrap, timeout_s, work)
    if as_json:
        print_json(
            [
                {"group": name, "deleted": error is None, "error": None if error is None else error.message}
                for name, error in outcomes.items()
            ]
        )
    for name, error in outcomes.items():
        if error is not None and not as_json:
            click.echo(f"dohle: {error.message}", err=True)
        elif not as_json:
            click.echo(f"deleted {name}")
    return int(any(error is not None for error in outcomes.values()))


def _what_goes(found: GroupDescription) -> str:
    offsets = sum(one.committed_offset is not None for one in found.partitions)
    words = f"{found.state}, offsets of {counted(offsets, 'partition')}"
    if found.members:
        return f"{words}, {counted(len(found.members), 'member')}"
    if found.empty_since_ms >= 0:
        return f"{words}, without members for {age((found.now_ms - found.empty_since_ms) / 1000)}"
    return words
