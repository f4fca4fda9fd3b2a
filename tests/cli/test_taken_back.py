"""`--cancel` of all that is on its way, while some of it arrives."""

from __future__ import annotations

from collections.abc import Sequence

from dohle.cli.cluster_reassign import cancel_moves
from dohle.client.partition_changes import OngoingReassignment, OngoingReassignments, Reassignment
from dohle.model.errors import DohleError, NoReassignmentInProgress, OperationNotAttempted
from dohle.model.ids import TopicPartition


class ArrivingMeanwhile:
    """An admin of a cluster where the first of two moves arrives just when both are to be taken back."""

    def __init__(self) -> None:
        self.ongoing = ["a", "b"]

    async def list_partition_reassignments(self) -> OngoingReassignments:
        return OngoingReassignments(
            tuple(OngoingReassignment(topic, 0, 0, 1, (1, 2), (2,), (), (1,)) for topic in self.ongoing), 0
        )

    async def alter_partition_reassignments(
        self, moves: Sequence[Reassignment]
    ) -> dict[TopicPartition, DohleError | None]:
        if len(self.ongoing) == 2:
            self.ongoing.pop(0)
            return {moves[0].name: NoReassignmentInProgress(), moves[1].name: OperationNotAttempted()}
        self.ongoing.clear()
        return dict.fromkeys(move.name for move in moves)


async def test_a_move_that_arrives_while_all_are_taken_back_keeps_none_of_the_others(capsys):
    admin = ArrivingMeanwhile()
    assert await cancel_moves(admin, [], as_json=False) == 0
    assert capsys.readouterr().out == "1 partition: taken back\n"
    assert not admin.ongoing
