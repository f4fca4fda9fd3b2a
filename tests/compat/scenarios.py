"""What is tried with every client, each once. A scenario that returns has passed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dohle.model.codecs import Codec
from tests.compat.client import KafkaClient, never
from tests.compat.group_scenarios import outlives_its_coordinator, shares
from tests.compat.own_view import OwnView
from tests.compat.python_clients import Librdkafka
from tests.integration.clusters import until

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
_GROUP_S = 60.0


@dataclass(frozen=True)
class Scenario:
    """One column of docs/compatibility.md."""

    key: str
    part: str
    """The table that it stands in: writing, reading or topics."""
    title: str
    run: Callable[[OwnView, KafkaClient, bool], None]
    """Runs it; the last argument says whether the client may write twice what it writes while a leader dies."""
    short: bool = False
    """Whether `make compat SHORT=1` runs it too."""


def _values(count: int, of: str = "") -> list[bytes]:
    return [f"{of}{number} {'x' * 300}".encode() for number in range(count)]


def _writes(codec: str, seen: OwnView, client: KafkaClient, _repeats: bool) -> None:
    with seen.topic() as topic:
        client.produce(topic, _values(40), codec, never)
        assert seen.codecs(topic) == {Codec[codec.upper()]}
        assert seen.values(topic) == _values(40)


def _outlives_a_leader(seen: OwnView, client: KafkaClient, repeats: bool) -> None:
    with seen.topic() as topic:
        leader = seen.leader(topic)
        try:
            client.produce(topic, _values(200), "none", lambda: seen.cluster.kill(leader))
            stored = seen.values(topic)
        finally:
            seen.cluster.up()
            seen.cluster.until_healthy(60)
        if repeats:
            stored = sorted(set(stored), key=_values(200).index)
        assert stored == _values(200)


def _creates_by_writing(seen: OwnView, client: KafkaClient, _repeats: bool) -> None:
    topic = seen.new_name()
    client.produce(topic, _values(10), "none", never)
    assert seen.values(topic) == _values(10)
    seen.delete(topic)


def _reads(seen: OwnView, client: KafkaClient, _repeats: bool) -> None:
    with seen.topic() as topic:
        written: list[bytes] = []
        for codec in CODECS:
            Librdkafka(seen.cluster.kafka_bootstrap).produce(topic, _values(40, codec), codec, never)
            written += _values(40, codec)
        assert client.consume(topic, 0, len(written)) == written
        assert client.consume(topic, 50, 20) == written[50:70], "from within a batch"


def _seeks(seen: OwnView, client: KafkaClient, _repeats: bool) -> None:
    with seen.topic() as topic:
        client.produce(topic, _values(10, "early"), "none", never)
        border = int(time.time() * 1000) + 1
        until(lambda: time.time() * 1000 > border, "later than the border")
        client.produce(topic, _values(10, "late"), "none", never)
        assert client.consume_since(topic, border, 10) == _values(10, "late")


def _subscribes(seen: OwnView, client: KafkaClient, _repeats: bool) -> None:
    with seen.topic() as topic:
        Librdkafka(seen.cluster.kafka_bootstrap).produce(topic, _values(40), "gzip", never)
        assert client.subscribe(topic, f"group-of-{topic}", 40, _GROUP_S) == _values(40)


def _resumes(seen: OwnView, client: KafkaClient, _repeats: bool) -> None:
    writer = Librdkafka(seen.cluster.kafka_bootstrap)
    with seen.topic() as topic:
        for round_ in ("first", "second"):
            writer.produce(topic, _values(40, round_), "none", never)
            read = client.subscribe(topic, f"group-of-{topic}", 40, _GROUP_S)
            assert read == _values(40, round_), "what the group has not consumed"


def _creates(seen: OwnView, client: KafkaClient, _repeats: bool) -> None:
    topic = seen.new_name()
    client.create_topic(topic, 2)
    made = seen.describe(topic)
    assert made is not None
    assert [len(partition.assigned_replicas) for partition in made.partitions] == [3, 3]
    client.delete_topic(topic)
    until(lambda: seen.describe(topic) is None, "the topic is gone")


def _grows(seen: OwnView, client: KafkaClient, _repeats: bool) -> None:
    with seen.topic() as topic:
        client.grow_topic(topic, 4)
        grown = seen.describe(topic)
        assert grown is not None
        assert len(grown.partitions) == 4


def _alters(seen: OwnView, client: KafkaClient, _repeats: bool) -> None:
    with seen.topic() as topic:
        client.alter_topic(topic, {"retention.ms": "7654321"})
        assert seen.configs(topic)["retention.ms"] == "7654321"
        assert client.topic_configs(topic)["retention.ms"] == "7654321"


def _creates_again(seen: OwnView, client: KafkaClient, _repeats: bool) -> None:
    topic = seen.new_name()
    for round_ in ("first", "second"):
        client.create_topic(topic, 1)
        client.produce(topic, _values(10, round_), "none", never)
        assert seen.values(topic) == _values(10, round_), "nothing is left of an earlier one"
        client.delete_topic(topic)
        until(lambda: seen.describe(topic) is None, "the topic is gone")


SCENARIOS = (
    *(
        Scenario(codec, "writing", codec, partial(_writes, codec), short=codec in ("none", "lz4", "zstd"))
        for codec in CODECS
    ),
    Scenario("kill", "writing", "leader killed", _outlives_a_leader, short=True),
    Scenario("writing", "writing", "creates by writing", _creates_by_writing),
    Scenario("assigned", "reading", "assigned", _reads, short=True),
    Scenario("time", "reading", "by time", _seeks),
    Scenario("subscribe", "reading", "subscribed", _subscribes, short=True),
    Scenario("resumes", "reading", "resumes", _resumes),
    Scenario("shares", "reading", "shares", shares),
    Scenario("coordinator", "reading", "coordinator killed", outlives_its_coordinator),
    Scenario("create", "topics", "creates, deletes", _creates),
    Scenario("grow", "topics", "adds partitions", _grows),
    Scenario("alter", "topics", "alters", _alters),
    Scenario("again", "topics", "creates again", _creates_again, short=True),
)
