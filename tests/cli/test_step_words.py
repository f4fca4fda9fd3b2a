"""What happened to a partition, told in words."""

import pytest

from dohle.cli.step_words import what_happened
from dohle.client.partition_changes import PartitionStep


def step(leader, epoch, in_sync, assigned=(1, 2, 3), adding=(), removing=(), eligible=(), last=-1, **brokers):
    fenced, unfenced, leaving, registered, doubtful, offline = (
        brokers.get(name, ()) for name in ("fenced", "unfenced", "shutting_down", "registered", "doubtful", "offline")
    )
    told = (fenced, unfenced, leaving, registered, doubtful, eligible, last, offline)
    return PartitionStep(9, 0, leader, epoch, 1, in_sync, assigned, adding, removing, *told)


ALL = step(1, 0, (1, 2, 3))
MOVING = step(1, 0, (1, 2, 3), (4, 2, 1, 3), adding=(4,), removing=(1, 3))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (ALL, step(1, 0, (1, 2)), "broker 3 left the in-sync set: behind for too long, or gone"),
        (
            step(2, 1, (1, 2, 3)),
            step(1, 2, (1, 3)),
            ("broker 2 left the in-sync set: its broker was gone; broker 1 took over from 2"),
        ),
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
                "an unclean election, since none of the in-sync ones, 1, could lead: broker 2 leads alone, and"
                " acknowledged records may be lost"
            ),
        ),
        (
            step(-1, 1, (1, 2), last=1, doubtful=(1,)),
            step(1, 2, (1,), unfenced=(1,)),
            (
                "broker 1 back: an unclean election, since none of the in-sync ones, 1,2, could lead: broker 1, who"
                " led last, leads alone, and acknowledged records may be lost"
            ),
        ),
        (
            step(-1, 1, (1, 2), doubtful=(1, 2)),
            step(1, 2, (1,), unfenced=(1,)),
            "broker 1 back: broker 2 left the in-sync set; broker 1 took over from nobody",
        ),
        (
            step(3, 1, (1, 2, 3)),
            step(3, 1, (3,), eligible=(1, 2), registered=(1,)),
            (
                "broker 1 started anew: brokers 1,2 left the in-sync set; brokers 1,2 may lead all the same: eligible,"
                " with all below the high watermark"
            ),
        ),
        (
            step(3, 1, (3,), eligible=(1, 2)),
            step(1, 2, (1, 3), fenced=(3,)),
            (
                "broker 3 was fenced: broker 1 came in sync; broker 2 is eligible no longer; broker 1 took over from 3,"
                " as an eligible replica, since none of the in-sync ones, 3, could lead"
            ),
        ),
        (
            step(1, 0, (1,), (2, 1), adding=(2,), removing=(1,)),
            step(2, 1, (2,), (2,)),
            ("the move to 2 ended; broker 2 came in sync; broker 2 took over from 1, which came in sync just then"),
        ),
        (
            ALL,
            step(2, 1, (2, 3), offline=(1,)),
            (
                "broker 1 lost the directory where the replica lies: broker 1 left the in-sync set; broker 2 took over"
                " from 1"
            ),
        ),
        (
            step(2, 1, (2, 3)),
            step(2, 1, (2, 3), offline=(1,), registered=(1,)),
            "broker 1 started anew, broker 1 lost the directory where the replica lies",
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
