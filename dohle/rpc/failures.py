"""Errors across the wire: a DohleError travels as its code in the trailing metadata, its message as the details.

Without that code the status speaks of the connection alone, and the request may have taken effect.
"""

from __future__ import annotations

from dohle.model.errors import (
    DohleError,
    MessageTooLarge,
    NetworkException,
    RequestTimedOut,
    UnknownServerError,
    UnsupportedVersion,
    error_for,
)
from dohle.rpc.status import End, Status

CODE_KEY = "dohle-error-code"
_LONGEST_MESSAGE = 1000  # characters: trailing metadata is limited to 8 KiB by others, and details are percent-encoded


def end_of(error: DohleError) -> End:
    """Returns the end of an rpc that carries `error`."""
    status = Status.INTERNAL if isinstance(error, UnknownServerError) else Status.FAILED_PRECONDITION
    return End(status, error.message[:_LONGEST_MESSAGE], ((CODE_KEY, str(error.code)),))


def error_of(end: End, peer: str) -> DohleError:
    """Returns the error that an rpc to `peer` means which ended so."""
    for key, value in end.trailers:
        if key == CODE_KEY and value.lstrip("-").isdigit():
            return error_for(int(value), end.details)
    match end.status:
        case Status.DEADLINE_EXCEEDED:
            return RequestTimedOut(f"{peer} did not answer in time; the request may have taken effect")
        case Status.RESOURCE_EXHAUSTED:
            return MessageTooLarge(f"a message from or to {peer} exceeds the limit of gRPC messages: {end.details}")
        case Status.UNIMPLEMENTED:
            return UnsupportedVersion(f"{peer} does not serve this request: {end.details}")
        case Status.OK:
            return NetworkException(f"{peer} has ended the stream")
        case _:
            return NetworkException(f"the connection to {peer} failed ({end.status.name}: {end.details})")
