"""What a declared message is to those who use it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dohle.kafka.declaration import NO_UUID, Int32, Request, String, Struct, fields_of, since
from dohle.kafka.messages import API_KEYS, api
from dohle.kafka.messages.fetch import FetchRequest, FetchResponse
from dohle.kafka.messages.produce import ProduceResponse
from dohle.kafka.messages.transactions import AddPartitionsToTxnRequest

Partition = FetchResponse.Topic.Partition


def test_what_every_version_has_is_asked_for_and_the_rest_has_kafkas_default() -> None:
    request = FetchRequest(max_wait_ms=500, min_bytes=1, topics=[])
    assert (request.cluster_id, request.replica_id, request.replica_state) == (None, -1, None)
    assert (request.max_bytes, request.isolation_level) == ((1 << 31) - 1, 0)
    assert (request.session_id, request.session_epoch, request.forgotten_topics_data) == (0, -1, [])
    with pytest.raises(TypeError, match="max_wait_ms"):
        FetchRequest(min_bytes=1, topics=[])  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="max_wait"):
        FetchRequest(max_wait=1, min_bytes=1, topics=[])  # type: ignore[call-arg]


def test_an_absent_list_is_everyones_own() -> None:
    first, second = (FetchRequest(max_wait_ms=1, min_bytes=1, topics=[]) for _ in range(2))
    first.forgotten_topics_data.append(FetchRequest.ForgottenTopic(partitions=[1]))
    assert second.forgotten_topics_data == []


def test_messages_are_equal_by_their_fields_and_have_no_others() -> None:
    leader = Partition.LeaderIdAndEpoch(leader_id=1)
    assert leader == Partition.LeaderIdAndEpoch(leader_id=1, leader_epoch=-1)
    assert leader != Partition.LeaderIdAndEpoch(leader_id=2)
    assert leader != ProduceResponse.Topic.Partition.LeaderIdAndEpoch(leader_id=1)
    assert repr(leader) == "FetchResponse.Topic.Partition.LeaderIdAndEpoch(leader_id=1, leader_epoch=-1)"
    with pytest.raises(AttributeError):
        leader.epoch = 1  # type: ignore[attr-defined]


def test_a_struct_is_found_in_its_class_or_from_the_module_down() -> None:
    topics = {field.name: field.wire for field in fields_of(AddPartitionsToTxnRequest.Transaction)}["topics"]
    assert topics is AddPartitionsToTxnRequest.Topic


def test_a_field_of_no_known_type_is_an_error_that_names_it() -> None:
    class Wrong(Struct):
        field: Unknown  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match=r"Wrong\.field has the unknown type Unknown"):
        fields_of(Wrong)


def test_a_message_knows_its_api() -> None:
    class NewRequest(Request, key=1000, versions=(2, 4), flexible=3):
        name: String
        count: Int32 = since(3, default=-1)

    assert (NewRequest.API.key, NewRequest.API.name, NewRequest.API.versions) == (1000, "New", range(2, 5))
    assert [NewRequest.API.is_flexible(version) for version in (2, 3, 4)] == [False, True, True]


def test_requests_and_responses_belong_together() -> None:
    for key in API_KEYS:
        request, response = api(key)
        assert request.API == response.API
        assert request.API.key == key
    with pytest.raises(KeyError):
        api(4)


def test_no_id_is_sixteen_zero_bytes() -> None:
    assert bytes(16) == NO_UUID


def test_families_are_loaded_when_they_are_asked_for() -> None:
    program = (
        "import sys, dohle, dohle.cluster.node\n"
        "families = [name for name in sys.modules if name.startswith('dohle.kafka.messages.')]\n"
        "assert families == ['dohle.kafka.messages.group_records'], families\n"  # what a coordinator writes
        "from dohle.kafka.messages import api\n"
        "before = set(sys.modules); api(0); print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["dohle.kafka.messages.produce"]
