"""`dohle selftest`: a cluster on this machine under load, with or without faults, and what became of every record."""

from __future__ import annotations

import time
from pathlib import Path

import click

from dohle.cli.output import print_json
from dohle.cli.session import json_option

_FOLDER = "dohle-selftest"
_MINUTES = 3.0
_CALM_MINUTES = 0.5


def _names(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(text.replace(",", " ").split())


@click.command()
@click.option("--chaos", is_flag=True, help="Break the cluster meanwhile, and heal it.")
@click.option("--minutes", type=click.FloatRange(0.1, 10_000), help="For so long.  [default: 3 with --chaos, else 0.5]")
@click.option("--seed", type=click.IntRange(min=0), help="Decides which faults happen when.  [default: drawn by lot]")
@click.option("--faults", callback=_names, metavar="NAME,…", help="These, and no others.  [default: some of all]")
@click.option("--workloads", callback=_names, metavar="NAME,…", help="What clients do.  [default: some of all]")
@click.option(
    "--schedule", type=click.Path(path_type=Path), metavar="FILE", help="Faults of a file, as schedule.json of a run."
)
@click.option("--nodes", type=int, default=3, show_default=True, help="3 or 5.")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), default=_FOLDER, show_default=True, help="Where runs are kept."
)
@click.option("--list", "lists", is_flag=True, help="Only list faults and workloads, and what cannot be had here.")
@json_option
def selftest(
    chaos: bool,
    minutes: float | None,
    seed: int | None,
    faults: tuple[str, ...] | None,
    workloads: tuple[str, ...] | None,
    schedule: Path | None,
    nodes: int,
    folder: Path,
    lists: bool,
    as_json: bool,
) -> int:
    """Prove on this machine that no record is lost: nodes of its own, clients, faults, and a checker of all they saw.

    Takes no root, and touches no other cluster. Leaves a folder with a report; exit code 1 if anything is wrong, or if
    a fault had no effect.
    """
    from dohle.testing.chaos.launch import Wish, choices, launch, prepare, told
    from dohle.testing.chaos.loopback import LOOPBACK

    if not chaos and (faults is not None or schedule is not None):
        raise click.UsageError("--faults and --schedule are for --chaos")
    if faults is not None and schedule is not None:
        raise click.UsageError("--faults and --schedule exclude each other")
    if faults == ():
        raise click.UsageError("name a fault, or leave --faults out: without --chaos there is none")
    wish = Wish(
        folder,
        minutes=minutes or (_MINUTES if chaos else _CALM_MINUTES),
        seed=seed,
        faults=faults if chaos else (),
        workloads=workloads or (),
        schedule=schedule,
        nodes=nodes,
        again=_command(chaos, minutes, faults, workloads, schedule, nodes),
    )
    if lists:
        for line in choices(LOOPBACK, LOOPBACK.world(folder, nodes, 0)):
            click.echo(line)
        return 0
    launched = prepare(wish, LOOPBACK)
    began_s = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"{time.monotonic() - began_s:8.1f} s  {line}", err=as_json)

    verdict = launch(launched, say)
    if as_json:
        print_json({"folder": str(launched.folder), **verdict.to_json()})
    else:
        for line in told(verdict, launched.folder):
            click.echo(line)
    return 0 if verdict.outcome == "sound" else 1


def _command(
    chaos: bool,
    minutes: float | None,
    faults: tuple[str, ...] | None,
    workloads: tuple[str, ...] | None,
    schedule: Path | None,
    nodes: int,
) -> str:
    """Returns what runs it again, but for the seed."""
    given = {
        "--minutes": minutes,
        "--faults": ",".join(faults or ()),
        "--workloads": ",".join(workloads or ()),
        "--schedule": schedule,
        "--nodes": nodes if nodes != 3 else None,
    }
    words = [f"{name} {value}" for name, value in given.items() if value]
    return " ".join(["dohle selftest", *(["--chaos"] if chaos else []), *words])
