"""Which address of a broker a client is told, by the listener and the network that it comes from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from dohle.broker.replicas import LISTENER as GRPC
from dohle.cluster.node import HTTP_LISTENER
from dohle.listeners.kafka.addresses import OTHER_DOORS, is_listener, is_tellable, told_address
from dohle.listeners.kafka.apis import Caller
from dohle.listeners.kafka.topics_known import TopicsKnown
from dohle.model.image import BrokerImage
from dohle.model.metadata import Endpoint
from dohle.runtime.network import Address


def broker(node_id: int, *endpoints: tuple[str, str], port: int = 9092, fenced: bool = False) -> BrokerImage:
    known = tuple(Endpoint(listener, host, port, "PLAINTEXT") for listener, host in endpoints)
    made = SimpleNamespace(node_id=node_id, endpoints=known, fenced=fenced, rack="")
    made.endpoint = lambda listener: BrokerImage.endpoint(cast("BrokerImage", made), listener)
    return cast("BrokerImage", made)


ONE = broker(1, ("KAFKA", "one"), ("KAFKA@10.0.0.0/8", "10.0.0.1"), ("KAFKA@172.17.0.0/16", "172.17.0.1"))
TWO = broker(
    2,
    ("KAFKA", "two"),
    ("KAFKA@10.0.0.0/8", "10.0.0.2"),
    ("KAFKA@10.0.7.0/24", "10.0.7.2"),
    ("KAFKA@172.17.0.0/16", "172.17.0.1"),
    ("KAFKA@fd00::/64", "fd00::2"),
    ("KAFKA@nonsense", "x"),
)
NEIGHBOUR = broker(3, ("KAFKA", "one"), ("KAFKA@172.17.0.0/16", "172.17.0.1"), port=9093)


def told(reached: str, to: BrokerImage = TWO, listener: str = "KAFKA") -> str | None:
    address = told_address(to, listener, Address(reached, 9092), ONE)
    return None if address is None else address.host


def test_the_address_is_in_the_network_that_the_client_came_by() -> None:
    assert told("10.0.9.1") == "10.0.0.2"
    assert told("10.0.7.1") == "10.0.7.2", "the narrowest network counts"
    assert told("fd00::1") == "fd00::2"
    assert told("192.168.0.1") == told("127.0.0.1") == told("fe80::1%eth0") == told("") == "two"
    assert told("10.0.0.1", listener="EXTERNAL") is None


def test_a_network_that_each_machine_has_for_itself_leads_nowhere() -> None:
    assert told("172.17.0.1") == "two"
    assert told("172.17.0.1", NEIGHBOUR) == "172.17.0.1", "it is of the same machine"
    assert told_address(NEIGHBOUR, "KAFKA", Address("172.17.0.1", 9092), ONE) == ("172.17.0.1", 9093)


def test_link_local_addresses_are_told_nobody() -> None:
    assert is_tellable("127.0.0.1")
    assert is_tellable("::1")
    assert not is_tellable("fe80::1")
    assert not is_tellable("fe80::1%2")
    assert not is_tellable("")


def test_the_doors_that_are_no_listeners() -> None:
    assert (GRPC, HTTP_LISTENER) == OTHER_DOORS
    assert [name for name in ("GRPC", "HTTP", "KAFKA", "KAFKA@10.0.0.0/8", "X") if is_listener(name)] == ["KAFKA", "X"]


def test_a_caller_is_told_of_the_brokers_that_have_its_listener() -> None:
    brokers = [
        broker(1, ("IN", "in-1"), ("OUT", "out-1")),
        broker(2, ("IN", "in-2"), ("OUT", "out-2")),
        broker(3, ("IN", "in-3")),
        broker(4, ("OUT", "out-4"), fenced=True),
    ]
    image = SimpleNamespace(brokers={one.node_id: one for one in brokers}, brokers_in_order=lambda: iter(brokers))
    known = TopicsKnown(cast("Any", SimpleNamespace(node_id=1, image=image)), told_as_reached=["IN"])

    def hosts(listener: str, reached: str = "127.0.0.1") -> list[tuple[int, str]]:
        caller = Caller(None, 12, Address("9.9.9.9", 1), Address(reached, 9092), listener)
        return [(node.node_id, node.host) for node in known.nodes(caller)]

    assert hosts("IN") == [(1, "127.0.0.1"), (2, "in-2"), (3, "in-3")]
    assert hosts("IN", "fe80::1%2") == [(1, "in-1"), (2, "in-2"), (3, "in-3")]
    assert hosts("OUT") == [(1, "out-1"), (2, "out-2")]
    out = Caller(None, 12, Address("9.9.9.9", 1), Address("127.0.0.1", 9092), "OUT")
    assert [node.node_id for node in known.fenced_nodes(out)] == [4]
