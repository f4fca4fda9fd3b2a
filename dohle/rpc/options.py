"""How large messages may be."""

from __future__ import annotations

LARGEST_ANSWER_BYTES = 16 << 20
"""The most that a fetch answer or a push gathers, its first batch aside."""
ENVELOPE_BYTES = 64 << 10
"""Room for everything in a message but record batches."""
DEFAULT_MAX_MESSAGE_BYTES = 8 << 20


def message_limit(max_message_bytes: int) -> int:
    """Returns the largest message: a full answer, and on top one batch of the largest size, which is never split."""
    return LARGEST_ANSWER_BYTES + max_message_bytes + ENVELOPE_BYTES
