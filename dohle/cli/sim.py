"""`dohle sim`: simulated clusters from the command line: many seeds, one again, and a failing one made small."""

from __future__ import annotations

import itertools
import random
import time
from typing import TYPE_CHECKING

import click

from dohle.cli.output import counted, print_json
from dohle.cli.session import json_option, run_async
from dohle.cli.sim_files import DEFAULT_FOLDER, find_plan, write_run
from dohle.cli.sim_output import (
    ProgressLine,
    print_run,
    print_tally,
    progress_text,
    run_json,
    tally_json,
    verdict,
)
from dohle.model.errors import ConfigurationError

if TYPE_CHECKING:
    from dohle.testing.campaigns.campaign import Tally
    from dohle.testing.campaigns.plan import Plan
    from dohle.testing.campaigns.runner import Finished

_STORM_S = 60.0
_SEEDS = "100"

storm_option = click.option(
    "--storm",
    "storm_s",
    type=click.FloatRange(1, 86_400),
    default=_STORM_S,
    show_default=True,
    metavar="SECONDS",
    help="Simulated seconds under faults, of plans that are drawn from seeds.",
)
jobs_option = click.option(
    "--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes that run seeds."
)
out_option = click.option(
    "--out", "folder", default=DEFAULT_FOLDER, show_default=True, metavar="FOLDER", help="Where runs are written to."
)


@click.group()
def sim() -> None:
    """Run clusters in virtual time, broken on purpose, each replayed from its seed.

    No port, no file, no thread: nodes, clients, disks and the network live in one process. A run that violates
    something is written to a file, which `dohle sim replay` and `dohle sim shrink` take.
    """


@sim.command()
@click.option("--seeds", metavar="A-B|N", help="Seeds A to B, or N fresh ones.  [default: 100, or as --minutes says]")
@click.option("--from", "origin", metavar="TEXT", help="Fresh seeds begin at a number made of this, not drawn by lot.")
@click.option("--seed", type=click.IntRange(min=0), help="This one alone.")
@click.option("--minutes", type=click.FloatRange(0.01, 100_000), help="Begin no seed after so long.")
@click.option("--keep-going", is_flag=True, help="Do not stop at the first seed that fails.")
@jobs_option
@storm_option
@out_option
@json_option
def run(
    seeds: str | None,
    origin: str | None,
    seed: int | None,
    minutes: float | None,
    keep_going: bool,
    jobs: int,
    storm_s: float,
    folder: str,
    as_json: bool,
) -> int:
    """Run seeds until one fails; exit code 1 if one does.

    With 300 seeds or more it is also a failure if something rare that should happen never did.
    """
    if seed is not None:
        if seeds is not None or minutes is not None or origin is not None:
            raise click.UsageError("--seed runs one seed alone: it takes none of --seeds, --from and --minutes")
        return _run_one(seed, storm_s, folder, as_json)
    return _run_many(seeds, origin, minutes, keep_going, jobs, storm_s, folder, as_json)


def _run_one(seed: int, storm_s: float, folder: str, as_json: bool) -> int:
    finished = _finish(find_plan(str(seed), storm_s).plan)
    if as_json:
        print_json(run_json(finished))
    else:
        print_run(finished, whole=False)
    if finished.outcome.violations:
        _tell(finished, storm_s, folder)
    return 1 if finished.outcome.violations else 0


def _run_many(
    seeds: str | None,
    origin: str | None,
    minutes: float | None,
    keep_going: bool,
    jobs: int,
    storm_s: float,
    folder: str,
    as_json: bool,
) -> int:
    from dohle.testing.campaigns.campaign import first_fresh_seed, parse_seeds, run_campaign
    from dohle.testing.campaigns.runner import Runner

    if origin is not None and seeds is not None and "-" in seeds:
        raise click.UsageError(f"--from says where fresh seeds begin, and {seeds} begin where they say")
    first_fresh = first_fresh_seed(random.SystemRandom() if origin is None else random.Random(origin))  # noqa: S311
    wanted = None if seeds is None and minutes is not None else parse_seeds(seeds or _SEEDS, first_fresh)
    numbers = itertools.count(first_fresh) if wanted is None else iter(wanted)
    if not as_json:
        until = "" if wanted is None else f" to {wanted[-1]}"
        click.echo(f"seeds from {first_fresh if wanted is None else wanted[0]}{until}, {counted(jobs, 'worker')}")
    line = ProgressLine()
    began = time.monotonic()
    files: list[str] = []

    def show(tally: Tally, finished: Finished) -> None:
        if finished.outcome.violations:
            line.clear()
            if not as_json:
                print_run(finished, whole=False)
            files.append(_tell(finished, storm_s, folder))
        line.show(progress_text(tally, None if wanted is None else len(wanted), time.monotonic() - began))

    async def work() -> Tally:
        async with Runner(jobs) as runner:
            return await run_campaign(
                numbers, runner, minutes=minutes, keep_going=keep_going, storm_s=storm_s, show=show
            )

    try:
        tally = run_async(work())
    finally:
        line.clear()
    elapsed_s = time.monotonic() - began
    if as_json:
        print_json(tally_json(tally, elapsed_s, files))
    else:
        print_tally(tally, elapsed_s)
    return 0 if tally.good else 1


def _tell(finished: Finished, storm_s: float, folder: str) -> str:
    """Writes a failing run to its file, says how to replay it, and returns the file."""
    file = write_run(folder, finished)
    option = "" if storm_s == _STORM_S else f" --storm {storm_s:g}"
    seed = finished.outcome.seed
    click.echo(
        f"seed {seed} failed. Again: dohle sim replay {seed}{option}\n"
        f"Its plan, timeline and log: {file}. Smaller: dohle sim shrink {seed}{option}",
        err=True,
    )
    return file


@sim.command()
@click.argument("what", metavar="SEED|FILE")
@storm_option
@json_option
def replay(what: str, storm_s: float, as_json: bool) -> int:
    """Run a seed or a written run again, and show its timeline; exit code 1 if it violates something.

    FILE is what `run` and `shrink` write, or FILE.toml#NAME for a kept run.
    """
    source = find_plan(what, storm_s)
    finished = _finish(source.plan)
    outcome = finished.outcome
    same = outcome.trace_hash == source.trace_hash if source.trace_hash else None
    if as_json:
        print_json({**run_json(finished), "same_trace": same, "timeline": list(outcome.timeline)})
    else:
        print_run(finished, whole=True)
        if same is not None:
            other = f"NOT that of the file, {source.trace_hash}: the code has changed since, or leaks chance"
            click.echo(f"the trace is {'that of the file' if same else other}")
    return 1 if outcome.violations else 0


@sim.command()
@click.argument("what", metavar="SEED|FILE")
@click.option("--tries", type=click.IntRange(min=1), default=500, show_default=True, help="At most so many runs.")
@click.option(
    "--minutes", type=click.FloatRange(0.01, 100_000), default=15.0, show_default=True, help="At most so long."
)
@jobs_option
@storm_option
@out_option
@json_option
def shrink(what: str, tries: int, minutes: float, jobs: int, storm_s: float, folder: str, as_json: bool) -> int:
    """Make a failing run small: fewer faults and writers, a shorter storm, the same kind of violation."""
    source = find_plan(what, storm_s)
    line = ProgressLine()

    def show(tries: int, plan: Plan) -> None:
        line.show(f"{tries} {'try' if tries == 1 else 'tries'}: {_size(plan)}")

    async def work() -> Finished:
        from dohle.testing.campaigns.runner import Runner
        from dohle.testing.campaigns.shrink import shrink_run

        async with Runner(jobs) as runner:
            first = await runner.run(source.plan)
            if not first.outcome.violations:
                raise ConfigurationError(f"{what} violates nothing: there is nothing to shrink")
            if not as_json:
                click.echo(f"{_size(source.plan)}: {first.outcome.violations[0]}")
            return await shrink_run(first, runner, most_tries=tries, minutes=minutes, show=show)

    try:
        finished = run_async(work())
    finally:
        line.clear()
    outcome = finished.outcome
    file = write_run(folder, finished, suffix="-small")
    if as_json:
        print_json({**run_json(finished), "file": file})
        return 0
    print_run(finished, whole=False)
    click.echo(f"{_size(outcome.plan)}, {verdict(outcome)}: {file}. Again: dohle sim replay {file}")
    return 0


def _size(plan: Plan) -> str:
    return (
        f"{counted(len(plan.faults), 'fault')}, {counted(plan.mix.writers, 'writer')},"
        f" {plan.storm_s:g} simulated s under faults"
    )


def _finish(plan: Plan) -> Finished:
    """Runs one plan in a process of its own, as campaigns do."""
    from dohle.testing.campaigns.runner import Runner

    async def work() -> Finished:
        async with Runner(1) as runner:
            return await runner.run(plan)

    return run_async(work())
