"""Configuration: precedence, sources, and errors that say what to do."""

from __future__ import annotations

import dataclasses
import re

import pytest

from dohle.cluster.config import NodeConfig, Voter
from dohle.cluster.config_sources import load_config, parse_flags, settings_in, to_toml
from dohle.model.errors import ConfigurationError
from dohle.runtime.network import Address


def _file(tmp_path, text):
    path = tmp_path / "node.toml"
    path.write_text(text)
    return str(path)


def test_flags_win_over_environment_over_file_over_default(tmp_path):
    path = _file(tmp_path, 'node_id = 2\ngrpc_port = 1000\nrack = "a"\n')
    sourced = load_config(path, {"DOHLE_GRPC_PORT": "2000", "DOHLE_RACK": "b", "HOME": "/"}, {"rack": "c"})
    assert (sourced.config.node_id, sourced.config.grpc_port, sourced.config.rack) == (2, 2000, "c")
    assert sourced.config.http_port == 8092
    by_name = {setting.name: setting.source for setting in sourced.settings()}
    assert by_name["node_id"] == path
    assert by_name["grpc_port"] == "the environment"
    assert by_name["rack"] == "the command line"
    assert by_name["http_port"] == "default"


def test_of_an_environment_only_settings_are_a_nodes():
    assert settings_in({"DOHLE_RACK": "a", "DOHLE_DIR": "/d", "DOHLE_SERVICE_HOST": "h", "DOHLE_LOG_LEVEL": "x"}) == [
        "DOHLE_LOG_LEVEL",
        "DOHLE_RACK",
    ]


def test_every_setting_is_explained():
    for setting in load_config().settings():
        assert setting.doc, setting.name
        assert setting.unit or not setting.name.endswith(("_ms", "_bytes", "_port")), setting.name


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("grcp_port = 1", r"node\.toml: there is no setting 'grcp_port'; did you mean grpc_port\?"),
        ("qqq = 1", r"no setting 'qqq'; `dohle config --show` lists all"),
        ("node_id = ", r"node\.toml is not TOML"),
        ("node_id = true", r"node_id = True: expected a whole number"),
        ('node_id = "one"', r"node_id = 'one': expected a whole number"),
        ("rack = 7", r"rack = 7: expected a string"),
        ("grpc_port = 70000", r"grpc_port = 70000: expected from 1 to 65535"),
        ("session_timeout_ms = 300", r"session_timeout_ms = 300 is too short: make it at least 3 times heartbeat"),
        ("raft_election_timeout_max_ms = 999", r"no less than raft_election_timeout_min_ms"),
        ("http_port = 7092", r"must differ"),
        ('roles = "brokr"', r"roles = 'brokr': expected controller, broker"),
        ('roles = ""', r"roles = ''"),
        ('roles = "broker"', r"voters is empty"),
        ('voters = "1@a"', r"'1@a' is no voter: expected node@host:port"),
        ('voters = "2@a:1,2@b:1"', r"names a node twice"),
        ('roles = "broker"\nvoters = "1@a:1"', r"which is no controller"),
        ('host = "0.0.0.0"', r"set advertised_host"),
        ('log_level = "loud"', r"log_level = 'loud'"),
    ],
)
def test_a_bad_file_is_refused_with_advice(tmp_path, text, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        load_config(_file(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("grpc_port = 7000", "127.0.0.1:7000"),
        ('host = "0.0.0.0"\nadvertised_host = "db1"\ngrpc_port = 7000', "db1:7000"),
        ("grpc_port = 7000\nadvertised_grpc_port = 8000", "127.0.0.1:8000"),
    ],
)
def test_others_are_told_where_a_node_is_reached(tmp_path, text, address):
    config = load_config(_file(tmp_path, text)).config
    assert str(config.reachable_address) == address
    assert str(config.controllers[0].address) == address


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=re.escape(str(tmp_path / "none.toml")) + ".*--config"):
        load_config(str(tmp_path / "none.toml"))


def test_an_unknown_variable_is_refused_but_not_those_of_others():
    with pytest.raises(ConfigurationError, match=r"DOHLE_GRPC_PROT.*did you mean DOHLE_GRPC_PORT\?"):
        load_config(environment={"DOHLE_GRPC_PROT": "1"})
    of_others = {
        "DOHLE_BOOTSTRAP": "x:1",
        "DOHLE_SERVICE_HOST": "10.0.0.1",
        "DOHLE_PORT_7092_TCP": "tcp://",
        "PATH": "",
    }
    assert load_config(environment=of_others).config == NodeConfig()


def test_flags_come_with_or_without_an_equals_sign():
    assert parse_flags(["--node-id", "3", "--data-dir=/x=y", "--config", "f"]) == {
        "node_id": "3",
        "data_dir": "/x=y",
        "config": "f",
    }
    with pytest.raises(ConfigurationError, match=r"no flag --node-ids; did you mean --node-id\?"):
        parse_flags(["--node-ids", "3"])
    with pytest.raises(ConfigurationError, match="--rack needs a value"):
        parse_flags(["--rack"])
    with pytest.raises(ConfigurationError, match="unexpected argument 'x'"):
        parse_flags(["x"])


def test_voters_are_read_from_text_and_lists(tmp_path):
    expected = (Voter(1, Address("a", 7092)), Voter(2, Address("::1", 7093)))
    for text in ('voters = "1@a:7092, 2@[::1]:7093"', 'voters = ["1@a:7092", "2@[::1]:7093"]'):
        assert load_config(_file(tmp_path, text)).config.voters == expected


def test_a_node_alone_is_its_own_controller():
    assert NodeConfig(node_id=4).controllers == (Voter(4, Address("127.0.0.1", 7092)),)


def test_a_written_file_is_read_back_the_same(tmp_path):
    config = NodeConfig(data_dir='/a "b"\\c', voters=(Voter(1, Address("::1", 7)),), rack="r")
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    assert load_config(_file(tmp_path, to_toml(values))).config == config


@pytest.mark.parametrize("address", ["a", ":9092", "a:", "a:b", "a:70000", "0.0.0.0:9092"])
def test_an_address_that_kafkas_clients_cannot_use_is_refused(address):
    with pytest.raises(ConfigurationError, match="kafka_advertised_address"):
        NodeConfig(kafka_advertised_address=address)


def test_a_switch_is_true_or_false(tmp_path):
    path = tmp_path / "node.toml"
    path.write_text(to_toml({"auto_create_topics_enable": False}))
    assert "auto_create_topics_enable = false" in path.read_text()
    assert not load_config(str(path)).config.auto_create_topics_enable
    assert load_config(str(path), {}, {"auto_create_topics_enable": "True"}).config.auto_create_topics_enable
    for wrong in ("1", "yes", ""):
        with pytest.raises(ConfigurationError, match="expected true or false"):
            load_config(None, {"DOHLE_AUTO_CREATE_TOPICS_ENABLE": wrong})
