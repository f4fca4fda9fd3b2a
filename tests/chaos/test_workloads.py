"""Workloads and what they leave in a history, with a model of a cluster: sound, or with a bug that must be found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dohle.model.errors import ConfigurationError
from dohle.testing.chaos.job import Job
from dohle.testing.chaos.workloads.kinds import SDK_FINAL_READ, SDK_WORKLOADS, run_of
from dohle.testing.chaos.workloads.work import Work
from dohle.testing.history.checker import judge
from dohle.testing.history.history import History
from dohle.testing.history.history_lines import read_lines
from dohle.testing.history.operations import Commit, Outcome, Poll, Send
from tests.chaos.model_client import ModelCluster

TOPICS = {workload.name: workload.topics for workload in SDK_WORKLOADS}


async def told(folder: Path, workload: str, bug: str = "") -> History:
    """Returns the history of a workload against a model, and of the final read of it."""
    path = folder / "history.jsonl"
    cluster = ModelCluster(bug, 60 if workload == "offsets" else 300)  # there each record is waited for
    topics = {name: topic.partitions for name, topic in TOPICS[workload].items()}
    job = Job("j", workload, "sdk", "", topics, str(path), 0.0, 0, seed=7, rate_per_s=4000.0)
    work = Work.of(job, cluster)
    work.over = cluster.over
    await run_of(workload)(work)
    options = dict(SDK_FINAL_READ.options)
    final = dataclasses.replace(job, name="final", workload="final-read", first_operation=10**9, options=options)
    await run_of("final-read")(Work.of(final, cluster))
    with path.open() as lines:
        return read_lines(lines)


def shown(history: History) -> set[str]:
    return {anomaly.name for anomaly in judge(history.operations).anomalies}


@pytest.mark.parametrize("workload", ["append", "group", "idempotent", "unique", "registers", "offsets"])
async def test_a_sound_cluster_shows_nothing_whatever_fails_or_times_out(tmp_path: Path, workload: str) -> None:
    history = await told(tmp_path, workload)
    assert shown(history) == set()
    outcomes = {operation.outcome for operation in history.operations}
    assert outcomes == {Outcome.OK, Outcome.FAIL, Outcome.INFO}


@pytest.mark.parametrize(
    ("workload", "bug", "anomaly"),
    [
        ("append", "lost", "lost write"),
        ("append", "doubled", "duplicate"),
        ("append", "lied", "aborted read (G1a)"),
        ("append", "swapped", "inconsistent offsets"),
        ("idempotent", "swapped", "non-monotonic send"),
        ("unique", "lost", "lost write"),
        ("group", "doubled", "duplicate"),
        ("offsets", "stale", "lost commit"),
        ("registers", "lied", "wrong register"),
        ("registers", "doubled", "wrong register"),
        ("registers", "brought back", "wrong register"),
    ],
)
async def test_a_bug_is_found(tmp_path: Path, workload: str, bug: str, anomaly: str) -> None:
    assert anomaly in shown(await told(tmp_path, workload, bug))


async def test_what_failed_for_sure_is_a_failure_and_a_time_out_never_is(tmp_path: Path) -> None:
    history = await told(tmp_path, "append")
    for operation in history.operations:
        if operation.outcome is Outcome.FAIL:
            assert operation.why == "refused"
        if operation.why.startswith("timed out"):
            assert operation.outcome is Outcome.INFO


async def test_a_group_polls_and_commits_what_it_has_dealt_with(tmp_path: Path) -> None:
    history = await told(tmp_path, "group")
    polled: dict[str, int] = {}
    commits = 0
    for operation in history.operations:
        for micro in operation.micro:
            if isinstance(micro, Poll):
                for log, records in micro.records.items():
                    polled[log] = max(polled.get(log, 0), records[-1][0] + 1)
            if isinstance(micro, Commit) and operation.outcome is Outcome.OK:
                commits += 1
                assert all(offset <= polled[log] for log, offset in micro.offsets.items())
    assert commits


async def test_every_value_is_sent_once_and_numbers_begin_where_the_job_says(tmp_path: Path) -> None:
    history = await told(tmp_path, "unique")
    values = [micro.value for one in history.operations for micro in one.micro if isinstance(micro, Send)]
    assert len(values) == len({*values})
    first = (tmp_path / "history.jsonl").read_text().splitlines()[0]
    assert first.startswith('{"operation":0,')


def test_a_workload_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"there is no workload 'apend'; there are: append, .*final-read"):
        run_of("apend")
