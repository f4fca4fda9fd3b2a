"""`dohle log verify`: whether all files of a node, or of one replica, are what the format says; changes nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from dohle.cli.output import counted, print_json, size_text
from dohle.cli.session import json_option
from dohle.model.errors import DataFolderError

if TYPE_CHECKING:
    from dohle.storage.verify.report import Fault, Note, Report


@click.command()
@click.argument("folder", type=click.Path(), metavar="DIR")
@json_option
def verify(folder: str, as_json: bool) -> int:
    """Check every file in DIR: a node's directory, or the folder of one replica in it.

    Reads everything, changes nothing, and works whether the node runs or not; what it is just writing is no damage.
    Exit code 1 if something is damaged, with file, byte, and what it means.
    """
    from dohle.cluster.verification import verify as verify_folder
    from dohle.runtime.read_only import ReadOnlyDisk

    reports: list[Report] = []

    async def work() -> None:
        disk = ReadOnlyDisk(threads=1)
        try:
            async for report in verify_folder(disk, folder):
                reports.append(report)
                if not as_json:
                    _print(report)
        finally:
            disk.close()

    began = time.monotonic()
    try:
        asyncio.run(work())
    except DataFolderError as error:
        raise click.UsageError(error.message) from error
    seconds = time.monotonic() - began
    if as_json:
        _print_json(folder, reports, seconds)
    else:
        _print_summary(reports, seconds)
    return 0 if all(report.is_sound for report in reports) else 1


def _print(report: Report) -> None:
    for note in report.notes:
        click.echo(f"note: {note.path}: {note.what}")
    for fault in report.faults:
        click.echo(f"{fault.file}, byte {fault.position}: {fault.found}")
        click.echo(f"  expected: {fault.expected}")
        click.echo(f"  it means: {fault.meaning}")
    if report.more_faults:
        click.echo(f"{report.path}: {counted(report.more_faults, 'place')} more")


def _print_summary(reports: list[Report], seconds: float) -> None:
    size = sum(report.size_bytes for report in reports)
    batches = sum(report.batches for report in reports)
    click.echo(
        f"{counted(sum(report.is_log for report in reports), 'log')}, "
        f"{counted(sum(report.segments for report in reports), 'segment')}, "
        f"{batches} batch{'es' * (batches != 1)}, {counted(sum(report.records for report in reports), 'record')}, "
        f"{size_text(size)} in {seconds:.1f} s, {size / 1e6 / max(seconds, 1e-9):.0f} MB/s"
    )
    faults = sum(len(report.faults) + report.more_faults for report in reports)
    click.echo(f"DAMAGED: {counted(faults, 'place')}" if faults else "SOUND")


def _print_json(folder: str, reports: list[Report], seconds: float) -> None:
    faults: list[Fault] = [fault for report in reports for fault in report.faults]
    notes: list[Note] = [note for report in reports for note in report.notes]
    print_json(
        {
            "path": folder,
            "sound": not faults,
            "logs": sum(report.is_log for report in reports),
            "segments": sum(report.segments for report in reports),
            "batches": sum(report.batches for report in reports),
            "records": sum(report.records for report in reports),
            "bytes": sum(report.size_bytes for report in reports),
            "seconds": round(seconds, 3),
            "faults": [asdict(fault) for fault in faults],
            "more_faults": sum(report.more_faults for report in reports),
            "notes": [asdict(note) for note in notes],
        }
    )
