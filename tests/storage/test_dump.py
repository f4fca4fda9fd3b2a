from dohle.storage.dump import describe, dump_segment
from tests.storage.world import SEGMENT, World, batch


async def test_a_segment_in_words(world: World) -> None:
    log = await world.log()
    log.append_as_leader(batch(3), 2, 0)
    log.append_as_leader(batch(1, producer=7, sequence=4), 2, 0)
    await log.flush()
    content = world.bytes_of(SEGMENT)
    lines = [describe(one) for one in dump_segment(content)]
    assert lines[0].startswith("position 0: offsets 0..2, 3 records, ")
    assert "leader epoch 2" in lines[0]
    assert "codec none" in lines[0]
    assert "producer 7 epoch 0 sequences 4..4" in lines[1]
    content[-1] ^= 1
    content += b"rest"
    found = list(dump_segment(content))
    assert [one.fault is None for one in found] == [True, False, False]
    assert "CRC-32C" in describe(found[1])
    assert found[2].header is None
