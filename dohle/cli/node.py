"""`dohle node`, `dohle config`, `dohle version`: one node and its settings."""

from __future__ import annotations

import dataclasses
import os

import click

from dohle import __version__
from dohle.cli.output import print_json
from dohle.cluster.config_sources import load_config, parse_flags


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("settings", nargs=-1, type=click.UNPROCESSED)
def node(settings: tuple[str, ...]) -> int:
    """Run one node until it is told to stop; settings as --name value."""
    from dohle.cluster.process import run_node

    return run_node(settings, os.environ)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--show", is_flag=True, help="Explain every setting: value, unit, meaning, and where it came from.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.argument("settings", nargs=-1, type=click.UNPROCESSED)
def config(show: bool, as_json: bool, settings: tuple[str, ...]) -> None:
    """Check a node's settings, as `dohle node` would read them: from --config FILE, DOHLE_… and --name value."""
    flags = parse_flags(settings)
    sourced = load_config(flags.pop("config", os.environ.get("DOHLE_CONFIG")), os.environ, flags)
    if as_json:
        print_json([dataclasses.asdict(setting) for setting in sourced.settings()])
    elif show:
        for setting in sourced.settings():
            unit = f" {setting.unit}" if setting.unit not in ("", "port") else ""
            click.echo(f"# {setting.doc}.  [{setting.source}]\n{setting.name} = {setting.value}{unit}\n")
    else:
        click.echo("The configuration is good; --show explains it.")


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"dohle {__version__}")
