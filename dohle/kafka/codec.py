"""The codec: encoders and decoders by message and version, made with their first use and kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar

from dohle.kafka.declaration import Buffer, Message
from dohle.kafka.decoding import make_decoder
from dohle.kafka.encoding import make_encoder

M = TypeVar("M", bound=Message)


@cache
def _decoder(kind: type[Message], version: int) -> Callable[[memoryview, int], tuple[Message, int]]:
    _check(kind, version)
    return make_decoder(kind, version)


@cache
def _encoder(kind: type[Message], version: int) -> Callable[[Message, bytes], list[Buffer]]:
    _check(kind, version)
    return make_encoder(kind, version)


def _check(kind: type[Message], version: int) -> None:
    versions = kind.API.versions
    if version not in versions:
        raise ValueError(f"{kind.__name__} has the versions {versions.start} to {versions.stop - 1}, not {version}")


def decode(kind: type[M], version: int, frame: memoryview, position: int = 0) -> tuple[M, int]:
    """Returns the message that begins at `position` of the frame, and the position behind it.

    Its records are views into the frame. Raises MalformedMessage for bytes that are not such a message, and ValueError
    for a version that is not declared.
    """
    message, behind = _decoder(kind, version)(frame, position)
    assert isinstance(message, kind)
    return message, behind


def encode(message: Message, version: int, head: bytes = b"") -> list[Buffer]:
    """Returns `head` and the message as buffers, in the order of the wire; the first is a bytearray, for its writer.

    Records are handed on and not copied. Raises ValueError for what the version cannot say: a null, a number or a
    string beyond its type, a version that is not declared.
    """
    return _encoder(type(message), version)(message, head)
