"""The documentation says what the code does: tables of settings, keys, metrics, errors and commands, and every link."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import Metric

from dohle.cli.commands import dohle
from dohle.cluster.config import NodeConfig
from dohle.cluster.config_sources import to_text
from dohle.model.errors import error_types
from dohle.model.topic_config import TOPIC_KEYS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
METRIC = re.compile(r"dohle_[a-z_]+")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


@cache
def pages() -> list[Path]:
    found = []
    for folder, subfolders, files in os.walk(ROOT):  # which follows no links
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(folder, name) for name in files if name.endswith(".md")]
    return sorted(found)


def rows(page: str, header: str) -> list[list[str]]:
    """Returns the cells of the tables of `page` whose first column is `header`; all-code cells without their quotes."""
    found: list[list[str]] = []
    inside = False
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            inside = False
        elif cells[0] == header:
            inside = True
        elif inside and not set(cells[0]) <= {"-", " "}:
            found.append([re.sub(r"^`([^`]*)`$", r"\1", cell) for cell in cells])
    return found


def commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def sections(page: str) -> dict[str, str]:
    """Returns the text below each heading that is a command."""
    parts = re.split(r"^##+ (.+)$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {title: text for title, text in zip(parts[1::2], parts[2::2], strict=True) if title.startswith("dohle ")}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page):
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    targets = [link.partition("#")[0] for link in LINK.findall(text) if "://" not in link]
    missing = [target for target in targets if target and not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_example_is_python(page):
    for language, code in FENCED.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            ast.parse(code, filename=str(page))


def test_the_table_of_node_settings_is_that_of_the_code():
    assert rows("configuration.md", "setting") == [
        [
            field.name,
            to_text(field.default) or "empty",
            field.metadata["unit"],
            field.metadata["doc"],
            f"DOHLE_{field.name.upper()}",
            f"--{field.name.replace('_', '-')}",
        ]
        for field in dataclasses.fields(NodeConfig)
    ]


def test_the_table_of_topic_keys_is_that_of_the_code():
    documented = rows("configuration.md", "key")
    assert [row[:4] for row in documented] == [
        [key.name, key.default_text, key.bounds_text, key.doc] for key in TOPIC_KEYS.values()
    ]
    assert {row[4] for row in documented} == {"yes", "not yet"}


def test_the_table_of_errors_is_that_of_the_code():
    assert rows("errors.md", "code") == [
        [
            str(error.code),
            error.__name__,
            "yes" if error.retriable else "no",
            "yes" if error.definite else "no",
            (error.__doc__ or "").strip().split("\n")[0],
        ]
        for error in error_types()
    ]


def test_every_metric_is_documented_and_no_other():
    source = ast.parse((ROOT / "dohle" / "cluster" / "metrics.py").read_text(encoding="utf-8"))
    exposed = {
        node.value
        for node in ast.walk(source)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and METRIC.fullmatch(node.value)
    }
    documented = {row[0] for row in rows("metrics.md", "metric")}
    own = {name for name in documented if name.startswith("dohle_")}
    assert {name.removesuffix("_total").removesuffix("_info") for name in own} == exposed
    of_process: list[Metric] = list(ProcessCollector(registry=CollectorRegistry()).collect())
    if of_process:  # Linux
        assert documented - own == {sample.name for metric in of_process for sample in metric.samples}


def test_every_command_and_option_is_documented_and_no_other():
    documented = sections("cli.md")
    known = dict(commands(dohle, "dohle"))
    assert documented.keys() == known.keys()
    settings = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(NodeConfig)} | {"--config"}
    for name, command in known.items():
        options = {text for option in command.params for text in option.opts if text.startswith("--")}
        mentioned = set(OPTION.findall(documented[name]))
        takes_settings = name in {"dohle node", "dohle format", "dohle config"}
        assert options <= mentioned, f"{name}: not documented"
        assert mentioned <= options | (settings if takes_settings else set()), f"{name}: there is no such option"
