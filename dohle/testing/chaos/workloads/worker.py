"""A worker: a process that does one job. `python -m dohle.testing.chaos.workloads JOB`, with a Job as JSON."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

import uvloop

from dohle.model.errors import ConfigurationError
from dohle.testing.chaos.job import Job
from dohle.testing.chaos.workloads.kinds import run_of
from dohle.testing.chaos.workloads.log_client import LogClient
from dohle.testing.chaos.workloads.sdk_client import SdkClient
from dohle.testing.chaos.workloads.work import Work

Makers = Mapping[str, Callable[[Job], LogClient]]
SDK: Makers = {"sdk": lambda job: SdkClient(job.bootstrap)}


def main(arguments: Sequence[str], makers: Makers = SDK) -> int:
    """Does the job that `arguments` name; returns the process's exit code. SIGTERM has it come to an end."""
    try:
        (text,) = arguments
        job = Job.from_json(text)
    except (ValueError, TypeError) as error:
        sys.stderr.write(f"a worker takes one argument, a job as JSON: {error}\n")
        return 2
    uvloop.run(_do(job, makers))
    return 0


async def _do(job: Job, makers: Makers) -> None:
    run = run_of(job.workload)
    if job.client not in makers:
        raise ConfigurationError(f"this worker has no client {job.client!r}; it has: {', '.join(sorted(makers))}")
    client = makers[job.client](job)
    work = Work.of(job, client)
    loop = asyncio.get_running_loop()
    for wish in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wish, work.over.set)
    try:
        await run(work)
    finally:
        await client.close()
        work.history.close()
