"""Topic configuration and names."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohle.model.errors import InvalidConfig, InvalidTopic
from dohle.model.topic_config import (
    INT_MAX,
    LONG_MAX,
    TOPIC_KEYS,
    ConfigType,
    TopicConfig,
    check_topic_name,
    validate_overrides,
)

# Apache Kafka 4.1's, but for flush.messages.
KAFKA_DEFAULTS = {
    "cleanup.policy": "delete",
    "compression.type": "producer",
    "delete.retention.ms": "86400000",
    "file.delete.delay.ms": "60000",
    "flush.ms": str(LONG_MAX),
    "index.interval.bytes": "4096",
    "max.compaction.lag.ms": str(LONG_MAX),
    "max.message.bytes": "1048588",
    "message.timestamp.after.max.ms": "3600000",
    "message.timestamp.before.max.ms": str(LONG_MAX),
    "message.timestamp.type": "CreateTime",
    "min.cleanable.dirty.ratio": "0.5",
    "min.compaction.lag.ms": "0",
    "min.insync.replicas": "1",
    "preallocate": "false",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "segment.bytes": "1073741824",
    "segment.index.bytes": "10485760",
    "segment.jitter.ms": "0",
    "segment.ms": "604800000",
    "unclean.leader.election.enable": "false",
}


def test_defaults_are_kafkas_but_an_append_is_fsynced():
    assert {name: key.default_text for name, key in TOPIC_KEYS.items()} == {**KAFKA_DEFAULTS, "flush.messages": "1"}


def test_keys_are_in_order_and_explained():
    assert list(TOPIC_KEYS) == sorted(TOPIC_KEYS)
    assert all(key.doc.endswith(".") for key in TOPIC_KEYS.values())
    assert {key.attribute for key in TOPIC_KEYS.values()} == {f.name for f in dataclasses.fields(TopicConfig)}


@pytest.mark.parametrize("key", TOPIC_KEYS.values(), ids=TOPIC_KEYS)
def test_every_default_is_legal_as_text(key):
    assert key.parse(key.default_text) == key.default
    assert getattr(TopicConfig.from_overrides({key.name: key.default_text}), key.attribute) == key.default


@pytest.mark.parametrize(
    "key", [key for key in TOPIC_KEYS.values() if key.type in {ConfigType.INT, ConfigType.LONG}], ids=lambda k: k.name
)
def test_bounds_of_numbers_are_exact(key):
    high = INT_MAX if key.type is ConfigType.INT else LONG_MAX
    assert key.parse(str(key.low)) == key.low
    assert key.parse(str(high)) == high
    for outside in (key.low - 1, high + 1):
        with pytest.raises(InvalidConfig, match=rf"{key.name} cannot be '{outside}'.*from {key.low} to {high}"):
            key.parse(str(outside))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("retention.ms", ""),
        ("retention.ms", "7d"),
        ("retention.ms", "1_000"),
        ("retention.ms", "1.5"),
        ("min.cleanable.dirty.ratio", "1.1"),
        ("min.cleanable.dirty.ratio", "nan"),
        ("compression.type", "none"),
        ("compression.type", "LZ4"),
        ("cleanup.policy", "delete,keep"),
        ("unclean.leader.election.enable", "1"),
        ("message.timestamp.type", "createtime"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_bounds(name, text):
    with pytest.raises(InvalidConfig) as raised:
        validate_overrides({name: text})
    assert raised.value.message.startswith(f"{name} cannot be {text!r}: it must be {TOPIC_KEYS[name].bounds_text}")


def test_overrides_lie_over_the_defaults():
    config = TopicConfig.from_overrides({"segment.bytes": " 2097152 ", "preallocate": "TRUE"})
    assert config == dataclasses.replace(TopicConfig(), segment_bytes=2_097_152, preallocate=True)


@pytest.mark.parametrize("text", ["compact,delete", "delete, compact", "delete,compact,delete"])
def test_a_topic_may_be_compacted_and_deleted(text):
    config = TopicConfig.from_overrides({"cleanup.policy": text})
    assert config.cleanup_policy == ("compact", "delete")
    assert config.is_compacted
    assert not TopicConfig().is_compacted


def test_an_unknown_key_is_answered_with_the_nearest():
    with pytest.raises(InvalidConfig, match=r"'retention\.sm'.*did you mean retention\.ms\?"):
        validate_overrides({"retention.sm": "1"})
    with pytest.raises(InvalidConfig, match=r"'x'.*known are cleanup\.policy, "):
        validate_overrides({"x": "1"})


def test_compaction_lags_must_not_contradict_each_other():
    validate_overrides({"min.compaction.lag.ms": "5", "max.compaction.lag.ms": "5"})
    with pytest.raises(InvalidConfig, match=r"min\.compaction\.lag\.ms, 6, must not exceed"):
        validate_overrides({"min.compaction.lag.ms": "6", "max.compaction.lag.ms": "5"})


def test_timestamps_of_records_are_bounded_where_bounds_were_set():
    assert not TopicConfig().bounds_timestamps
    assert TopicConfig(message_timestamp_before_max_ms=1).bounds_timestamps
    assert TopicConfig(message_timestamp_after_max_ms=1).bounds_timestamps
    assert not TopicConfig(message_timestamp_after_max_ms=1, message_timestamp_type="LogAppendTime").bounds_timestamps


@given(st.from_regex(r"[a-zA-Z0-9._-]{1,249}", fullmatch=True).filter(lambda name: name not in {".", ".."}))
def test_names_by_kafkas_rules_are_taken(name):
    check_topic_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a" * 250, "a b", "a/b", "grüße", "a\n", "a\x00", "٣"])
def test_other_names_are_refused(name):
    with pytest.raises(InvalidTopic):
        check_topic_name(name)


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("cleanup.policy", "compact, delete", "compact,delete"),
        ("cleanup.policy", " ", ""),
        ("preallocate", " TRUE", "true"),
        ("retention.ms", " 77 ", "77"),
        ("message.timestamp.type", "CreateTime", "CreateTime"),
    ],
)
def test_a_value_is_shown_as_kafka_shows_it(name, text, shown):
    key = TOPIC_KEYS[name]
    assert key.plain(text) == shown
    assert key.parse(shown) == key.parse(text)


def test_a_topic_without_any_policy_keeps_all():
    config = TopicConfig.from_overrides({"cleanup.policy": ""})
    assert config.cleanup_policy == ()
    assert not config.is_compacted
