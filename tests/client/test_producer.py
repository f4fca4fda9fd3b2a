import asyncio

from dohle.client.producer import Producer
from tests.client.conftest import MakeCluster
from tests.client.fake_broker import TOPIC


async def test_sent_records_are_written_in_order_and_their_receipts_tell_where(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster()
    async with Producer(cluster.bootstrap) as producer:
        receipts = [await producer.send(TOPIC, b"%d" % number) for number in range(1000)]
        deliveries = [await receipt for receipt in receipts]
    assert cluster.topics[TOPIC][0].values() == [b"%d" % number for number in range(1000)]
    assert [delivery.offset for delivery in deliveries] == list(range(1000))
