"""`dohle log repair`: makes the replicas of a stopped node readable, with a copy kept of every file that changes."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from dohle.cli.output import print_json
from dohle.cli.session import json_option
from dohle.model.errors import DataFolderError

if TYPE_CHECKING:
    from dohle.storage.offline_repair import Plan


@click.command()
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option("--to", "up_to", type=click.IntRange(min=0), metavar="OFFSET", help="Cut one replica's log there.")
@click.option("--may-lead", is_flag=True, help="With --to: no other replica has more; let this one lead without it.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@json_option
def repair(folder: str, up_to: int | None, may_lead: bool, dry_run: bool, as_json: bool) -> int:
    """Make what lies in DIR readable: a stopped node's directory, or the folder of one replica in it.

    Files that can be made again are: indexes, epochs, producer snapshots. Records that cannot be read stay where they
    are, unless --to names the offset from which on they may go. A copy of each file that changes is kept beside the
    node's directory. Exit code 1 if something is still wrong.
    """
    if may_lead and up_to is None:
        raise click.UsageError("--may-lead is about a log that is cut: give --to as well")
    try:
        plans, kept = asyncio.run(_repaired(folder.rstrip("/") or "/", up_to, may_lead, dry_run))
    except DataFolderError as error:
        raise click.UsageError(error.message) from error
    except OSError as error:
        raise click.UsageError(f"{error.filename or folder}: {error.strerror or error}") from error
    is_sound = not any(plan.left or (plan.unreadable is not None and plan.lost is None) for plan in plans)
    if as_json:
        _print_json(folder, plans, kept, dry_run, is_sound)
    else:
        for plan in plans:
            _print(plan, dry_run)
        if kept is not None:
            click.echo(f"a copy of what was there is kept in {kept}")
        _print_summary(plans, dry_run, is_sound)
    return 0 if is_sound else 1


async def _repaired(folder: str, up_to: int | None, may_lead: bool, dry_run: bool) -> tuple[list[Plan], str | None]:
    """Returns what was or would be done, and where the copy is, None if nothing was changed."""
    from dohle.runtime.files import RealDisk
    from dohle.storage.data_folder import LOCK_FILE, META_FILE
    from dohle.storage.log_folder import parse_folder_name
    from dohle.storage.offline_repair import carry_out, plan_repair
    from dohle.storage.single_log import METADATA_LOG

    disk = RealDisk(threads=1)
    try:
        directory, _, name = folder.rpartition("/")
        if disk.exists(f"{folder}/{META_FILE}"):
            directory = folder
            found = [parse_folder_name(one) for one in disk.list(folder) if one != METADATA_LOG]
            keys = [key for key in found if key is not None]
            if up_to is not None:
                raise DataFolderError(f"--to is about one replica: give its folder in {folder}")
        else:
            directory, key = directory or ".", parse_folder_name(name)
            is_replica = key is not None and name != METADATA_LOG and disk.exists(f"{directory}/{META_FILE}")
            if key is None or not is_replica or not disk.exists(folder):
                raise DataFolderError(f"{folder} is neither a node's directory nor a replica's folder in one")
            keys = [key]
        try:
            lock = disk.lock(f"{directory}/{LOCK_FILE}")
        except BlockingIOError as error:
            raise DataFolderError(f"{directory} is in use by another process: stop that node first") from error
        try:
            plans = [await plan_repair(disk, directory, key, up_to=up_to, may_lead=may_lead) for key in keys]
            changing = [plan for plan in plans if plan.changes]
            if dry_run or not changing:
                return plans, None
            kept = f"{directory}.before-repair-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            if disk.exists(kept):
                raise DataFolderError(f"{kept} is there already: wait a second, and try again")
            await carry_out(disk, directory, changing, kept)
            return plans, kept
        finally:
            lock.release()
    finally:
        disk.close()


def _print(plan: Plan, dry_run: bool) -> None:
    for change in plan.changes:
        click.echo(f"{'would do: ' if dry_run else ''}{change}")
    if plan.unreadable is not None:
        bad = plan.unreadable
        click.echo(f"{bad.file}, byte {bad.position}: {bad.reason}")
        if plan.lost is None:
            click.echo(
                f"  it was left: another replica may have it. To go on without offsets {bad.first_offset} to"
                f" {bad.beyond - 1}, if nobody has: dohle log repair {plan.folder} --to {bad.first_offset}"
            )
    if plan.lost is not None:
        first, beyond = plan.lost
        click.echo(f"{plan.folder}: {'would be ' if dry_run else ''}LOST here: offsets {first} to {beyond - 1}")
    if not dry_run:
        for fault in plan.left:
            click.echo(f"still wrong: {fault.file}, byte {fault.position}: {fault.found}")


def _print_summary(plans: list[Plan], dry_run: bool, is_sound: bool) -> None:
    if is_sound:
        changes = sum(len(plan.changes) for plan in plans)
        click.echo("NOTHING TO DO" if not changes else "WOULD BE SOUND" if dry_run else "SOUND")
    else:
        click.echo("STILL DAMAGED")


def _print_json(folder: str, plans: list[Plan], kept: str | None, dry_run: bool, is_sound: bool) -> None:
    print_json(
        {
            "path": folder,
            "sound": is_sound,
            "dry_run": dry_run,
            "kept": kept,
            "replicas": [
                {
                    "folder": plan.folder,
                    "changes": plan.changes,
                    "unreadable": None if plan.unreadable is None else asdict(plan.unreadable),
                    "lost": None if plan.lost is None else {"first": plan.lost[0], "last": plan.lost[1] - 1},
                    "left": [asdict(fault) for fault in plan.left],
                }
                for plan in plans
                if plan.changes or plan.unreadable is not None or plan.left
            ],
        }
    )
