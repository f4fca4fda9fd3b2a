"""`dohle log`: a segment's batches in words (`dump`). Works on files alone; the node may run or not."""

from __future__ import annotations

import os
import re
import struct

import click

from dohle.cli.log_repair import repair
from dohle.cli.log_verify import verify
from dohle.cli.output import counted, print_json
from dohle.cli.record_text import record_json
from dohle.model.errors import CorruptLog, CorruptMessage, DataFolderError, UnsupportedCompressionType
from dohle.model.records import decode_records

_INDEX_ENTRY = struct.Struct(">ii")
_TIME_INDEX_ENTRY = struct.Struct(">qi")
_KIND = re.compile(r"\.(log|index|timeindex)(\.|$)")  # also of files that are to be deleted, or to take another's place


@click.group()
def log() -> None:
    """Look into a log's files."""


log.add_command(verify)
log.add_command(repair)


@log.command()
@click.argument("file", type=click.Path())
@click.option("--records", is_flag=True, help="Print each batch's records too, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print each batch or entry as a line of JSON.")
def dump(file: str, records: bool, as_json: bool) -> None:
    """Print what a .log, .index or .timeindex FILE holds; exit code 1 if it is damaged."""
    try:
        with open(file, "rb") as opened:
            content = opened.read()
    except OSError as error:
        raise DataFolderError(f"cannot read {file}: {error.strerror}") from error
    kind = _KIND.search(os.path.basename(file))
    if kind is not None and kind[1] != "log":
        _dump_index(file, content, as_json, by_time=kind[1] == "timeindex")
    else:
        _dump_segment(file, content, records, as_json)


def _dump_segment(file: str, content: bytes, with_records: bool, as_json: bool) -> None:
    from dohle.storage.dump import describe, dump_segment

    topic, partition = _partition_of(file)
    batches = 0
    count = 0
    damaged: list[int] = []
    for batch in dump_segment(content):
        header = batch.header
        if as_json:
            fields = header._asdict() if header is not None else {}
            print_json({"position": batch.position, **fields, "codec": batch.codec, "fault": batch.fault})
        else:
            click.echo(describe(batch))
        if batch.fault is not None or header is None:
            damaged.append(batch.position)
            continue
        batches += 1
        count += header.record_count
        if with_records and not header.is_control:
            try:
                for record in decode_records(content, batch.position):
                    click.echo(record_json(topic, partition, record))
            except (CorruptMessage, UnsupportedCompressionType) as error:
                fault = f"its records cannot be read: {error.message}"
                if as_json:
                    print_json({"position": batch.position, "fault": fault})
                else:
                    click.echo(f"position {batch.position}: {fault}")
                damaged.append(batch.position)
    if not as_json:
        click.echo(
            f"{batches} sound batch{'es' * (batches != 1)}, {counted(count, 'record')}, {counted(len(content), 'byte')}"
        )
    if damaged == [0] and batches == 0 and _KIND.search(os.path.basename(file)) is None:
        raise CorruptLog(f"{file} does not begin with a record batch: this reads .log, .index and .timeindex files")
    if damaged:
        raise CorruptLog(f"{file} is damaged at byte {', '.join(map(str, damaged))}: a torn tail, or a failing disk")


def _partition_of(file: str) -> tuple[str, int]:
    """Returns topic and partition by the folder's name; partition -1 if it is not called like one."""
    folder = os.path.basename(os.path.dirname(os.path.abspath(file)))
    topic, _, number = folder.rpartition("-")
    return (topic, int(number)) if topic and number.isdecimal() else (folder, -1)


def _dump_index(file: str, content: bytes, as_json: bool, *, by_time: bool) -> None:
    entry = _TIME_INDEX_ENTRY if by_time else _INDEX_ENTRY
    names = ("timestamp_ms", "relative_offset") if by_time else ("relative_offset", "position")
    whole = len(content) // entry.size * entry.size
    for values in entry.iter_unpack(content[:whole]):
        fields = dict(zip(names, values, strict=True))
        if as_json:
            print_json(fields)
        else:
            click.echo(", ".join(f"{name} {value}" for name, value in fields.items()))
    if whole < len(content):
        raise CorruptLog(f"{file}: the last entry is cut; the index is made anew when the node opens the log")
