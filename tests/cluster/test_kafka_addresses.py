"""Listeners for Kafka's clients: how they are configured, and which addresses a broker registers and tells of them."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from types import SimpleNamespace

import pytest

from dohle.cluster.config import NodeConfig
from dohle.cluster.config_sources import load_config, parse_flags, to_toml
from dohle.cluster.kafka_addresses import NamedAddress
from dohle.cluster.kafka_door import MOST_NETWORKS, KafkaDoor
from dohle.listeners.kafka.addresses import is_loopback
from dohle.model.errors import ConfigurationError
from dohle.model.metadata import Endpoint
from dohle.runtime.clock import LoopClock
from dohle.runtime.network import Address

INTERNAL, EXTERNAL = "INTERNAL://0.0.0.0:9092", "EXTERNAL://0.0.0.0:19092"


def by_text(**settings):
    return load_config(None, {}, settings).config


def plans(**settings):
    return {plan.name: (plan.bind, plan.advertised) for plan in by_text(**settings).kafka}


def door(config, *interfaces):
    found = [ipaddress.ip_interface(one) for one in interfaces]
    return KafkaDoor(config, LoopClock(), interfaces=found, on_failure=lambda _: None)


def test_one_listener_needs_nothing():
    assert plans() == {"KAFKA": (("127.0.0.1", 9092), None)}
    assert plans(advertised_host="a", kafka_port="1") == {"KAFKA": (("127.0.0.1", 1), ("a", 1))}
    told = plans(advertised_host="a", kafka_advertised_address="[::1]:19092")
    assert told == {"KAFKA": (("127.0.0.1", 9092), ("::1", 19092))}


def test_several_listeners_have_an_address_each():
    assert plans(
        kafka_listeners="internal://:9092, EXTERNAL://[::]:19092,VPN://10.0.0.1:29092",
        kafka_advertised_listeners="VPN://vpn.example:443",
        advertised_host="dohle-1",
        host="0.0.0.0",
    ) == {
        "INTERNAL": (("0.0.0.0", 9092), ("dohle-1", 9092)),
        "EXTERNAL": (("::", 19092), ("localhost", 19092)),
        "VPN": (("10.0.0.1", 29092), ("vpn.example", 443)),
    }


def test_the_external_host_is_that_of_the_external_listener_alone():
    told = plans(kafka_listeners=f"{INTERNAL},{EXTERNAL}", advertised_host="dohle-1", external_host="example.org")
    assert told["EXTERNAL"][1] == ("example.org", 19092)
    assert told["INTERNAL"][1] == ("dohle-1", 9092)
    told = plans(kafka_listeners=EXTERNAL, kafka_advertised_listeners="EXTERNAL://x:1", external_host="example.org")
    assert told["EXTERNAL"][1] == ("x", 1)


def test_listeners_are_named_in_a_file_a_variable_or_a_flag(tmp_path):
    path = tmp_path / "node.toml"
    both = [NamedAddress("INTERNAL", Address("0.0.0.0", 9092)), NamedAddress("EXTERNAL", Address("::1", 19092))]
    path.write_text('kafka_listeners = ["INTERNAL://0.0.0.0:9092", "EXTERNAL://[::1]:19092"]\n')
    assert list(load_config(str(path)).config.kafka_listeners) == both
    text = ",".join(map(str, both))
    assert list(load_config(None, {"DOHLE_KAFKA_LISTENERS": text}).config.kafka_listeners) == both
    flags = parse_flags(["--kafka-listeners", text, "--kafka-advertised-listeners=INTERNAL://a:1"])
    config = load_config(None, {}, flags).config
    assert list(config.kafka_listeners) == both
    path.write_text(to_toml({"kafka_listeners": config.kafka_listeners}))
    assert list(load_config(str(path)).config.kafka_listeners) == both
    assert load_config(None, {"DOHLE_EXTERNAL_HOST": "h"}).config.external_host == "h"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"kafka_listeners": "0.0.0.0:9092"}, r"is no listener: expected NAME://host:port"),
        ({"kafka_listeners": "A://h"}, r"'A://h' is no listener"),
        ({"kafka_listeners": "A://h:x"}, r"is no listener"),
        ({"kafka_listeners": "A://h:0"}, r"is no listener"),
        ({"kafka_listeners": "A://h:70000"}, r"is no listener"),
        ({"kafka_listeners": "A B://h:1"}, r"is no name of a listener"),
        ({"kafka_listeners": "A@B://h:1"}, r"is no name of a listener"),
        ({"kafka_listeners": "A://h:1,a://h:2"}, r"names A twice"),
        ({"kafka_listeners": "A://h:1,B://i:1"}, r"listener A .* and listener B .* have one port, 1: .*differ"),
        ({"kafka_listeners": "A://h:7092"}, r"grpc_port and listener A .* have one port, 7092"),
        ({"kafka_listeners": "A://h:8092"}, r"http_port and listener A"),
        ({"external_grpc_port": "7092"}, r"grpc_port and external_grpc_port have one port, 7092"),
        ({"http_port": "9092"}, r"http_port and kafka_port have one port, 9092"),
        ({"kafka_listeners": "GRPC://h:1"}, r"GRPC is the name of another door"),
        ({"kafka_listeners": "SSL://h:1"}, r"SSL would promise what is not served yet"),
        ({"kafka_listeners": "A://h:1", "kafka_port": "9093"}, r"kafka_listeners and kafka_port exclude each other"),
        ({"kafka_listeners": "A://h:1", "kafka_advertised_address": "a:1"}, r"kafka_advertised_address exclude"),
        ({"kafka_advertised_listeners": "A://h:1"}, r"kafka_listeners is not"),
        ({"kafka_listeners": "A://h:1", "kafka_advertised_listeners": "B://h:1"}, r"names B, and kafka_listeners"),
        ({"kafka_listeners": "A://h:1", "kafka_advertised_listeners": "A://h"}, r"expected NAME://host:port"),
        ({"kafka_listeners": "A://h:1", "kafka_advertised_listeners": "A://h:1,A://h:2"}, r"names A twice"),
        ({"kafka_listeners": "A://h:1", "kafka_advertised_listeners": "A://:1"}, r"no address that clients can reach"),
        ({"kafka_listeners": "A://h:1", "kafka_advertised_listeners": "A://[::]:1"}, r"no address that clients"),
        ({"external_host": "h:9092"}, r"expected a host without a port"),
        ({"external_host": ""}, r"no name that clients can reach"),
        ({"external_host": "0.0.0.0"}, r"no name that clients can reach"),
        ({"kafka_advertised_address": "[::]:1"}, r"no address that clients can reach"),
        ({"kafka_advertised_address": "a:0"}, r"expected host:port"),
    ],
)
def test_listeners_that_cannot_be_are_refused(settings, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        by_text(**settings)


def test_what_is_advertised_is_what_is_registered():
    config = by_text(kafka_listeners=f"{INTERNAL},{EXTERNAL}", advertised_host="dohle-1")
    assert door(config, "10.0.0.5/24").endpoints == [
        Endpoint("INTERNAL", "dohle-1", 9092, "PLAINTEXT"),
        Endpoint("EXTERNAL", "localhost", 19092, "PLAINTEXT"),
    ]
    assert door(NodeConfig(host="10.0.0.5"), "10.0.0.5/24").endpoints == [
        Endpoint("KAFKA", "10.0.0.5", 9092, "PLAINTEXT")
    ]


def test_a_listener_on_all_addresses_registers_one_in_each_network():
    interfaces = ("10.0.0.5/24", "10.0.0.6/24", "192.168.7.2/16", "100.64.0.1/32", "fd00::2/64")
    config = NodeConfig(kafka_listeners=(NamedAddress("KAFKA", Address("0.0.0.0", 9092)),))
    assert [(one.listener, one.host) for one in door(config, *interfaces).endpoints] == [
        ("KAFKA", "127.0.0.1"),
        ("KAFKA@10.0.0.0/24", "10.0.0.5"),
        ("KAFKA@192.168.0.0/16", "192.168.7.2"),
    ]
    config = NodeConfig(kafka_listeners=(NamedAddress("KAFKA", Address("::", 9092)),))
    assert [one.listener for one in door(config, *interfaces).endpoints][-1] == "KAFKA@fd00::/64"
    many = [f"10.{number}.0.1/16" for number in range(100)]
    assert len(door(config, *many).endpoints) == 1 + MOST_NETWORKS


def doubts(config, *others):
    brokers = [
        SimpleNamespace(node_id=2 + number, fenced=False, endpoints=endpoints, endpoint=_finder(endpoints))
        for number, endpoints in enumerate(others)
    ]
    return door(config)._doubts(brokers)


def _finder(endpoints):
    return lambda name: next((one for one in endpoints if one.listener == name), None)


def registered(*listeners, host):
    return [Endpoint("GRPC", host, 7092, ""), *(Endpoint(name, host, 1, "") for name in listeners)]


def test_what_cannot_be_known_is_said():
    assert doubts(NodeConfig(), registered("KAFKA", "KAFKA@10.0.0.0/24", host="127.0.0.1")) == []
    [said] = doubts(NodeConfig(), registered("KAFKA", host="broker-2"))
    assert "told 127.0.0.1:9092" in said
    assert "set advertised_host" in said
    external = by_text(kafka_listeners=EXTERNAL)
    [said] = doubts(external)
    assert "localhost:19092" in said
    assert "DOHLE_EXTERNAL_HOST" in said
    assert doubts(by_text(kafka_listeners=EXTERNAL, external_host="example.org")) == []
    [said] = doubts(by_text(kafka_listeners=INTERNAL, advertised_host="a"), registered("KAFKA", host="b"))
    assert "node 2 and this one have not the same listeners" in said
    assert "INTERNAL, KAFKA" in said


def test_what_is_loopback():
    assert all(map(is_loopback, ("localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("10.0.0.1", "::2", "broker-1", "localhost.example")))


def _free_on_both():
    """Returns a port that is free on both loopback addresses, or skips where there is but one."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
            port = six.getsockname()[1]
            with socket.create_server(("127.0.0.1", port)):
                return port
    except OSError:
        pytest.skip("this machine has no ::1")


async def test_localhost_is_served_by_both_of_its_addresses():
    port = _free_on_both()
    opened = door(NodeConfig(kafka_port=port))
    await opened.bind()
    await opened.listener.serve({})
    for host in ("127.0.0.1", "::1"):
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
    await opened.close()
    assert [one.host for one in opened.endpoints] == ["127.0.0.1"]


async def test_another_program_on_the_second_one_is_warned_of(caplog):
    port = _free_on_both()
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        opened = door(NodeConfig(kafka_port=port))
        await opened.bind()
        await opened.close()
    assert f"port {port} is another program's on ::1" in caplog.text
