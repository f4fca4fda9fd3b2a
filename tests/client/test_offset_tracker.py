"""Up to where records that end in any order may be committed."""

from hypothesis import given
from hypothesis import strategies as st

from dohle.client.offset_tracker import OffsetTracker


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_the_lowest_is_always_the_least_of_what_has_not_ended(gaps, random):
    """Offsets with gaps begin in order; between, some that have begun end, whichever."""
    tracker = OffsetTracker()
    begun: list[int] = []
    offset = 0
    for gap in gaps:
        offset += gap + 1
        tracker.begin(offset)
        begun.append(offset)
        while begun and random.random() < 0.6:
            tracker.end(begun.pop(random.randrange(len(begun))))
            assert tracker.lowest() == min(begun, default=None)
            assert len(tracker) == len(begun)
    while begun:
        tracker.end(begun.pop(random.randrange(len(begun))))
        assert tracker.lowest() == min(begun, default=None)
    assert not tracker._begun
    assert not tracker._ended
