"""What is encoded is what was said, and decodes to it, in every version of every message."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dohle.kafka.codec import decode, encode
from dohle.kafka.declaration import Message
from tests.kafka.contents import VERSIONS, messages, name_of


def whole(message: Message, version: int) -> bytes:
    return b"".join(encode(message, version))


@pytest.mark.parametrize(("kind", "version"), VERSIONS, ids=name_of)
@settings(max_examples=4)
@given(data=st.data())
def test_every_message_of_every_version_comes_back(kind: type[Message], version: int, data: st.DataObject) -> None:
    message = data.draw(messages(kind, version))
    encoded = whole(message, version)
    assert decode(kind, version, memoryview(encoded)) == (message, len(encoded))
    shifted = memoryview(b"before" + encoded + b"behind")
    assert decode(kind, version, shifted, 6) == (message, 6 + len(encoded))
