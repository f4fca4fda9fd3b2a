"""Errors across the wire: a DohleError travels as its code in the trailing metadata, its message as the details.

Without that code the status speaks of the connection alone, and the request may have taken effect.
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc

from dohle.model.errors import (
    DohleError,
    MessageTooLarge,
    NetworkException,
    RequestTimedOut,
    UnknownServerError,
    UnsupportedVersion,
    error_for,
)

CODE_KEY = "dohle-error-code"
_LONGEST_MESSAGE = 1000  # characters: trailing metadata is limited to 8 KiB, and details are percent-encoded


def status_of(error: DohleError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]:
    """Returns status, details and trailing metadata that carry `error`."""
    status = grpc.StatusCode.INTERNAL if isinstance(error, UnknownServerError) else grpc.StatusCode.FAILED_PRECONDITION
    return status, error.message[:_LONGEST_MESSAGE], ((CODE_KEY, str(error.code)),)


def error_of(failure: grpc.aio.AioRpcError, peer: str) -> DohleError:
    """Returns the error that a failed rpc to `peer` means."""
    return error_from(failure.code(), failure.details() or "", failure.trailing_metadata() or (), peer)


def error_from(
    status: grpc.StatusCode, details: str, trailers: Iterable[tuple[str, str | bytes]], peer: str
) -> DohleError:
    """Returns the error that an rpc to `peer` means which ended with `status`."""
    for key, value in trailers:
        if key == CODE_KEY:
            return error_for(int(value), details)
    match status:
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return RequestTimedOut(f"{peer} did not answer in time; the request may have taken effect")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return MessageTooLarge(f"a message from or to {peer} exceeds the limit of gRPC messages: {details}")
        case grpc.StatusCode.UNIMPLEMENTED:
            return UnsupportedVersion(f"{peer} does not serve this request: {details}")
        case grpc.StatusCode.OK:
            return NetworkException(f"{peer} has ended the stream")
        case _:
            return NetworkException(f"the connection to {peer} failed ({status.name}: {details})")
