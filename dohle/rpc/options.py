"""gRPC's options, all of them here, each with its reason.

What is not set keeps gRPC's default. tests/rpc shows that each does what it is here for.
"""

from __future__ import annotations

LARGEST_ANSWER_BYTES = 16 << 20
"""The most that a fetch answer or a push gathers, its first batch aside."""
ENVELOPE_BYTES = 64 << 10
"""Room for everything in a message but record batches."""

Option = tuple[str, int]


def message_limit(max_message_bytes: int) -> int:
    """Returns the largest message: a full answer, and on top one batch of the largest size, which is never split."""
    return LARGEST_ANSWER_BYTES + max_message_bytes + ENVELOPE_BYTES


def channel_options(max_message_bytes: int) -> list[Option]:
    """Returns the options of a connection."""
    return [
        *_common_options(max_message_bytes),
        # Channels to one address share a connection unless told not to, and lanes would queue behind each other.
        ("grpc.use_local_subchannel_pool", 1),
        # A node that is back is found again in half a second: gRPC adds up to a fifth to its longest pause.
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 400),
        # In spite of its name the time that one attempt to connect may take; 20 s by default, which is how long a
        # machine that is switched off would hold up whoever calls it.
        ("grpc.min_reconnect_backoff_ms", 1000),
        # A node that comes back under another address (containers do) is not looked for at its old one for 30 s.
        ("grpc.dns_min_time_between_resolutions_ms", 1000),
        # Nodes and clients talk to each other directly, whatever the environment says about browsing the web.
        ("grpc.enable_http_proxy", 0),
        # Who may repeat a request is decided by those who know whether it is idempotent.
        ("grpc.enable_retries", 0),
        # Service configs would be looked up in DNS.
        ("grpc.service_config_disable_resolution", 1),
    ]


def server_options(max_message_bytes: int) -> list[Option]:
    """Returns the options of a server."""
    return [
        *_common_options(max_message_bytes),
        # Else a second server on the same port starts without an error and takes half of the connections.
        ("grpc.so_reuseport", 0),
        # Else a peer that pings as often as ours do is disconnected for pinging too much.
        ("grpc.http2.min_ping_interval_without_data_ms", 500),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def _common_options(max_message_bytes: int) -> list[Option]:
    limit = message_limit(max_message_bytes)
    return [
        ("grpc.max_send_message_length", limit),
        ("grpc.max_receive_message_length", limit),
        # A machine that is gone without a word is noticed after 2.5 s, before its session's 3 s are over. A stop of
        # half a second, which must break nothing, is far from that.
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_timeout_ms", 1500),
        # The one that counts: a ping without an answer otherwise breaks the connection after 60 s, whatever is above.
        ("grpc.http2.ping_timeout_ms", 1500),
        # Pings go on while a stream has nothing to say.
        ("grpc.http2.max_pings_without_data", 0),
    ]
