"""`dohle log dump`: a segment's batches in words. Works on files alone; the node may run or not."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import click

from dohle.cli.output import print_json
from dohle.cli.record_text import record_json
from dohle.model.batch import HEADER_BYTES, LENGTH_END, BatchHeader, check_crc, is_torn, read_header
from dohle.model.codecs import Codec
from dohle.model.errors import CorruptLog, CorruptMessage, DataFolderError
from dohle.model.records import decode_records

_INDEX_ENTRY = struct.Struct(">ii")
_TIME_INDEX_ENTRY = struct.Struct(">qi")


@click.group()
def log() -> None:
    """Look into a log's files."""


@log.command()
@click.argument("file", type=click.Path())
@click.option("--records", is_flag=True, help="Print each batch's records too, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print each batch or entry as a line of JSON.")
def dump(file: str, records: bool, as_json: bool) -> None:
    """Print what a .log, .index or .timeindex FILE holds; exit code 1 if it is damaged."""
    try:
        with open(file, "rb") as opened:
            if file.endswith((".index", ".timeindex")):
                _dump_index(file, opened, as_json)
            else:
                _dump_segment(file, opened, records, as_json)
    except OSError as error:
        raise DataFolderError(f"cannot read {file}: {error.strerror}") from error


def _dump_segment(file: str, opened: BinaryIO, with_records: bool, as_json: bool) -> None:
    batches = 0
    count = 0
    topic, partition = _partition_of(file)
    for position, header, batch in _batches(file, opened):
        batches += 1
        count += header.record_count
        intact = check_crc(batch, 0, header)
        if as_json:
            print_json({"position": position, **_fields(header), "crc_matches": intact})
        else:
            click.echo(f"{position}: {_words(header)}{'' if intact else ', DAMAGED: the CRC does not match'}")
        if not intact:
            raise CorruptLog(f"{file}, byte {position}: {_diagnosis(batch, position)}")
        if with_records and not header.is_control:
            for record in decode_records(batch):
                click.echo(record_json(topic, partition, record))
    if not as_json:
        click.echo(f"{batches} batches, {count} records, {opened.tell()} bytes")


def _partition_of(file: str) -> tuple[str, int]:
    """Returns topic and partition by the folder's name; partition -1 if it is not called like one."""
    folder = os.path.basename(os.path.dirname(os.path.abspath(file)))
    topic, _, number = folder.rpartition("-")
    return (topic, int(number)) if topic and number.isdecimal() else (folder, -1)


def _batches(file: str, opened: BinaryIO) -> Iterator[tuple[int, BatchHeader, bytes]]:
    """Yields position, header and bytes of each batch. Raises CorruptLog where none can be read."""
    while start := opened.read(HEADER_BYTES):
        position = opened.tell() - len(start)
        try:
            header = read_header(start)
        except CorruptMessage as error:
            raise CorruptLog(f"{file}, byte {position}: {error.message}; {_diagnosis(start, position)}") from error
        batch = start + opened.read(header.batch_length + LENGTH_END - HEADER_BYTES)
        if len(batch) < header.size_bytes:
            raise CorruptLog(
                f"{file}, byte {position}: the file ends inside a batch, {header.size_bytes - len(batch)} bytes early:"
                " a torn tail, if nothing follows it"
            )
        yield position, header, batch


def _diagnosis(batch: bytes, position: int) -> str:
    return (
        "a sector of it is all zeros, as a crash leaves it"
        if is_torn(batch, position)
        else "no crash does this: damage"
    )


def _fields(header: BatchHeader) -> dict[str, Any]:
    return {
        "base_offset": header.base_offset,
        "last_offset": header.last_offset,
        "record_count": header.record_count,
        "size_bytes": header.size_bytes,
        "leader_epoch": header.partition_leader_epoch,
        "codec": _codec_name(header.codec),
        "base_timestamp": header.base_timestamp,
        "max_timestamp": header.max_timestamp,
        "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "transactional": header.is_transactional,
        "control": header.is_control,
    }


def _words(header: BatchHeader) -> str:
    words = [
        f"offsets {header.base_offset} to {header.last_offset}",
        f"{header.record_count} records",
        f"{header.size_bytes} bytes",
        f"epoch {header.partition_leader_epoch}",
        f"codec {_codec_name(header.codec)}",
        f"timestamps {header.base_timestamp} to {header.max_timestamp}",
    ]
    if header.is_idempotent:
        sequences = f"sequences {header.base_sequence} to {header.last_sequence}"
        words.append(f"producer {header.producer_id} epoch {header.producer_epoch} {sequences}")
    if header.is_transactional:
        words.append("transactional")
    if header.is_control:
        words.append("control")
    return ", ".join(words)


def _codec_name(number: int) -> str:
    known = [codec.name.lower() for codec in Codec if codec.value == number]
    return known[0] if known else f"unknown ({number})"


def _dump_index(file: str, opened: BinaryIO, as_json: bool) -> None:
    by_time = file.endswith(".timeindex")
    entry = _TIME_INDEX_ENTRY if by_time else _INDEX_ENTRY
    names = ("timestamp_ms", "relative_offset") if by_time else ("relative_offset", "position")
    while raw := opened.read(entry.size):
        if len(raw) < entry.size:
            raise CorruptLog(f"{file}: the last entry is cut; the index is made anew when the node opens the log")
        values = dict(zip(names, entry.unpack(raw), strict=True))
        if as_json:
            print_json(values)
        else:
            click.echo(", ".join(f"{name} {value}" for name, value in values.items()))
