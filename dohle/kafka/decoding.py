"""Makes a decoder: a function of one message and version, with every field spelled out.

Lengths and counts are held against the bytes that are left before anything is made of them. What becomes an object of
its own (structs, strings, byte strings in lists, unknown tags) is counted too, and at most `MOST_ELEMENTS` of it may be
in one message, so that memory and time stay bounded whatever a frame says.

Strings are strict UTF-8. Unknown tagged fields are skipped, and bytes behind the message are nobody's concern, as in
Kafka.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, NoReturn

from dohle.kafka.declaration import FIXED_SIZE, Field, Message, Struct, fields_of
from dohle.kafka.source import MOST_STRING_BYTES, Formats, Source, least_bytes, on_wire, tags_of
from dohle.model.errors import MalformedMessage

MOST_ELEMENTS: Final = 1 << 18
"""Takes 0.1 to 0.2 s and some 15 to 40 MB; a cluster's partitions, asked for all at once, are fewer."""
_VARINT_BYTES: Final = 5


def make_decoder(kind: type[Message], version: int) -> Callable[[memoryview, int], tuple[Any, int]]:
    """Returns a function (frame, position) -> (message, position behind it). It raises MalformedMessage."""
    decoder = _Decoder(version, kind.API.is_flexible(version))
    source = decoder.source
    source.open("try:")
    source.line("end = len(buf)")
    source.line(f"room = {MOST_ELEMENTS}")
    decoder.struct(kind, 0)
    source.line("return o0, p")
    source.other("except (IndexError, struct_error):")
    source.line("malformed(p, 'it is cut short')")
    source.other("except UnicodeDecodeError:")
    source.line("malformed(p, 'a string is not UTF-8')")

    def malformed(position: int, what: str) -> NoReturn:
        raise MalformedMessage(
            f"{kind.__name__} version {version}, byte {position}: {what}",
            api=kind.API.name,
            version=version,
            position=position,
        ) from None

    return source.function(  # type: ignore[no-any-return]
        f"decoder of {kind.__name__} {version}",
        struct_error=struct.error,
        malformed=malformed,
        new=object.__new__,
        unsigned=decode_unsigned,
        skip=skip_tags,
    )


def decode_unsigned(buf: memoryview, position: int) -> tuple[int, int]:
    """Returns the unsigned varint at `position`, below 2^31, and the position behind it. IndexError: there is none."""
    number = shift = 0
    for following in range(position, position + _VARINT_BYTES):
        byte = buf[following]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number >> 31:
                break
            return number, following + 1
        shift += 7
    raise IndexError("no varint of 31 bits")


def skip_tags(buf: memoryview, position: int, count: int) -> int:
    """Returns the position behind `count` tagged fields. IndexError: they are cut short."""
    for _ in range(count):
        _, position = decode_unsigned(buf, position)
        size, position = decode_unsigned(buf, position)
        position += size
        if position > len(buf):
            raise IndexError("a tagged field is cut short")
    return position


class _Decoder:
    """Writes the lines. In them `buf` is the frame, `p` the position, `n` a length, `o1` the struct at depth 1."""

    def __init__(self, version: int, flexible: bool) -> None:
        self.version = version
        self.flexible = flexible
        self.source = Source("def run(buf, p):")

    def struct(self, kind: type[Struct], depth: int) -> None:
        """Reads a struct into o<depth>."""
        source = self.source
        target = f"o{depth}"
        source.line(f"{target} = new({source.name(kind, kind)})")
        on_this_wire = on_wire(kind, self.version)
        for field in on_this_wire:
            self._value(field, f"{target}.{field.name}", depth)
        for field in fields_of(kind):
            if field not in on_this_wire:
                source.line(f"{target}.{field.name} = {field.default!r}")
        if self.flexible:
            self._tags(kind, depth)
        self._read_run()

    def _read_run(self) -> None:
        source = self.source
        if source.run:
            format_, targets = source.take_run()
            unpack = source.name(format_.unpack_from, format_.format)
            source.line(f"{', '.join(targets)}, = {unpack}(buf, p)")
            source.line(f"p += {format_.size}")

    def _length(self, into: str, letter: str) -> None:
        """Reads a length or count; -1 is null. It joins the run, of which it is the last."""
        source = self.source
        if not self.flexible:
            source.run.append((letter, into))
            self._read_run()
            return
        self._unsigned(into)
        source.line(f"{into} -= 1")

    def _unsigned(self, into: str) -> None:
        if self.source.run:
            self.source.run.append(("B", into))
            self._read_run()
        else:
            self.source.line(f"{into} = buf[p]; p += 1")
        self.source.line(f"if {into} > 127: {into}, p = unsigned(buf, p - 1)")

    def _value(self, field: Field, target: str, depth: int) -> None:
        if field.is_list:
            self._list(field, target, depth)
        elif not isinstance(field.wire, str):
            self._one_struct(field, field.wire, target, depth)
        elif field.wire in FIXED_SIZE:
            self.source.run.append((FIXED_SIZE[field.wire], target))
        else:
            self._bytes(field, target)

    def _one_struct(self, field: Field, kind: type[Struct], target: str, depth: int) -> None:
        source = self.source
        nullable = field.says_null or (field.tag is None and field.can_be_null(self.version))
        if nullable:
            source.run.append(("b", "n"))
        self._read_run()
        if nullable:
            source.open("if n == 0:" if field.says_null else "if n < 0:")
            source.line(f"{target} = None")
            source.other("else:")
        self.struct(kind, depth + 1)
        source.line(f"{target} = o{depth + 1}")
        if nullable:
            source.close()

    def _null(self, field: Field, target: str) -> None:
        """Follows an `if n >= 0` block with what other lengths mean."""
        source = self.source
        if field.can_be_null(self.version):
            source.other("elif n == -1:")
            source.line(f"{target} = None")
        source.other("else:")
        source.line(f"malformed(p, f'{field.name} has the length {{n}}')")
        source.close()

    def _bytes(self, field: Field, target: str) -> None:
        """Reads a string, bytes or records."""
        source = self.source
        wire = field.wire
        self._length("n", "h" if wire == "String" else "i")
        source.open("if n >= 0:")
        if wire == "String" and self.flexible:
            source.line(f"if n > {MOST_STRING_BYTES}: malformed(p, f'{field.name} is a string of {{n}} bytes')")
        source.line("q = p + n")
        source.line(f"if q > end: malformed(p, f'{field.name} has {{n}} bytes, of which {{end - p}} are there')")
        match wire:
            case "String":
                source.line(f"{target} = buf[p:q].tobytes().decode()")
            case "Bytes":
                source.line(f"{target} = buf[p:q].tobytes()")
            case "Records":
                source.line(f"{target} = buf[p:q]")
            case _:
                assert wire == "RecordPieces"
                source.line(f"{target} = [buf[p:q]]")
        source.line("p = q")
        self._null(field, target)

    def _list(self, field: Field, target: str, depth: int) -> None:
        source = self.source
        self._length("n", "i")
        source.open("if n >= 0:")
        least = least_bytes(field, self.version, self.flexible)
        what = f"{field.name} has {{n}} elements, and {{end - p}} bytes are left"
        source.line(f"if n * {least} > end - p: malformed(p, f'{what}')")
        wire = field.wire
        if isinstance(wire, str) and wire in FIXED_SIZE:
            letter = FIXED_SIZE[wire]
            if wire == "Uuid":
                source.line(f"{target} = [buf[q:q + 16].tobytes() for q in range(p, p + 16 * n, 16)]")
            else:
                formats = source.name(Formats(letter), letter)
                source.line(f"{target} = list({formats}[n].unpack_from(buf, p))")
            source.line(f"p += n * {least}")
        else:
            source.line("room -= n")
            source.line(f"if room < 0: malformed(p, 'it has more than {MOST_ELEMENTS} elements')")
            items, append = f"v{depth}", f"a{depth}"
            source.line(f"{items} = []")
            source.line(f"{target} = {items}")
            source.line(f"{append} = {items}.append")
            source.open("for _ in range(n):")
            if isinstance(wire, str):
                element = Field(field.name, wire, False, None, field.default, field.first, field.last, None)
                self._bytes(element, "s")
                source.line(f"{append}(s)")
            else:
                self.struct(wire, depth + 1)
                source.line(f"{append}(o{depth + 1})")
            source.close()
        self._null(field, target)

    def _tags(self, kind: type[Struct], depth: int) -> None:
        """Reads the tagged fields at the end of a struct; their defaults are set already."""
        source = self.source
        count, stop = f"t{depth}", f"stop{depth}"
        self._unsigned(count)
        known = tags_of(kind, self.version)
        source.open(f"if {count}:")
        source.line(f"room -= {count}")
        source.line(f"if room < 0: malformed(p, 'it has more than {MOST_ELEMENTS} elements')")
        if not known:
            source.line(f"p = skip(buf, p, {count})")
            source.close()
            return
        source.open(f"for _ in range({count}):")
        source.line("tag, p = unsigned(buf, p)")
        source.line("n, p = unsigned(buf, p)")
        source.line(f"{stop} = p + n")
        source.line(f"if {stop} > end: malformed(p, f'tag {{tag}} has {{n}} bytes, of which {{end - p}} are there')")
        for number, field in enumerate(known):
            source.open(f"{'el' if number else ''}if tag == {field.tag}:")
            self._value(field, f"o{depth}.{field.name}", depth)
            self._read_run()
            source.line(f"if p != {stop}: malformed(p, f'{field.name} should end at byte {{{stop}}}')")
            source.close()
        source.open("else:")
        source.line(f"p = {stop}")
        for _ in range(3):
            source.close()
