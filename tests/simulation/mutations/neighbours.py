"""Mutations of what keeps the slow and the far behind from holding up anybody else."""

from __future__ import annotations

from dohle.broker.catch_up_window import CatchUpWindow
from dohle.broker.push_session import PushSession
from dohle.client.produce_stream import ProduceStream
from dohle.model.stragglers import Stragglers
from dohle.storage.group_commit import GroupCommit
from tests.simulation.mutations import neighbour_scenarios as scenarios
from tests.simulation.mutations.mutation import edit, mutation

NEIGHBOURS = (
    mutation(
        "catch-up: as much is sent at once as there is memory for",
        "decision 0027",
        "what a follower lacks is sent only as fast as it holds up nothing that is new",
        edit(
            CatchUpWindow,
            "is_open",
            """
            - return self.under_way_bytes < self._allowed_bytes
            + return self.under_way_bytes < MOST_BYTES * mutated()
            """,
        ),
        edit(
            CatchUpWindow,
            "chunk_bytes",
            """
            - return min(CHUNK_BYTES, max(LEAST_BYTES, self._allowed_bytes) // 2)
            + return MOST_BYTES // 4
            """,
        ),
        scenario=scenarios.a_follower_is_far_behind,
    ),
    mutation(
        "catch-up: the rests stay long",
        "decision 0027",
        "who is written to as fast as it is filled is given shorter and shorter rests",
        edit(
            CatchUpWindow,
            "lacks",
            """
            - if self._lacked - lacked >= self._sent_records / 2:
            + if mutated() or self._lacked - lacked >= self._sent_records / 2:
            """,
        ),
        scenario=scenarios.a_follower_is_far_behind_what_is_written_fast,
    ),
    mutation(
        "pushes: all wait for a slow partition",
        "decision 0027",
        "a partition whose pushes are slow to become durable is pushed by itself",
        edit(
            PushSession,
            "_look_for_stragglers",
            """
            - for key in self._window.stragglers(now - STRAGGLES_S):
            + for key in () if mutated() else self._window.stragglers(now - STRAGGLES_S):
            """,
        ),
        scenario=scenarios.a_log_of_a_follower_is_slow,
    ),
    mutation(
        "group commit: all wait for a slow log",
        "decision 0027",
        "a log whose syncs take long is synced apart from the others",
        edit(
            GroupCommit,
            "_look",
            """
            - self._finish(run, run.take_synced())
            + if mutated():
            +     return
            """,
        ),
        scenario=scenarios.a_log_of_the_leader_is_slow,
    ),
    mutation(
        "producer: all wait for a slow partition",
        "decision 0027",
        "a partition whose answers others overtake has requests of its own",
        edit(
            ProduceStream,
            "_judge",
            """
            - now = self._seams.clock.now()
            + if mutated():
            +     return
            + now = self._seams.clock.now()
            """,
        ),
        scenario=scenarios.a_log_of_the_leader_is_slow,
    ),
    mutation(
        "stragglers: who was late once goes by himself for a minute",
        "decision 0027",
        "who is as quick as the others is among them again, and leaves his place to who is slow",
        edit(
            Stragglers,
            "done",
            """
            - apart.prompt_times_left -= 1
            + apart.prompt_times_left -= not mutated()
            """,
        ),
        scenario=scenarios.a_log_is_slow_where_each_is_late_now_and_then,
    ),
)
