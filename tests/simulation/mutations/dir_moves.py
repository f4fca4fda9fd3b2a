"""Mutations of replicas' moves between the directories of their broker."""

from __future__ import annotations

from dohle.broker.broker import Broker
from dohle.broker.dir_moves import _Filling
from dohle.broker.leader_link import LeaderLink
from dohle.storage import moved_logs
from dohle.storage.log_folder import LogFolder
from tests.simulation.mutations import dir_move_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

DIR_MOVES = (
    mutation(
        "move between directories: a producer does not wait",
        "storage, moves",
        "nothing is appended while a copy takes the log's place",
        edit(
            Broker,
            "produce",
            """
            - if partition.exchanged is not None:
            + if partition.exchanged is not None and not mutated():
            """,
        ),
        scenario=scenarios.a_leader_and_a_follower_move_while_clients_write,
    ),
    mutation(
        "move between directories: the leader goes on pushing",
        "storage, moves",
        "nothing is appended while a copy takes the log's place",
        edit(
            LeaderLink,
            "pause",
            """
            - self._unsubscribe(following)
            + mutated()
            """,
        ),
        scenario=scenarios.a_leader_and_a_follower_move_while_clients_write,
    ),
    mutation(
        "move between directories: the copy is not fsynced",
        "storage, moves",
        "a copy that takes the log's place is whole and durable",
        edit(
            _Filling,
            "finished",
            """
            - await self.copy.flush()
            + mutated()
            """,
        ),
        scenario=scenarios.a_leader_and_a_follower_move_while_clients_write,
    ),
    mutation(
        "move between directories: the original may come back",
        "storage, moves",
        "a replica has moved when its original is durably renamed away",
        edit(
            LogFolder,
            "_rename",
            """
            - await self._disk.sync([], [self.path])
            + mutated()
            """,
        ),
        scenario=scenarios.power_goes_right_after_a_move,
    ),
    mutation(
        "move between directories: a copy is taken though the original is there",
        "storage, moves",
        "while the original is anywhere it is the replica",
        edit(
            moved_logs,
            "settle_moves",
            """
            - if name in held:
            + if name in held and not mutated():
            """,
        ),
        scenario=scenarios.a_whole_copy_is_left_by_a_disk_that_failed,
    ),
)
