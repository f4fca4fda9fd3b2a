"""The way of a Kafka client, step by step: from the address that it was given to every broker that it is told of.

A `Visit` is what was found at one address. The rules say what is wrong with it, and what to set: they judge what visits
have found, and ask nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from dohle.cli.kafka_probe import KafkaProbe, StepFailed, resolve
from dohle.cli.output import counted
from dohle.kafka.messages.cluster import (
    DescribeClusterRequest,
    DescribeClusterResponse,
    MetadataRequest,
    MetadataResponse,
)
from dohle.kafka.messages.configs import DescribeConfigsRequest, DescribeConfigsResponse
from dohle.listeners.kafka.addresses import is_loopback
from dohle.model.errors import ListenerNotFound
from dohle.runtime.network import Address

_BROKER: Final = 4
_BROKERS: Final = 1
_FIRST_WITH_FENCED: Final = 2
_NO_ADVICE: Final = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step and what it found; one that is not `ok` has advice."""

    name: str
    ok: bool
    found: str
    advice: str = _NO_ADVICE


@dataclass(slots=True)
class Visit:
    """What was found at one address; `node_id` is who is said to be there, None at the first."""

    address: Address
    node_id: int | None = None
    steps: list[Step] = field(default_factory=list)
    reached: str = ""  # the address of that host to which it connected
    cluster_id: str | None = None
    brokers: list[tuple[int, Address]] = field(default_factory=list)
    fenced: list[tuple[int, Address]] = field(default_factory=list)
    without_listener: int = 0  # partitions whose leader has no listener of this name
    answers_as: int | None = None  # the node that says it is this one; None: it does not say

    def passed(self, name: str, found: str) -> None:
        self.steps.append(Step(name, True, found))

    def failed(self, name: str, found: str, advice: str) -> None:
        self.steps.append(Step(name, False, found, advice))

    @property
    def ok(self) -> bool:
        return all(step.ok for step in self.steps)


async def walk(start: Address, timeout_s: float) -> list[Visit]:
    """Returns the visit of `start`, and if it came so far, of every broker's address that it tells, by node."""
    first = await _visit(Visit(start), timeout_s)
    visits = [Visit(address, node_id) for node_id, address in first.brokers]
    visits = [first, *await asyncio.gather(*(_visit(one, timeout_s) for one in visits))]
    if first.cluster_id is not None:
        _judge_start(first)
    for visit in visits[1:]:
        _judge_broker(visit, first)
    return visits


async def _visit(visit: Visit, timeout_s: float) -> Visit:
    """Goes as far as it gets. The first step that fails is the last one."""
    name, probe = "resolve", None
    try:
        hosts = await resolve(*visit.address, timeout_s)
        visit.passed(name, ", ".join(hosts))
        name = "connect"
        probe, failures = await KafkaProbe.connect(hosts, visit.address.port, timeout_s)
        visit.reached = probe.host
        visit.passed(name, "; ".join([*failures, f"{Address(probe.host, visit.address.port)} takes the connection"]))
        name = "versions"
        served = await probe.learn_versions()
        visit.passed(name, f"Kafka's protocol, {counted(served, 'API')}")
        name = "metadata"
        await _ask_metadata(visit, probe)
        name = "identity"
        await _ask_who(visit, probe)
    except StepFailed as failure:
        visit.failed(name, failure.found, _advice(visit, failure))
    finally:
        if probe is not None:
            probe.close()
    return visit


async def _ask_metadata(visit: Visit, probe: KafkaProbe) -> None:
    all_topics = MetadataRequest(topics=None if visit.node_id is None else [], allow_auto_topic_creation=False)
    answer = await probe.ask(all_topics, MetadataResponse)
    visit.cluster_id = answer.cluster_id
    visit.brokers = sorted((one.node_id, Address(one.host, one.port)) for one in answer.brokers)
    visit.without_listener = sum(
        partition.error_code == ListenerNotFound.code for topic in answer.topics for partition in topic.partitions
    )
    version = probe.version(DescribeClusterRequest)
    if visit.node_id is None and version is not None and version >= _FIRST_WITH_FENCED:
        request = DescribeClusterRequest(
            include_cluster_authorized_operations=False, endpoint_type=_BROKERS, include_fenced_brokers=True
        )
        described = await probe.ask(request, DescribeClusterResponse)
        fenced = [one for one in described.brokers if one.is_fenced]
        visit.fenced = sorted((one.broker_id, Address(one.host, one.port)) for one in fenced)
    known = ", ".join(f"{node_id} at {address}" for node_id, address in visit.brokers)
    nodes = f"nodes: {known or 'none'}" if visit.node_id is None else counted(len(visit.brokers), "node")
    visit.passed("metadata", f"cluster {visit.cluster_id}, {nodes}")


async def _ask_who(visit: Visit, probe: KafkaProbe) -> None:
    """A broker describes the configuration of itself alone: of all numbers, only its own is answered."""
    if probe.version(DescribeConfigsRequest) is None:
        return
    kind = DescribeConfigsRequest.Resource
    asked = [
        kind(resource_type=_BROKER, resource_name=str(node_id), configuration_keys=["node.id"])
        for node_id, _ in visit.brokers
    ]
    answer = await probe.ask(DescribeConfigsRequest(resources=asked), DescribeConfigsResponse)
    own = [int(one.resource_name) for one in answer.results if one.error_code == 0]
    if len(own) == 1:
        [visit.answers_as] = own
        visit.passed("identity", f"it is node {visit.answers_as}")


# what is wrong, and what to do


def _judge_start(first: Visit) -> None:
    if not first.brokers:
        first.failed("metadata", "no node is told of", "no node serves now: `dohle status` and the nodes' logs say why")
    for node_id, address in first.fenced:
        first.failed(
            "metadata",
            f"node {node_id} (at {address}) is registered and fenced, so clients are not told of it",
            f"node {node_id} does not run, or reaches no controller: `dohle status` and its log say which",
        )
    if first.without_listener:
        first.failed(
            "metadata",
            f"{counted(first.without_listener, 'partition')} led by nodes without a listener of this one's name",
            "give all nodes the same names in kafka_listeners",
        )


def _judge_broker(visit: Visit, first: Visit) -> None:
    node_id, address = visit.node_id, visit.address
    if is_loopback(address.host) and not is_loopback(first.reached):
        visit.failed(
            "advertised",
            f"clients are told {address} of node {node_id}, which on each machine is that machine; you have come by"
            f" {first.reached}",
            f"set {_advertised(visit)} to an address that clients elsewhere reach; of a listener EXTERNAL,"
            " external_host (DOHLE_EXTERNAL_HOST)",
        )
    if visit.cluster_id is not None and visit.cluster_id != first.cluster_id:
        visit.failed(
            "cluster",
            f"at {address} there is another cluster, {visit.cluster_id}, and not {first.cluster_id}",
            f"set {_advertised(visit)} to where this node is; where ports are published, each node has its own",
        )
    elif visit.answers_as is not None and visit.answers_as != node_id:
        visit.failed(
            "identity",
            f"at {address} there is node {visit.answers_as}, and not node {node_id}",
            f"set {_advertised(visit)} to where node {node_id} is; where ports are published, each node has its own",
        )


def _advertised(visit: Visit) -> str:
    return (
        f"kafka_advertised_address of node {visit.node_id} (with several listeners: its line in"
        " kafka_advertised_listeners)"
    )


_PORTS: Final = "Kafka's clients go to kafka_port, 9092 unless it was set: `dohle status` shows it in the column KAFKA"
_AT_START: Final = {
    "name": "check its spelling, or make the name known here (DNS, the hosts file), or give an address",
    "refused": f"check that the node runs, and the port; {_PORTS}. A node whose host is 127.0.0.1 is reached from its"
    " own machine alone",
    "silent": "something keeps the packets, as a firewall does, or the process is stopped: check both, and the address",
    "unreachable": "there is no way to that address from here: check the network, or give another address of the node",
    "http": f"this is the port of a web server, as Dohle's http_port is: {_PORTS}",
    "grpc": f"this is a gRPC port, where Dohle's own clients go: {_PORTS}",
    "tls": "Dohle serves Kafka's clients in clear text alone: go to the node's own port, not through what adds TLS",
    "closed": "the node's log says why: a limit of connections (max_connections), or it is shutting down. Else it is no"
    f" Kafka: {_PORTS}",
    "foreign": f"another program listens there: {_PORTS}",
    "old": "it is a Kafka of another age: check the address",
}


def _advice(visit: Visit, failure: StepFailed) -> str:
    if visit.node_id is None:
        return _AT_START[failure.kind]
    where = f"clients are told that node {visit.node_id} is at {visit.address}"
    match failure.kind:
        case "name":
            return f"{where}: set {_advertised(visit)} to a name that clients know, or make this one known to them"
        case "closed":
            return f"{where}: {_AT_START['closed']}"
    return f"{where}: if that is wrong, set {_advertised(visit)} to what clients reach; else {_AT_START[failure.kind]}"


def failures(visits: Iterable[Visit]) -> list[tuple[Visit, Step]]:
    """Returns every step that failed, in order."""
    return [(visit, step) for visit in visits for step in visit.steps if not step.ok]
