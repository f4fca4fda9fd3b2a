"""What happened to a partition, told in words."""

import pytest

from dohle.cli.step_words import what_happened
from dohle.client.partition_changes import PartitionStep


def step(leader, epoch, in_sync, assigned=(1, 2, 3), adding=(), removing=(), **brokers):
    fenced, unfenced, leaving, registered, doubtful = (
        brokers.get(name, ()) for name in ("fenced", "unfenced", "shutting_down", "registered", "doubtful")
    )
    return PartitionStep(
        9, 0, leader, epoch, 1, in_sync, assigned, adding, removing, fenced, unfenced, leaving, registered, doubtful
    )


ALL = step(1, 0, (1, 2, 3))
MOVING = step(1, 0, (1, 2, 3), (4, 2, 1, 3), adding=(4,), removing=(1, 3))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (ALL, step(1, 0, (1, 2)), "broker 3 left the in-sync set: behind for too long"),
        (step(1, 0, (1,)), ALL, "brokers 2,3 came in sync"),
        (
            ALL,
            step(2, 1, (2, 3), fenced=(1,)),
            "broker 1 was fenced: broker 1 left the in-sync set; broker 2 took over from 1",
        ),
        (ALL, step(-1, 1, (1, 2, 3), fenced=(1, 2, 3)), "brokers 1,2,3 were fenced: nobody can lead"),
        (step(-1, 1, (1,)), step(1, 2, (1,), unfenced=(1,)), "broker 1 back: broker 1 took over from nobody"),
        (
            step(2, 1, (1, 2, 3)),
            step(1, 2, (1, 2, 3)),
            "broker 1 took over from 2 by an election, as the preferred leader",
        ),
        (
            step(-1, 1, (1,)),
            step(2, 2, (2,)),
            (
                "broker 2 came in sync; broker 1 left the in-sync set: behind for too long; broker 2 took over"
                " from nobody,"
                " which was not in sync: acknowledged records may be lost"
            ),
        ),
        (ALL, MOVING, "a move to 4,2 began"),
        (
            MOVING,
            step(4, 1, (4, 2), (4, 2)),
            "the move to 4,2 ended; broker 4 came in sync; broker 4 took over from 1, which came in sync just then",
        ),
        (MOVING, step(1, 1, (2, 1, 3), (2, 1, 3)), "the move was taken back; broker 1 leads on in a new epoch"),
        (ALL, step(1, 0, (3, 2, 1), (3, 2, 1)), "its replicas are 3,2,1 now"),
        (ALL, step(1, 1, (1, 2, 3), registered=(1,)), "broker 1 started anew: broker 1 leads on in a new epoch"),
    ],
)
def test_a_step_is_told_beside_the_one_before(before, after, words):
    assert what_happened(before, after) == words


def test_the_first_step_is_the_beginning_or_as_far_as_is_known():
    assert what_happened(None, step(1, 0, (1,))) == "the first change that is known"
