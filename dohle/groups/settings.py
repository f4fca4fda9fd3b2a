"""What an operator sets of groups, under Kafka's names and with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dohle.model.errors import InvalidConfig
from dohle.model.group_config import HEARTBEAT_INTERVAL, SESSION_TIMEOUT, parse_group_overrides


class Beats(NamedTuple):
    """How often members send heartbeats, and after how long without one they have left."""

    interval_ms: int
    session_timeout_ms: int


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """`max_size` 0: no bound. Assignors are those that members may ask for; the first is taken where none does."""

    initial_rebalance_delay_ms: int = 3000
    min_session_timeout_ms: int = 6000
    max_session_timeout_ms: int = 1_800_000
    max_size: int = 2_147_483_647
    offset_metadata_max_bytes: int = 4096
    offsets_retention_ms: int = 10_080 * 60_000
    offsets_retention_check_interval_ms: int = 600_000
    consumer_session_timeout_ms: int = 45_000
    consumer_min_session_timeout_ms: int = 45_000
    consumer_max_session_timeout_ms: int = 60_000
    consumer_heartbeat_interval_ms: int = 5000
    consumer_min_heartbeat_interval_ms: int = 5000
    consumer_max_heartbeat_interval_ms: int = 15_000
    consumer_max_size: int = 2_147_483_647
    consumer_assignors: tuple[str, ...] = ("uniform", "range")
    consumer_migration_policy: str = "bidirectional"
    consumer_regex_refresh_interval_ms: int = 600_000

    def beats_of(self, overrides: Mapping[str, str] | None) -> Beats:
        """Returns those of a group that has these values of its own, which may lie outside the bounds by now."""
        if not overrides:
            return Beats(self.consumer_heartbeat_interval_ms, self.consumer_session_timeout_ms)
        values = parse_group_overrides(overrides)
        interval_ms = values.get(HEARTBEAT_INTERVAL, self.consumer_heartbeat_interval_ms)
        timeout_ms = values.get(SESSION_TIMEOUT, self.consumer_session_timeout_ms)
        return Beats(
            min(max(interval_ms, self.consumer_min_heartbeat_interval_ms), self.consumer_max_heartbeat_interval_ms),
            min(max(timeout_ms, self.consumer_min_session_timeout_ms), self.consumer_max_session_timeout_ms),
        )

    def check_overrides(self, overrides: Mapping[str, str]) -> None:
        """Raises InvalidConfig, naming key and bound, where a group's own values are none or lie outside."""
        values = parse_group_overrides(overrides)
        bounds = {
            HEARTBEAT_INTERVAL: (self.consumer_min_heartbeat_interval_ms, self.consumer_max_heartbeat_interval_ms),
            SESSION_TIMEOUT: (self.consumer_min_session_timeout_ms, self.consumer_max_session_timeout_ms),
        }
        for name, value in values.items():
            low, high = bounds[name]
            if not low <= value <= high:
                brokers = name.removeprefix("consumer.")
                raise InvalidConfig(
                    f"{name} cannot be {value}: brokers allow {low} to {high}"
                    f" (group.consumer.min.{brokers} and group.consumer.max.{brokers})"
                )
        beats = self.beats_of(overrides)
        if beats.session_timeout_ms <= beats.interval_ms:
            raise InvalidConfig(
                f"{SESSION_TIMEOUT}, {beats.session_timeout_ms}, must be greater than {HEARTBEAT_INTERVAL},"
                f" {beats.interval_ms}"
            )
