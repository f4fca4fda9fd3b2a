"""Keys go to the partitions that Kafka's clients give them."""

import pytest

from dohle.model.partitioner import murmur2, partition_for

# From Apache Kafka's UtilsTest and from org.apache.kafka.common.utils.Utils.murmur2 of kafka-clients 4.1.0.
KNOWN = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "": 275646681,
    "a": -1563381124,
    "ab": 316155434,
    "abc": 479470107,
    "abcd": -1323649548,
    "flights": 1725552234,
    "éü": -199034823,
    "UA": -624396550,
}


@pytest.mark.parametrize(("key", "hashed"), KNOWN.items())
def test_known_hashes(key, hashed):
    assert murmur2(key.encode()) == hashed & 0xFFFF_FFFF


@pytest.mark.parametrize(("key", "hashed"), KNOWN.items())
@pytest.mark.parametrize("partitions", [1, 6, 100])
def test_the_sign_is_dropped_before_the_remainder(key, hashed, partitions):
    assert partition_for(key.encode(), partitions) == (hashed & 0x7FFF_FFFF) % partitions
