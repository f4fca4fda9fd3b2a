"""Makes an encoder: a function of one message and version, with every field spelled out.

It gives a list of buffers: records stand in it as they were handed in, and what lies between them is joined. Tagged
fields are written only where they are not the default; a field that the version lacks is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, NoReturn

from dohle.kafka.declaration import FIXED_SIZE, Buffer, Field, Message, Struct
from dohle.kafka.source import MOST_STRING_BYTES, Formats, Source, on_wire, tags_of

_TABLED: Final = 1 << 14


def make_encoder(kind: type[Message], version: int) -> Callable[[Any, bytes], list[Buffer]]:
    """Returns a function (message, head) -> buffers, of which the first is a bytearray that begins with `head`.

    It raises ValueError for a value that the version cannot say.
    """
    encoder = _Encoder(version, kind.API.is_flexible(version))
    source = encoder.source
    source.open("try:")
    source.line("done = []")
    source.line("out = [head]")
    source.line("add = out.append")
    encoder.struct(kind, 0)
    source.line("if out: done.append(bytearray().join(out))")
    source.line("return done")
    source.other("except (struct_error, AttributeError, TypeError) as error:")
    source.line("unsayable(error)")

    def unsayable(error: Exception) -> NoReturn:
        raise ValueError(f"{kind.__name__} version {version} cannot say this: {error}") from error

    return source.function(  # type: ignore[no-any-return]
        f"encoder of {kind.__name__} {version}",
        struct_error=struct.error,
        unsayable=unsayable,
        unsigned=UNSIGNED,
        too_long=_too_long,
    )


class _Unsigned(dict[int, bytes]):
    """Unsigned varints by number, worked out at first use; only small ones are kept, so that the table stays small."""

    def __missing__(self, number: int) -> bytes:
        rest, encoded = number, bytearray()
        while rest > 0x7F:
            encoded.append(rest & 0x7F | 0x80)
            rest >>= 7
        encoded.append(rest)
        if number < _TABLED:
            self[number] = bytes(encoded)
        return bytes(encoded)


UNSIGNED: Final = _Unsigned()
"""The varint of every number >= 0."""


def _too_long(name: str, length: int) -> NoReturn:
    raise TypeError(f"{name} has {length} bytes; a string has at most {MOST_STRING_BYTES}")


class _Encoder:
    """Writes the lines. In them `add` takes the next bytes, and `o1` is the struct at depth 1."""

    def __init__(self, version: int, flexible: bool) -> None:
        self.version = version
        self.flexible = flexible
        self.source = Source("def run(o0, head):")
        self._locals = 0

    def struct(self, kind: type[Struct], depth: int) -> None:
        """Writes o<depth>."""
        for field in on_wire(kind, self.version):
            self._value(field, f"o{depth}.{field.name}", depth)
        if self.flexible:
            self._tags(kind, depth)
        self._write_run()

    def _local(self, letter: str) -> str:
        self._locals += 1
        return f"{letter}{self._locals}"

    def _write_run(self) -> None:
        source = self.source
        if source.run:
            if all(expression.isdigit() for _, expression in source.run):
                format_, values = source.take_run()
                source.line(f"add({format_.pack(*map(int, values))!r})")
                return
            format_, expressions = source.take_run()
            source.line(f"add({source.name(format_.pack, format_.format)}({', '.join(expressions)}))")

    def _length(self, length: str, letter: str) -> None:
        """Writes a length or count; -1 is null. It joins the run, of which it is the last."""
        source = self.source
        if self.flexible:
            self._write_run()
            source.line(f"add(unsigned[{length} + 1])")
        else:
            source.run.append((letter, length))
            self._write_run()

    def _value(self, field: Field, value: str, depth: int) -> None:
        if field.is_list:
            self._list(field, value, depth)
        elif not isinstance(field.wire, str):
            self._one_struct(field, field.wire, value, depth)
        elif field.wire == "Uuid":
            self._uuid(field, value)
        elif field.wire in FIXED_SIZE:
            self.source.run.append((FIXED_SIZE[field.wire], value))
        elif field.wire == "String":
            self._string(field, value)
        else:
            self._buffer(field, value)

    def _uuid(self, field: Field, value: str) -> None:
        """`struct` would pad or cut what is not 16 bytes."""
        local = self._local("u")
        self.source.line(f"{local} = {value}")
        self.source.line(f"if len({local}) != 16: raise TypeError('{field.name} is a UUID: 16 bytes')")
        self.source.run.append(("16s", local))

    def _one_struct(self, field: Field, kind: type[Struct], value: str, depth: int) -> None:
        source = self.source
        inner = f"o{depth + 1}"
        source.line(f"{inner} = {value}")
        nullable = field.says_null or (field.tag is None and field.can_be_null(self.version))
        if nullable:
            self._write_run()
            null = b"\0" if field.says_null else b"\xff"
            source.line(f"if {inner} is None: add({null!r})")
            source.open("else:")
            source.run.append(("b", "1"))
        self.struct(kind, depth + 1)
        if nullable:
            source.close()

    def _string(self, field: Field, value: str) -> None:
        source = self.source
        text, length = self._local("s"), self._local("n")
        if field.can_be_null(self.version):
            source.line(f"{text} = {value}")
            source.line(f"if {text} is None: {text} = b''; {length} = -1")
            source.line(f"else: {text} = {text}.encode(); {length} = len({text})")
        else:
            source.line(f"{text} = {value}.encode()")
            source.line(f"{length} = len({text})")
        source.line(f"if {length} > {MOST_STRING_BYTES}: too_long('{field.name}', {length})")
        self._length(length, "h")
        source.line(f"add({text})")

    def _buffer(self, field: Field, value: str) -> None:
        """Writes bytes, or records, which become a buffer, or several, of their own."""
        source = self.source
        pieces, length = self._local("b"), self._local("n")
        source.line(f"{pieces} = {value}")
        size = f"sum(map(len, {pieces}))" if field.wire == "RecordPieces" else f"len({pieces})"
        if field.can_be_null(self.version):
            source.line(f"{length} = -1 if {pieces} is None else {size}")
        else:
            source.line(f"{length} = {size}")
        self._length(length, "i")
        source.open(f"if {length} > 0:")
        if field.wire == "Bytes":
            source.line(f"add({pieces})")
        else:
            source.line("done.append(bytearray().join(out))")
            source.line("out.clear()")
            if field.wire == "RecordPieces":
                source.line(f"done += {pieces}")
            else:
                source.line(f"done.append({pieces})")
        source.close()

    def _list(self, field: Field, value: str, depth: int) -> None:
        source = self.source
        items = self._local("v")
        source.line(f"{items} = {value}")
        nullable = field.can_be_null(self.version)
        if nullable:
            self._write_run()
            null = b"\0" if self.flexible else b"\xff" * 4
            source.line(f"if {items} is None: add({null!r})")
            source.open("else:")
        self._length(f"len({items})", "i")
        wire = field.wire
        if isinstance(wire, str) and wire in FIXED_SIZE and wire != "Uuid":
            formats = source.name(Formats(FIXED_SIZE[wire]), FIXED_SIZE[wire])
            source.line(f"if {items}: add({formats}[len({items})].pack(*{items}))")
        else:
            inner = f"o{depth + 1}"
            source.open(f"for {inner} in {items}:")
            if isinstance(wire, str):
                element = Field(field.name, wire, False, None, field.default, field.first, field.last, None)
                self._value(element, inner, depth)
                self._write_run()
            else:
                self.struct(wire, depth + 1)
            source.close()
        if nullable:
            source.close()

    def _tags(self, kind: type[Struct], depth: int) -> None:
        known = tags_of(kind, self.version)
        if not known:
            self.source.run.append(("B", "0"))
            return
        self._write_run()
        source = self.source
        differing = [self._differs(field, f"o{depth}.{field.name}") for field in known]
        source.open(f"if {' or '.join(differing)}:")
        source.line(f"add(unsigned[{' + '.join(f'({test})' for test in differing)}])")
        outer = f"out{depth}"
        for field, test in sorted(zip(known, differing, strict=True), key=lambda pair: pair[0].tag or 0):
            source.open(f"if {test}:")
            source.line(f"{outer} = out; out = []; add = out.append")
            self._value(field, f"o{depth}.{field.name}", depth)
            self._write_run()
            source.line("tag = b''.join(out)")
            source.line(f"out = {outer}; add = out.append")
            source.line(f"add({UNSIGNED[field.tag or 0]!r}); add(unsigned[len(tag)]); add(tag)")
            source.close()
        source.other("else:")
        source.line("add(b'\\0')")
        source.close()

    def _differs(self, field: Field, value: str) -> str:
        if field.is_list and field.default == []:
            return f"{value} is None or len({value}) > 0" if field.can_be_null(self.version) else f"len({value}) > 0"
        if field.says_null:
            return "True"
        return f"{value} is not None" if field.default is None else f"{value} != {field.default!r}"
