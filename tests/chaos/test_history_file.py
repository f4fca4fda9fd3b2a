"""Histories that many processes write at once, some of which are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dohle.model.errors import InvalidRequest
from dohle.testing.chaos.history_file import HistoryFile, Process
from dohle.testing.history.history_lines import read_lines
from dohle.testing.history.operations import Commit, Outcome, Poll, Send

WRITER = """
import sys
from pathlib import Path
from dohle.testing.chaos.history_file import HistoryFile, Process
from dohle.testing.history.operations import Outcome, Poll, Send
path, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
process = Process(HistoryFile(path, 0.0, first), f"p{first}")
for number in range(count):
    sent = process.invoke(Send("x-0", f"{process.name}:{number}"))
    process.complete(sent, Outcome.OK, Send("x-0", f"{process.name}:{number}", first + number))
    polled = process.invoke(Poll())
    process.complete(polled, Outcome.OK, Poll({"y-0": [(at, "v" * 50) for at in range(number % 300)]}))
process.invoke(Send("x-0", "left open"))
print("written", flush=True)
sys.stdin.read()
"""


def test_lines_of_many_processes_are_whole_and_whoever_is_killed_leaves_open_what_it_began(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(first), "400"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for first in (0, 10_000, 20_000)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        writer.kill()
        writer.wait()
        assert writer.returncode == -signal.SIGKILL
        assert writer.stdin is not None
        writer.stdin.close()
        writer.stdout.close()
    with path.open() as lines:
        history = read_lines(lines)
    assert len(history.operations) == 3 * (2 * 400 + 1)
    by_outcome = [operation.outcome for operation in history.operations]
    assert (by_outcome.count(Outcome.OK), by_outcome.count(Outcome.INFO)) == (3 * 800, 3)


def test_who_is_told_of_an_operation_finds_it_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    file = HistoryFile(path, 0.0, 5_000)
    process = Process(file, "w")
    sent = process.invoke(Send("x-0", "a"))
    polled = process.invoke(Poll())
    process.complete(sent, Outcome.INFO, why="timed out")
    process.complete(polled, Outcome.OK, Poll({"x-0": [(3, "a")]}), rebalanced=("x-0",))
    file.close()
    with path.open() as lines:
        first, second = read_lines(lines).operations
    assert (first.outcome, first.why, first.micro) == (Outcome.INFO, "timed out", (Send("x-0", "a"),))
    assert (second.micro, second.rebalanced) == ((Poll({"x-0": [(3, "a")]}),), ("x-0",))
    assert first.invoked < second.invoked < (first.completed or 0) < (second.completed or 0)


def test_a_history_that_was_cut_in_the_middle_of_a_line_says_so(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    Process(HistoryFile(path, 0.0, 0), "w").invoke(Send("x-0", "a"))
    path.write_bytes(path.read_bytes()[:-20])
    with path.open() as lines, pytest.raises(InvalidRequest, match="cut off in the middle of line 1"):
        read_lines(lines)


def test_the_epoch_in_which_a_commit_was_made_is_told_though_it_was_not_known_before(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    file = HistoryFile(path, 0.0, 0)
    member = Process(file, "member")
    operation = member.invoke(Commit("group", {"topic-0": 5}))
    member.complete(operation, Outcome.OK, Commit("group", {"topic-0": 5}, 7))
    file.close()
    with path.open() as lines:
        (read,) = read_lines(lines).operations
    assert read.micro == (Commit("group", {"topic-0": 5}, 7),)
