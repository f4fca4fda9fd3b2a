"""How a message of Kafka's protocol is declared: as a class whose annotated fields are the wire format.

::

    class FindCoordinatorRequest(Request, key=10, versions=(0, 6), flexible=3):
        key: String = until(3, default="")                        # versions 0 to 3
        key_type: Int8 = since(1, default=0)                      # versions 1 to 6
        coordinator_keys: list[String] = since(4, default=[])

Fields stand in the order of the wire. A field's annotation is one of the wire types below, a `Struct` (mostly a class
nested in the one that uses it), a `list[...]` of either, each of them `| None` where the wire can say null. A field of
every version without a default must be given to the constructor. Any other one has Kafka's default, which decoding
uses too for a field that the version lacks; lists and structs are made anew each time.

To a type checker the classes are dataclasses with keyword-only fields. They have slots, no methods beyond `__init__`,
`__eq__` and `__repr__`, and no check of what is put in: decoding makes only what the declaration allows, and encoding
refuses what it does not. Annotations are read as text when a message is first used, so that declaring one costs no
more than making its class.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Final, TypeAlias, dataclass_transform

Buffer: TypeAlias = bytes | bytearray | memoryview

Bool: TypeAlias = bool
Int8: TypeAlias = int
Int16: TypeAlias = int
Uint16: TypeAlias = int
Int32: TypeAlias = int
Int64: TypeAlias = int
Float64: TypeAlias = float
Uuid: TypeAlias = bytes
"""16 bytes; all zero where there is none."""
String: TypeAlias = str
"""At most 32,767 bytes of UTF-8."""
Bytes: TypeAlias = bytes
Records: TypeAlias = memoryview
"""Record batches as they came: a view into the frame, which lives as long as the view."""
RecordPieces: TypeAlias = list[Buffer]
"""Record batches to send, in pieces that are never copied; decoding gives one view into the frame."""

NO_UUID: Final = bytes(16)

FIXED_SIZE: Final = {
    "Bool": "?",
    "Int8": "b",
    "Int16": "h",
    "Uint16": "H",
    "Int32": "i",
    "Int64": "q",
    "Float64": "d",
    "Uuid": "16s",
}
"""The wire types of fixed size, in the letters of the module `struct`."""
WIRE_TYPES: Final = frozenset({*FIXED_SIZE, "String", "Bytes", "Records", "RecordPieces"})

_REQUIRED: Final = object()
_LATEST: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class _Presence:
    """In which versions a field is on the wire, and what it is worth elsewhere."""

    default: object
    first: int = 0
    last: int = _LATEST
    nullable: int = 0
    tag: int | None = None
    says_null: bool = False


def always(*, default: Any = _REQUIRED, nullable: int = 0) -> Any:
    """A field of every version; `nullable` is the first version that can say null."""
    return _Presence(default, nullable=nullable)


def since(first: int, *, default: Any, nullable: int = 0) -> Any:
    """A field that came with version `first`."""
    return _Presence(default, first, nullable=nullable)


def until(last: int, *, default: Any, nullable: int = 0) -> Any:
    """A field that version `last` was the last to have."""
    return _Presence(default, last=last, nullable=nullable)


def within(first: int, last: int, *, default: Any, nullable: int = 0) -> Any:
    """A field of the versions `first` to `last`."""
    return _Presence(default, first, last, nullable)


def tagged(tag: int, first: int, *, default: Any, says_null: bool = False) -> Any:
    """A tagged field that came with version `first`; on the wire only where it is not the default.

    A tagged struct is None where the wire does not have it; with `says_null` the wire always has it, and can say null.
    """
    return _Presence(default, first, tag=tag, says_null=says_null)


@dataclass_transform(kw_only_default=True, field_specifiers=(always, since, until, within, tagged))
class _Declared(type):
    """Makes slots of the annotated fields, and keeps what was declared of them."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **declared: Any) -> _Declared:
        annotations: dict[str, str] = {
            field: text
            for field, text in namespace.get("__annotations__", {}).items()
            if not text.startswith("ClassVar")
        }
        namespace["_declared"] = {field: (text, namespace.pop(field, _REQUIRED)) for field, text in annotations.items()}
        namespace["__slots__"] = tuple(annotations)
        return super().__new__(cls, name, bases, namespace, **declared)


class Struct(metaclass=_Declared):
    """A part of a message: named fields, one after the other."""

    _declared: ClassVar[dict[str, tuple[str, object]]]

    def __init__(self, **fields: object) -> None:
        """Makes the constructor of this class, which takes this one's place, and calls it."""
        kind = type(self)
        constructor = _constructor(kind)
        kind.__init__ = constructor  # type: ignore[method-assign]
        constructor(self, **fields)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            getattr(self, name) == getattr(other, name) for name in type(self)._declared
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in type(self)._declared)
        return f"{type(self).__qualname__}({fields})"


@dataclass(frozen=True, slots=True)
class Api:
    """What a message belongs to: Kafka's number and name for it, and the versions that are declared."""

    key: int
    name: str
    versions: range
    flexible: int | None
    """The first version with compact lengths and tagged fields; None if there is none."""

    def is_flexible(self, version: int) -> bool:
        return self.flexible is not None and version >= self.flexible


class Message(Struct):
    """A whole request or response."""

    API: ClassVar[Api]

    def __init_subclass__(
        cls, *, key: int | None = None, versions: tuple[int, int] = (0, 0), flexible: int | None = None
    ) -> None:
        """`versions` are the first and the last one; `flexible` is the first flexible one, if there is one."""
        if key is not None:
            first, last = versions
            name = cls.__name__.removesuffix("Request").removesuffix("Response")
            cls.API = Api(key, name, range(first, last + 1), flexible)


class Request(Message):
    """What a client asks."""


class Response(Message):
    """What a broker answers."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field as the codec sees it."""

    name: str
    wire: str | type[Struct]
    """A name of `WIRE_TYPES`, or the struct."""
    is_list: bool
    nullable: int | None
    """The first version that can say null; None if none can."""
    default: object
    first: int
    last: int
    tag: int | None
    says_null: bool = False
    """Of a tagged struct: null is said by a zero behind the tag, a one goes before what is not null."""

    def is_in(self, version: int) -> bool:
        return self.first <= version <= self.last

    def can_be_null(self, version: int) -> bool:
        return self.nullable is not None and version >= self.nullable

    @property
    def required(self) -> bool:
        return self.default is _REQUIRED


@cache
def fields_of(kind: type[Struct]) -> tuple[Field, ...]:
    """Returns the fields of a struct or message, in the order of the wire."""
    return tuple(_field(kind, name, text, given) for name, (text, given) in kind._declared.items())


def _field(kind: type[Struct], name: str, text: str, given: object) -> Field:
    presence = given if isinstance(given, _Presence) else _Presence(given)
    inner, _, null = text.partition(" | ")
    is_list = inner.startswith("list[")
    wire = inner.removeprefix("list[").removesuffix("]")
    nullable = presence.nullable if null else None
    resolved = wire if wire in WIRE_TYPES else _struct(kind, name, wire)
    span = (presence.first, presence.last)
    return Field(name, resolved, is_list, nullable, presence.default, *span, presence.tag, presence.says_null)


def _struct(kind: type[Struct], name: str, path: str) -> type[Struct]:
    """Finds the struct that a field's annotation names: in the class of the field, or from the module down."""
    first, *rest = path.split(".")
    found: Any = vars(kind).get(first) or vars(sys.modules[kind.__module__]).get(first)
    for inner in rest:
        found = getattr(found, inner, None)
    if isinstance(found, type) and issubclass(found, Struct):
        return found
    raise TypeError(f"{kind.__qualname__}.{name} has the unknown type {path}")


def _constructor(kind: type[Struct]) -> Any:
    fields = fields_of(kind)
    parameters = ["self"] + ["*"] * bool(fields)
    body = []
    for field in fields:
        parameters.append(field.name if field.required else f"{field.name}=absent")
        if field.required:
            body.append(f" self.{field.name} = {field.name}")
        else:
            body.append(f" self.{field.name} = {field.default!r} if {field.name} is absent else {field.name}")
    source = f"def __init__({', '.join(parameters)}):\n" + "\n".join(body or [" pass"])
    namespace: dict[str, Any] = {"absent": _REQUIRED}
    exec(source, namespace)  # noqa: S102 - made of declared names and their defaults alone
    return namespace["__init__"]
