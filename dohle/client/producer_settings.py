"""ProducerSettings: what a producer was told, checked once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from dohle.model.codecs import Codec
from dohle.model.errors import ConfigurationError, UnsupportedCompressionType
from dohle.model.partitioner import partition_for

Acks = Literal["all", 1, 0]

_WIRE_ACKS: Final = {"all": -1, -1: -1, 1: 1, 0: 0}
_MOST_IN_FLIGHT: Final = 5
"""So many of a producer's last batches a leader remembers to tell a repeated one."""
_MOST_REQUEST_BYTES: Final = 16 << 20
_LEAST_BATCH_BYTES: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class ProducerSettings:
    """See `Producer` for what each means. `acks` is as on the wire: -1 all, 1, 0."""

    acks: int
    linger_ms: float
    batch_bytes: int
    max_request_bytes: int
    codec: Codec
    idempotent: bool
    max_in_flight: int
    delivery_timeout_ms: int
    request_timeout_ms: int
    buffer_bytes: int
    max_block_ms: int
    partitioner: Callable[[bytes, int], int] = partition_for

    @classmethod
    def checked(
        cls,
        *,
        acks: Acks,
        linger_ms: float,
        batch_bytes: int,
        max_request_bytes: int,
        compression: str,
        idempotent: bool | None,
        max_in_flight: int,
        delivery_timeout_ms: int,
        request_timeout_ms: int,
        buffer_bytes: int,
        max_block_ms: int,
        partitioner: Callable[[bytes, int], int],
    ) -> ProducerSettings:
        """Raises ConfigurationError, which says what would do instead."""
        _demand(acks in _WIRE_ACKS, f'acks is {acks!r}; give "all", 1 or 0')
        wire_acks = _WIRE_ACKS[acks]
        if idempotent is None:
            idempotent = wire_acks == -1
        _demand(not idempotent or wire_acks == -1, 'idempotent needs acks="all"; give idempotent=False as well')
        _demand(
            max_in_flight >= 1 and (not idempotent or max_in_flight <= _MOST_IN_FLIGHT),
            f"max_in_flight is {max_in_flight}; an idempotent producer takes 1 to {_MOST_IN_FLIGHT}",
        )
        _demand(
            _LEAST_BATCH_BYTES <= batch_bytes <= max_request_bytes <= _MOST_REQUEST_BYTES,
            f"batch_bytes ({batch_bytes}) must be at least {_LEAST_BATCH_BYTES} and at most max_request_bytes"
            f" ({max_request_bytes}), which is at most {_MOST_REQUEST_BYTES}",
        )
        _demand(
            max_request_bytes <= buffer_bytes,
            f"buffer_bytes ({buffer_bytes}) must be at least max_request_bytes ({max_request_bytes})",
        )
        _demand(linger_ms >= 0 and max_block_ms >= 0, "linger_ms and max_block_ms must not be negative")
        _demand(
            request_timeout_ms > 0 and delivery_timeout_ms >= linger_ms + request_timeout_ms,
            f"delivery_timeout_ms ({delivery_timeout_ms}) must be at least linger_ms + request_timeout_ms"
            f" ({linger_ms + request_timeout_ms:g}), which must be above 0",
        )
        try:
            codec = Codec.named(compression)
        except UnsupportedCompressionType as error:
            raise ConfigurationError(f"compression: {error.message}") from error
        return cls(
            acks=wire_acks,
            linger_ms=linger_ms,
            batch_bytes=batch_bytes,
            max_request_bytes=max_request_bytes,
            codec=codec,
            idempotent=idempotent,
            max_in_flight=max_in_flight,
            delivery_timeout_ms=delivery_timeout_ms,
            request_timeout_ms=request_timeout_ms,
            buffer_bytes=buffer_bytes,
            max_block_ms=max_block_ms,
            partitioner=partitioner,
        )


def _demand(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ConfigurationError(otherwise)
