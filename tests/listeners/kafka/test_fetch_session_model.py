"""Whatever happens to partitions and whatever a client wants: with a session it knows what a full fetch tells."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from dohle.model.ids import PartitionKey, TopicId
from tests.broker.brokers import Cluster, Node
from tests.broker.logs import TOPIC_ID, batch
from tests.broker.virtual_time import in_virtual_time
from tests.listeners.kafka.session_client import BY_ID, BY_NAME, Door, Place, SessionClient, offsets_in, parts, views

PARTITIONS = 3
REPLICAS = [[1, 2], [2, 1], [1]]


class Event(NamedTuple):
    what: str
    partition: int
    offset: int


events = st.lists(
    st.builds(
        Event,
        st.sampled_from([*("produce", "read on", "delete") * 4, *("want", "fetch") * 2, "forget", "fence", "remake"]),
        st.sampled_from([0, 0, 0, 0, 1, 2, PARTITIONS]),  # the last one is not there
        st.integers(0, 4),
    ),
    min_size=20,
    max_size=40,
)


class World:
    """Two brokers, the first one's door, and a topic that may be made anew."""

    def __init__(self, cluster: Cluster, *, by_id: bool) -> None:
        self.cluster = cluster
        self.topic_id = TOPIC_ID
        self.door = Door(cluster.nodes[1])
        self.client = SessionClient(self.door, version=BY_ID if by_id else BY_NAME)
        self._by_id = by_id
        self._changes = {self._place(partition): 0 for partition in range(PARTITIONS)}
        self._forgotten: list[Place] = []

    @property
    def node(self) -> Node:
        return self.cluster.nodes[1]

    def _place(self, partition: int) -> Place:
        return Place(TOPIC_ID if self._by_id else "t", partition)

    async def happens(self, event: Event) -> None:
        place, key = self._place(event.partition), PartitionKey(self.topic_id, event.partition)
        leading = None if event.partition == PARTITIONS else self.node.leading(key)
        match event.what:
            case "want":
                self._changes[place] = event.offset
                self._forgotten = [one for one in self._forgotten if one != place]
            case "read on":
                await self.fetches()
                known = {one: view.high_watermark for one, view in self.client.known.items() if view.error_code == 0}
                self._changes = known
                await self.fetches()
            case "forget":
                self._changes.pop(place, None)
                self._forgotten.append(place)
            case "produce" if leading is not None:
                future = await self.node.broker.produce(key, batch(), -1, 5.0)
                assert future is not None
                await future
            case "delete" if leading is not None:
                leading.begin_at(min(event.offset, leading.log.high_watermark))
            case "fence":
                self.cluster.controller.fence(2)
                await self.settled()
            case "remake":
                self.cluster.controller.remove(self.topic_id)
                self.topic_id = TopicId(bytes([self.topic_id[0] + 1]) * 16)
                self.cluster.controller.topic(self.topic_id, REPLICAS)
                await self.settled()
            case "fetch":
                await self.fetches()

    async def settled(self) -> None:
        for partition in range(PARTITIONS):
            await self.cluster.led(PartitionKey(self.topic_id, partition))

    async def fetches(self) -> None:
        """What has happened is told by the fetch that follows; of a topic that was made anew, by the one after it."""
        changes, forgotten = self._changes, self._forgotten
        self._changes, self._forgotten = {}, []
        await self._fetch(changes, forgotten)
        answer = await self._fetch({}, [])
        full = await self.door.ask(self.client.position, version=BY_ID if self._by_id else BY_NAME)
        assert self.client.known == views(full)
        told = parts(answer)
        for place, part in parts(full).items():
            assert offsets_in(part) == (offsets_in(told[place]) if place in told else [])

    async def _fetch(self, changes: dict[Place, int], forgotten: list[Place]):
        answer = await self.client.fetch(changes, forget=forgotten)
        assert answer.error_code == 0
        assert self.client.number or not self.client.position, "it ends only where nothing is wanted"
        return answer


@settings(max_examples=60, deadline=None)
@given(events, st.booleans())
@in_virtual_time
async def test_a_client_with_a_session_knows_what_a_full_fetch_tells(drawn: list[Event], by_id: bool) -> None:
    cluster = await Cluster.started(1, 2, disk_s=0.0001, network_s=0.0001)
    cluster.controller.topic(TOPIC_ID, REPLICAS)
    world = World(cluster, by_id=by_id)
    await world.settled()
    for event in drawn:
        await world.happens(event)
    await world.fetches()
    assert cluster.failures == []
