"""Messages with contents that hypothesis draws, from their declarations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from dohle.kafka.declaration import Field, Message, Struct, fields_of
from dohle.kafka.messages import API_KEYS, api

Narrow = Callable[[Field], st.SearchStrategy[Any] | None]
"""What a field may hold where less than its type allows will do; None leaves it to its type."""

MESSAGES: list[type[Message]] = [kind for key in API_KEYS for kind in api(key)]
VERSIONS = [(kind, version) for kind in MESSAGES for version in kind.API.versions]


def name_of(case: object) -> str:
    return case.__name__ if isinstance(case, type) else str(case)


def whole_numbers(bits: int, *, signed: bool = True) -> st.SearchStrategy[int]:
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else st.integers(0, (1 << bits) - 1)


WIRE: dict[str, st.SearchStrategy[Any]] = {
    "Bool": st.booleans(),
    "Int8": whole_numbers(8),
    "Int16": whole_numbers(16),
    "Uint16": whole_numbers(16, signed=False),
    "Int32": whole_numbers(32),
    "Int64": whole_numbers(64),
    "Float64": st.floats(allow_nan=False, allow_infinity=False),
    "Uuid": st.binary(min_size=16, max_size=16),
    "String": st.text(max_size=6) | st.just("long" * 40),
    "Bytes": st.binary(max_size=6) | st.just(bytes(200)),
    "Records": st.binary(max_size=6).map(memoryview),
    "RecordPieces": st.binary(max_size=6).map(lambda piece: [memoryview(piece)]),
}


def messages(kind: type[Struct], version: int, narrow: Narrow = lambda _: None) -> st.SearchStrategy[Any]:
    """Draws what `kind` can say in this version; what the version lacks keeps its default."""
    drawn = {field.name: contents(field, version, narrow) for field in fields_of(kind) if field.is_in(version)}
    return st.builds(kind, **drawn)


def contents(field: Field, version: int, narrow: Narrow) -> st.SearchStrategy[Any]:
    narrowed = narrow(field)
    if narrowed is not None:
        one = narrowed
    elif isinstance(field.wire, str):
        one = WIRE[field.wire]
    else:
        one = messages(field.wire, version, narrow)
    drawn: st.SearchStrategy[Any] = st.lists(one, max_size=2) if field.is_list else one
    absent = field.can_be_null(version) or (field.tag is not None and field.default is None)
    return st.none() | drawn if absent else drawn
