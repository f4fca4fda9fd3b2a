"""`dohle doctor`: why a Kafka client does not get through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dohle.cli.output import counted, print_json, print_table
from dohle.cli.session import check_seconds, json_option, run_async

if TYPE_CHECKING:
    from dohle.cli.doctor_walk import Visit
    from dohle.runtime.network import Address

_DEFAULT_PORT = 9092
_MOST_PORT = 65_535


def _parse_from(_context: click.Context, _parameter: click.Parameter, text: str) -> Address:
    from dohle.runtime.network import Address

    host, port = text.strip(), ""
    if host.startswith("["):
        host, _, port = host[1:].partition("]")
        port = port.removeprefix(":")
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    if not host or (port and not (port.isascii() and port.isdecimal() and 1 <= int(port) <= _MOST_PORT)):
        raise click.BadParameter(f"{text!r} is no address: expected HOST or HOST:PORT, as in broker-1:9092")
    return Address(host, int(port) if port else _DEFAULT_PORT)


@click.command()
@click.option(
    "--from",
    "start",
    required=True,
    callback=_parse_from,
    metavar="HOST[:PORT]",
    help=f"What the client is given as bootstrap.servers.  [port: {_DEFAULT_PORT}]",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=float,
    default=5.0,
    show_default=True,
    callback=check_seconds,
    help="Seconds to wait in each step.",
)
@json_option
def doctor(start: Address, timeout_s: float, as_json: bool) -> int:
    """Go the way of a Kafka client from here, and say which step fails and what to set.

    It resolves the address, connects, asks for the versions and the metadata, and then does the same with each address
    that the metadata tells, for that is where clients go. Run it where the client runs. Exit code 1 if a step fails.
    """
    from dohle.cli.doctor_walk import failures, walk

    visits = run_async(walk(start, timeout_s))
    wrong = failures(visits)
    if as_json:
        print_json(_as_json(visits))
        return 1 if wrong else 0
    print_table(
        ("", "WHERE", "STEP", "FOUND"),
        [
            ("ok" if step.ok else "FAILED", _where(visit), step.name, step.found)
            for visit in visits
            for step in visit.steps
        ],
    )
    click.echo()
    if not wrong:
        click.echo(f"All is well: {counted(len(visits) - 1, 'node')}, each found where clients are told that it is.")
        return 0
    for visit, step in wrong:
        click.echo(f"{_where(visit)}, {step.name}: {step.found}\n  {step.advice}")
    return 1


def _where(visit: Visit) -> str:
    return str(visit.address) if visit.node_id is None else f"node {visit.node_id}"


def _as_json(visits: list[Visit]) -> dict[str, Any]:
    first = visits[0]
    return {
        "from": str(first.address),
        "ok": all(visit.ok for visit in visits),
        "cluster_id": first.cluster_id,
        "fenced": [node_id for node_id, _ in first.fenced],
        "visits": [
            {
                "node_id": visit.node_id,
                "address": str(visit.address),
                "reached": visit.reached or None,
                "cluster_id": visit.cluster_id,
                "answers_as": visit.answers_as,
                "ok": visit.ok,
                "steps": [
                    {"step": step.name, "ok": step.ok, "found": step.found, "advice": step.advice}
                    for step in visit.steps
                ],
            }
            for visit in visits
        ],
    }
