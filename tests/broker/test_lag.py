"""Rule 9: bounded samples tell a lag that is never too short, and too long by a grain at the most."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dohle.broker.lag import MARK_BYTES, AppendHistory

GRAIN_S = 0.1
STEPS = st.lists(
    st.tuples(
        st.floats(0, 0.3),  # seconds since the last step
        st.integers(0, 5),  # records appended
        st.floats(0, 1),  # how far the slowest replica has come, as a share
    ),
    max_size=60,
)


class Model:
    """Every append by itself."""

    def __init__(self, started: float, end: int) -> None:
        self.appends = [(started, end, 0)]  # time, end, bytes

    def lag_s(self, durable_end: int, now: float) -> float:
        return next((now - time for time, end, _ in self.appends if end > durable_end), 0.0)

    def bytes_between(self, durable_end: int, offset: int) -> int:
        ends = [end for _, end, _ in self.appends]
        return sum(
            size for start, (_, _, size) in zip([0, *ends], self.appends, strict=False) if durable_end <= start < offset
        )


@given(st.integers(0, 10), STEPS)
def test_lag_and_bytes_are_near_the_truth(start: int, steps: list[tuple[float, int, float]]) -> None:
    now, end, least = 100.0, start, 0
    history, model = AppendHistory(now, start, GRAIN_S), Model(now, start)
    for seconds, records, share in steps:
        now += seconds
        if records:
            end += records
            history.note(now, end, records * 10)
            model.appends.append((now, end, records * 10))
        least = max(least, int(end * share))
        history.forget(least)
        for durable_end in range(least, end + 1):
            lag, truth = history.lag_s(durable_end, now), model.lag_s(durable_end, now)
            assert truth <= lag <= truth + GRAIN_S + 1e-9
            for offset in range(durable_end, end + 1):
                between = history.bytes_between(durable_end, offset)
                if between is None:
                    assert durable_end < start  # it lacks what this leader found in its log
                else:
                    assert between >= model.bytes_between(durable_end, offset)


def test_whoever_has_everything_lags_not_however_long_ago_it_spoke() -> None:
    history = AppendHistory(0.0, 10, GRAIN_S)
    assert history.lag_s(10, 1e6) == 0
    history.note(5.0, 11, 100)
    assert history.lag_s(11, 1e6) == 0
    assert history.lag_s(10, 7.0) == 2.0


def test_what_a_leader_finds_in_its_log_counts_from_its_start() -> None:
    assert AppendHistory(50.0, 10, GRAIN_S).lag_s(9, 51.0) == 1.0


def test_samples_are_bounded_and_never_tell_too_little() -> None:
    history = AppendHistory(0.0, 0, GRAIN_S)
    for step in range(1, 5000):
        history.note(step * GRAIN_S, step, 10)
    now = 5000 * GRAIN_S
    assert len(history._samples) <= 256
    for behind in (1, 10, 100, 255):
        assert abs(history.lag_s(4999 - behind, now) - (now - (5000 - behind) * GRAIN_S)) < 2 * GRAIN_S
    assert history.lag_s(3, now) >= 200 * GRAIN_S


def test_bytes_are_told_as_far_back_as_the_marks_reach() -> None:
    history = AppendHistory(0.0, 0, GRAIN_S)
    for end in range(1, 20_001):
        history.note(end / 1e6, end, 1000)  # within one grain of time, all of them
    assert history.bytes_between(3, 20_000) is None
    for behind in (0, 1, 100, 10_000):
        told = history.bytes_between(19_000 - behind, 19_000)
        assert told is not None
        assert behind * 1000 <= told <= behind * 1000 + 2 * (MARK_BYTES + 1000)
    history.forget(19_999)
    assert history.bytes_between(19_000, 19_999) is not None
