"""`dohle import-kafka`: brings topics of an Apache Kafka that does not run into a cluster, offsets kept."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from dohle.cli.output import counted, print_json, print_table, progress, size_text
from dohle.cli.session import bootstrap_option, json_option, run_async, timeout_option
from dohle.cli.topic import parse_settings
from dohle.model.errors import ConfigurationError, DohleError, TopicAlreadyExists
from dohle.model.ids import TopicPartition
from dohle.model.topic_config import TopicConfig

if TYPE_CHECKING:
    from dohle.client.admin import Admin
    from dohle.storage.kafka_log import KafkaLog, Survey

KEEPS_ALL = {"retention.ms": "-1"}
"""What is imported is mostly older than a week, and would go at once."""
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Found:
    """One partition that is to be imported."""

    log: KafkaLog
    survey: Survey

    @property
    def name(self) -> TopicPartition:
        return TopicPartition(*self.log.key)

    def to_json(self) -> dict[str, Any]:
        survey = self.survey
        return {
            "topic": self.name.topic,
            "partition": self.name.partition,
            "folder": self.log.folder,
            "start_offset": survey.start_offset,
            "end_offset": survey.end_offset,
            "records": survey.records,
            "bytes": survey.size_bytes,
            "left_out": {
                "aborted_records": survey.aborted_records,
                "records_of_open_transactions": survey.open_records,
                "offsets_above_the_watermark": survey.beyond_watermark,
            },
        }


@click.command("import-kafka")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False), metavar="DIR…")
@click.option("--topic", "names", multiple=True, metavar="NAME", help="Only this one; may be repeated.  [default: all]")
@click.option("-r", "--replication-factor", type=int, help="Replicas of each partition.  [default: the cluster's]")
@click.option("-c", "--config", "configs", multiple=True, callback=parse_settings, metavar="KEY=VALUE")
@click.option("--resume", is_flag=True, help="Go on with topics that an import has begun.")
@click.option("--dry-run", is_flag=True, help="Read everything, say what there is, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@bootstrap_option
@timeout_option
@json_option
def import_kafka(
    folders: tuple[str, ...],
    names: tuple[str, ...],
    replication_factor: int | None,
    configs: dict[str, str],
    resume: bool,
    dry_run: bool,
    yes: bool,
    bootstrap: str,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Import the topics in DIR, the log directories of an Apache Kafka that does not run, or a partition's folder.

    Every committed record keeps its offset, time, key, headers and codec; what was aborted is left out. First all of
    it is read and checked, and said. Topics that exist already are refused.
    """
    if as_json and not (yes or dry_run):
        raise click.UsageError("--json never asks: give --yes, or --dry-run")
    if TopicConfig.from_overrides(configs).is_append_time:
        raise click.UsageError(
            "with message.timestamp.type=LogAppendTime the records would get other times: change the topic afterwards"
        )

    async def work() -> int:
        from dohle.client.admin import Admin
        from dohle.runtime.read_only import ReadOnlyDisk

        for folder in folders:
            _refuse_used(folder)
        disk = ReadOnlyDisk(threads=1)
        try:
            found, passed_over = await _survey(disk, [folder.rstrip("/") or "/" for folder in folders], names)
            topics = _settings(found, configs)
            if not as_json:
                _print_plan(found, passed_over, topics)
            if dry_run:
                return _told(found, passed_over, as_json, imported=False)
            async with Admin(bootstrap, request_timeout_ms=int(timeout_s * 1000), client_id="dohle-import") as admin:
                await _refuse_existing(admin, found, topics, replication_factor, resume=resume)
                if not yes:
                    click.confirm("Import this?", abort=True, err=True)
                await _create(admin, found, topics, replication_factor)
                await _write(bootstrap, found)
            return _told(found, passed_over, as_json, imported=True)
        finally:
            disk.close()

    return run_async(work())


def _refuse_used(folder: str) -> None:
    """Raises ConfigurationError if a Kafka runs on the directory: it locks this file as long as it lives."""
    for path in (f"{folder}/.lock", f"{folder}/../.lock"):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EACCES, errno.EROFS):
                continue
            raise
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(f"{folder} is in use: a process holds {path}; stop Kafka first") from None
        finally:
            os.close(descriptor)


async def _survey(disk: Any, folders: list[str], names: Sequence[str]) -> tuple[list[_Found], list[str]]:
    """Reads everything. Raises ConfigurationError where partitions or topics are missing, CorruptLog."""
    from dohle.storage.kafka_dirs import find_kafka_logs

    dirs = await find_kafka_logs(disk, folders)
    logs = [log for log in dirs.logs if not names or log.key[0] in names]
    present: dict[str, list[int]] = {}
    for log in logs:
        present.setdefault(log.key[0], []).append(log.key[1])
    if missing := sorted(set(names) - present.keys()):
        raise ConfigurationError(f"there is no topic {', '.join(missing)} in {', '.join(folders)}")
    if not logs:
        raise ConfigurationError(f"there is no partition of a topic in {', '.join(folders)}: no folder like orders-0")
    for topic, numbers in present.items():
        if gone := sorted(set(range(max(numbers))) - set(numbers)):
            raise ConfigurationError(
                f"{topic} has a partition {max(numbers)}, but {', '.join(map(str, gone))} is not there: name all the"
                " log directories that its partitions lie in"
            )
    with progress("reading", len(logs)) as done:
        found = []
        for log in logs:
            found.append(_Found(log, await log.survey()))
            done(len(found))
    return found, dirs.passed_over


def _settings(found: Sequence[_Found], configs: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Returns the overrides of each topic: those given, and what its records need."""
    topics: dict[str, dict[str, str]] = {}
    for one in found:
        settings = topics.setdefault(one.name.topic, {**KEEPS_ALL, **configs})
        if one.survey.largest_batch_bytes > TopicConfig.from_overrides(settings).max_message_bytes:
            if "max.message.bytes" in configs:
                raise ConfigurationError(
                    f"a batch of {one.name} has {one.survey.largest_batch_bytes} bytes, more than max.message.bytes"
                )
            settings["max.message.bytes"] = str(one.survey.largest_batch_bytes)
    return topics


def _print_plan(found: Sequence[_Found], passed_over: Sequence[str], topics: Mapping[str, Mapping[str, str]]) -> None:
    rows = []
    for one in found:
        survey = one.survey
        left_out = survey.aborted_records + survey.open_records
        offsets = f"{survey.start_offset}..{survey.end_offset}"
        rows.append((one.name, offsets, survey.records, size_text(survey.size_bytes), left_out))
    print_table(("PARTITION", "OFFSETS", "RECORDS", "BYTES", "NOT COMMITTED"), rows)
    for path in passed_over:
        click.echo(f"passed over: {path}")
    for one in found:
        if one.survey.beyond_watermark:
            click.echo(f"{one.name}: {counted(one.survey.beyond_watermark, 'offset')} above the watermark are left out")
    for topic, settings in topics.items():
        click.echo(f"{topic}: {', '.join(f'{key}={value}' for key, value in settings.items())}")
    partitions, records = counted(len(found), "partition"), sum(one.survey.records for one in found)
    size = size_text(sum(one.survey.size_bytes for one in found))
    click.echo(f"{counted(len(topics), 'topic')}, {partitions}, {counted(records, 'record')}, {size}")


async def _refuse_existing(
    admin: Admin,
    found: Sequence[_Found],
    topics: Mapping[str, Mapping[str, str]],
    replication_factor: int | None,
    *,
    resume: bool,
) -> None:
    """Raises TopicAlreadyExists, or whatever else keeps one of the topics from being made; nothing was changed."""
    from dohle.client.values import NewTopic

    counts = _partition_counts(found)
    existing = {topic.name: len(topic.partitions) for topic in await admin.list_topics() if topic.name in topics}
    for name, count in existing.items():
        if not resume:
            raise TopicAlreadyExists(
                f"topic {name} exists: delete it first, leave it out by --topic, or go on with an import by --resume"
            )
        if count != counts[name]:
            raise TopicAlreadyExists(f"topic {name} exists with {counted(count, 'partition')}: no import of this one")
    fresh = [
        NewTopic(name, counts[name], replication_factor, settings)
        for name, settings in topics.items()
        if name not in existing
    ]
    for outcome in (await admin.create_topics(fresh, validate_only=True)).values() if fresh else ():
        if isinstance(outcome, DohleError):
            raise outcome


def _partition_counts(found: Sequence[_Found]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in found:
        counts[one.name.topic] = max(counts.get(one.name.topic, 0), one.name.partition + 1)
    return counts


async def _create(
    admin: Admin, found: Sequence[_Found], topics: Mapping[str, Mapping[str, str]], replication_factor: int | None
) -> None:
    counts = _partition_counts(found)
    existing = {topic.name for topic in await admin.list_topics()}
    for name, settings in topics.items():
        if name not in existing:
            await admin.create_topic(
                name, partitions=counts[name], replication_factor=replication_factor, configs=settings
            )


async def _write(bootstrap: str, found: Sequence[_Found]) -> None:
    from dohle.client.placed_writer import PlacedWriter

    with progress("offsets", sum(one.survey.end_offset for one in found)) as done:
        before = 0
        async with PlacedWriter(bootstrap, patience_s=_PATIENCE_S) as writer:
            for number, one in enumerate(found):
                try:
                    moved = partial(_moved, done, before)
                    await writer.write(one.name, one.log.placed_batches, one.survey.end_offset, moved)
                except DohleError as error:
                    click.echo(
                        f"{counted(number, 'partition')} of {len(found)} imported, {one.name} in part: the same command"
                        " with --resume goes on",
                        err=True,
                    )
                    raise type(error)(f"{one.name}: {error.message}") from error
                before += one.survey.end_offset


def _moved(done: Callable[[int], None], before: int, offset: int) -> None:
    done(before + offset)


def _told(found: Sequence[_Found], passed_over: Sequence[str], as_json: bool, *, imported: bool) -> int:
    if as_json:
        print_json(
            {
                "imported": imported,
                "partitions": [one.to_json() for one in found],
                "passed_over": list(passed_over),
                "records": sum(one.survey.records for one in found),
                "bytes": sum(one.survey.size_bytes for one in found),
            }
        )
    elif imported:
        click.echo(
            f"imported {counted(sum(one.survey.records for one in found), 'record')}, acknowledged by all in sync"
        )
    else:
        click.echo("nothing was changed")
    return 0
