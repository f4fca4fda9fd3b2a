"""The list of commands, each imported at its first use."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("dohle.cli.local:up", "Start a local cluster, or what of it does not run."),
    "down": ("dohle.cli.local:down", "Stop the local cluster."),
    "status": ("dohle.cli.status:status", "Show nodes, controller and partitions that lack replicas."),
    "cluster": ("dohle.cli.cluster:cluster", "See and change the cluster: its controllers, replicas and leaders."),
    "doctor": ("dohle.cli.doctor:doctor", "Say why a Kafka client does not get through."),
    "explain": ("dohle.cli.explain:explain", "Say who leads a partition and why, and who lags."),
    "topic": ("dohle.cli.topic:topic", "Create, list, describe, delete and configure topics."),
    "group": ("dohle.cli.group:group", "See consumer groups, how far they are behind and why; reset or delete them."),
    "produce": ("dohle.cli.produce:produce", "Write lines or JSON from standard input to a topic."),
    "consume": ("dohle.cli.consume:consume", "Print a topic's records."),
    "import-kafka": (
        "dohle.cli.import_kafka:import_kafka",
        "Bring topics into a cluster from an Apache Kafka's folders.",
    ),
    "demo": ("dohle.cli.demo:demo", "Load a year of flights, lose a leader on the way, and check every record."),
    "bench": ("dohle.cli.bench:bench", "Measure throughput and latency of a running cluster."),
    "selftest": ("dohle.cli.selftest:selftest", "Prove on this machine that no record is lost, whatever breaks."),
    "sim": ("dohle.cli.sim:sim", "Run clusters in virtual time, broken on purpose, and replay them from a seed."),
    "history": ("dohle.cli.history:history", "Judge what clients did and saw."),
    "node": ("dohle.cli.node:node", "Run one node, for production."),
    "format": ("dohle.cli.format:format_command", "Prepare a node's data folder."),
    "config": ("dohle.cli.node:config", "Explain a node's settings."),
    "log": ("dohle.cli.log:log", "Look into a log's files."),
    "version": ("dohle.cli.node:version", "Print the version."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), f"{cmd_name} is no command"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def dohle() -> None:
    """A replicated, distributed commit log.

    Begin with `dohle up`. Every command explains itself with --help. Exit codes: 0 done, 1 an error, 2 wrong usage,
    130 interrupted.
    """
