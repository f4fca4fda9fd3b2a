"""What brokers give to groups, and what groups have of their own."""

from __future__ import annotations

import pytest

from dohle.groups.settings import Beats, GroupSettings
from dohle.model.errors import InvalidConfig
from dohle.model.group_config import GROUP_KEYS, HEARTBEAT_INTERVAL, SESSION_TIMEOUT


def test_a_group_without_values_of_its_own_has_the_brokers() -> None:
    settings = GroupSettings(consumer_heartbeat_interval_ms=7000, consumer_session_timeout_ms=50_000)
    assert settings.beats_of(None) == settings.beats_of({}) == Beats(7000, 50_000)
    assert settings.beats_of({HEARTBEAT_INTERVAL: "6000"}) == Beats(6000, 50_000)


def test_values_that_have_come_to_lie_outside_count_as_the_bound() -> None:
    kept = {HEARTBEAT_INTERVAL: "6000", SESSION_TIMEOUT: "50000"}
    assert GroupSettings().beats_of(kept) == Beats(6000, 50_000)
    lowered = GroupSettings(consumer_max_heartbeat_interval_ms=5500, consumer_max_session_timeout_ms=46_000)
    assert lowered.beats_of(kept) == Beats(5500, 46_000)
    raised = GroupSettings(consumer_min_heartbeat_interval_ms=9000, consumer_min_session_timeout_ms=59_000)
    assert raised.beats_of(kept) == Beats(9000, 59_000)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({HEARTBEAT_INTERVAL: "4999"}, "5000 to 15000"),
        ({SESSION_TIMEOUT: "60001"}, "group.consumer.max.session.timeout.ms"),
        ({"consumer.session.timeout": "50000"}, "did you mean consumer.session.timeout.ms"),
        ({SESSION_TIMEOUT: "1e5"}, "a whole number"),
    ],
)
def test_values_outside_are_refused_with_the_bounds(overrides: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        GroupSettings().check_overrides(overrides)


def test_a_session_ends_after_the_next_heartbeat_is_due() -> None:
    settings = GroupSettings(consumer_max_heartbeat_interval_ms=60_000)
    settings.check_overrides({HEARTBEAT_INTERVAL: "46000", SESSION_TIMEOUT: "46001"})
    with pytest.raises(InvalidConfig, match="46000, must be greater than"):
        settings.check_overrides({HEARTBEAT_INTERVAL: "46000", SESSION_TIMEOUT: "46000"})
    with pytest.raises(InvalidConfig, match="45000, must be greater than"):
        settings.check_overrides({HEARTBEAT_INTERVAL: "45000"})


def test_brokers_that_set_nothing_give_what_the_keys_say() -> None:
    settings = GroupSettings()
    assert GROUP_KEYS[HEARTBEAT_INTERVAL].default == settings.consumer_heartbeat_interval_ms
    assert GROUP_KEYS[SESSION_TIMEOUT].default == settings.consumer_session_timeout_ms
