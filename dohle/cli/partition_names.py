"""How partitions and plans are written on the command line and in files."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from dohle.client.partition_changes import Reassignment
from dohle.model.errors import ConfigurationError
from dohle.model.ids import TopicPartition

_RATE = re.compile(r"(\d+)\s*([kKmMgG]?)(?:i?[bB])?(?:/s)?")
_SIZE = re.compile(r"(\d+)\s*([kKmMgGtT]?)(?:i?[bB])?")
_FACTORS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}


def parse_partition(text: str) -> TopicPartition:
    """Returns the partition in TOPIC:PARTITION. Raises click.BadParameter."""
    topic, colon, number = text.rpartition(":")
    if not colon or not topic or not number.isdecimal():
        raise click.BadParameter(f"{text!r} is no partition: write TOPIC:PARTITION, as in orders:0")
    return TopicPartition(topic, int(number))


def parse_move(text: str) -> Reassignment:
    """Returns what TOPIC:PARTITION=1,2,3 asks for. Raises click.BadParameter."""
    name, equals, nodes = text.partition("=")
    if not equals or not all(node.strip().isdecimal() for node in nodes.split(",")):
        raise click.BadParameter(f"{text!r} is no move: write TOPIC:PARTITION=NODE,NODE,…, as in orders:0=1,2,3")
    topic, partition = parse_partition(name)
    return Reassignment(topic, partition, tuple(int(node) for node in nodes.split(",")))


def parse_rate(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    """Returns bytes a second for 500k, 10M or a plain number."""
    if text is None:
        return None
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is no rate: write bytes a second, as in 500k, 10M or 0 for no bound")
    return int(found[1]) * _FACTORS[found[2].lower()]


def parse_size(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    """Returns bytes for 500k, 50G or a plain number."""
    if text is None:
        return None
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is no size: write bytes, as in 500M or 50G")
    return int(found[1]) * _FACTORS[found[2].lower()]


def read_plan(path: str) -> list[Reassignment]:
    """Returns the plan in a file of the form that Kafka's tools write. Raises ConfigurationError.

    Beside `topic`, `partition` and `replicas` a part may say the `partition_epoch` on which it was made.
    """
    try:
        with open(path, encoding="utf-8") as file:
            parts = json.load(file)["partitions"]
        return [_part(part) for part in parts]
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is no plan ({error}): it must look like"
            ' {"partitions": [{"topic": "orders", "partition": 0, "replicas": [1, 2, 3]}]}'
        ) from None


def _part(part: Any) -> Reassignment:
    topic, partition, replicas, epoch = (
        part["topic"],
        part["partition"],
        part["replicas"],
        part.get("partition_epoch"),
    )
    numbers = [partition, *replicas, *([] if epoch is None else [epoch])]
    if not isinstance(topic, str) or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f"a part says {json.dumps(part)}")
    return Reassignment(topic, partition, tuple(replicas), epoch)
