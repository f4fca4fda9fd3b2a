"""Scenarios of batches that keep their offsets, as an import writes them."""

from __future__ import annotations

from dohle.model.errors import InvalidRecord, OffsetOutOfRange
from dohle.model.placed import hole
from dohle.model.records import Record, encode_batch
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import broker_pb2
from dohle.runtime.network import Address, Lane
from dohle.testing.world.world import PORT
from tests.simulation.mutations.stage import Stage, scenario

_PRODUCE = methods_of(broker_pb2.DESCRIPTOR.services_by_name["Broker"])["Produce"]
_RECORDS = [Record(b"k", b"v"), Record(b"k", b"w")]


@scenario
async def a_batch_that_keeps_its_offset_comes_again(stage: Stage) -> None:
    await stage.make_topic()
    batches = hole(0, 7), encode_batch(_RECORDS, base_offset=7)
    assert [await _placed(stage, batch) for batch in batches] == [0, 0]
    for batch in (*batches, encode_batch(_RECORDS, base_offset=10)):
        assert await _placed(stage, batch) == OffsetOutOfRange.code, "a batch lies elsewhere than it says"
    await stage.passes(0.5)
    assert [stage.log(node).log_end_offset for node in stage.world.machines] == [9, 9, 9]


@scenario
async def a_batch_that_keeps_its_offset_has_a_producer(stage: Stage) -> None:
    await stage.make_topic()
    batch = encode_batch(_RECORDS, producer_id=0, producer_epoch=0, base_sequence=0)
    assert await _placed(stage, batch) == InvalidRecord.code, "another cluster's producer is known here by its number"


async def _placed(stage: Stage, batch: bytes) -> int:
    """Sends the batch to the leader; returns the code of its answer, 0 if it was appended and is committed."""
    process, codes = stage.world.client("import"), list[int]()
    address = Address(stage.world.machines[stage.partition().leader].name, PORT)
    placed = broker_pb2.ProducePartition(topic_id=stage.topic_id(), partition=0, batch=batch, keeps_offset=True)

    async def send() -> None:
        stream = process.network.stream(address, _PRODUCE, lane=Lane.CLIENT)
        try:
            await stream.send(broker_pb2.ProduceRequest(correlation=1, acks=-1, timeout_ms=5000, partitions=[placed]))
            answer = await stream.receive()
            assert answer is not None, "the broker has ended the stream"
            codes.append(answer.partitions[0].failure.code)
        finally:
            stream.close()

    process.spawn(send(), "send")
    await stage.until(lambda: bool(codes), "the leader has answered")
    return codes[0]
