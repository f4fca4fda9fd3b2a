"""NamespaceLinks: what nodes send each other, broken in the kernel, where it arrives.

Each node's namespace has a firewall of its own, whose rules look at who sent a packet: it is dropped (a cut link, or
one that loses some), or has to wait (`packet_queue`). So a direction is a matter of its own, and connections that are
open suffer like new ones. Packets of one burst reach a node as one, up to 64 KiB, and are lost or held as one.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Iterable

from dohle.testing.chaos.world import SOUND, LinkCounts, LinkRule, Links
from jepsen_lite.packet_queue import Pace, PacketQueue
from jepsen_lite.uninterrupted import uninterrupted
from tests.machine.commands import CommandFailed, missing, run, runs
from tests.machine.networks import Network, within
from tests.machine.slots import PREFIX

_DROPPED = re.compile(r"^\[(\d+):\d+\] -A INPUT .*-j DROP$", re.MULTILINE)


def why_not() -> str:
    """Returns what keeps this machine from breaking links, or nothing."""
    lack = missing("ip", "iptables-restore", "iptables-save", "nsenter", "ss")
    if lack:
        return f"links that break: {lack}"
    name = f"{PREFIX}-tried-{os.getpid()}"
    every_kind = LinkRule(cut=True, loss=0.5, delay_s=1.0)
    try:
        run("ip", "netns", "add", name)
        run(*within(name, "iptables-restore", "--noflush"), stdin=_table([(1, "127.0.0.1", every_kind)]))
        return ""
    except CommandFailed as error:
        return f"this kernel's firewall cannot break links: {error.message}"
    finally:
        runs("ip", "netns", "delete", name)


class NamespaceLinks(Links):
    """Clients are on none of them."""

    def __init__(self, network: Network, chance: random.Random) -> None:
        self._network = network
        self._chance = chance
        self._rules: dict[tuple[int, int], LinkRule] = {}
        self._queues: dict[int, PacketQueue] = {}
        self._dropped = 0
        self._resets = 0
        self._one_at_a_time = asyncio.Lock()

    async def set(self, source: int, target: int, rule: LinkRule) -> None:
        await self._change(target, {source: rule})

    async def heal(self) -> None:
        for target in {target: None for _, target in self._rules}:
            await self._change(target, dict.fromkeys(self._network.hosts, SOUND))

    async def reset(self, source: int, target: int) -> None:
        """By the kernel's own word for it, which tells both sides."""
        self._resets += await uninterrupted(self._reset, source, target)

    def _reset(self, source: int, target: int) -> int:
        listening = run(*self._within(target, "ss", "-Hltn"))
        ports = sorted({line.split()[3].rpartition(":")[2] for line in listening.splitlines()})
        if not ports:
            return 0
        far = f"dst {self._network.address(target)} and ( {' or '.join(f'dport = :{port}' for port in ports)} )"
        return len(run(*self._within(source, "ss", "-HKtn", "state", "established", far)).splitlines())

    def counts(self) -> LinkCounts:
        targets = {target: None for _, target in self._rules}
        dropped = self._dropped + sum(self._dropped_at(target) for target in targets)
        return LinkCounts(dropped, sum(queue.held_bytes for queue in self._queues.values()), self._resets)

    def close(self) -> None:
        """Its counts stay; the rules go with the network."""
        self._dropped = self.counts().dropped_packets
        self._rules.clear()
        for queue in self._queues.values():
            queue.close()

    async def _change(self, target: int, changed: dict[int, LinkRule]) -> None:
        async with self._one_at_a_time:
            before = {source: rule for (source, to), rule in self._rules.items() if to == target}
            rules = {source: rule for source, rule in {**before, **changed}.items() if rule != SOUND}
            slow = {source: rule for source, rule in rules.items() if _is_slow(rule)}
            for source, rule in slow.items():
                self._queue(target).slow(source, Pace(rule.delay_s, rule.jitter_s, rule.bytes_per_s))
            try:
                await uninterrupted(self._have, target, before, rules)
            finally:
                for source in before:
                    if source not in slow and target in self._queues:
                        self._queues[target].release(source)

    def _have(self, target: int, before: dict[int, LinkRule], rules: dict[int, LinkRule]) -> None:
        addressed = [(source, self._network.address(source), rule) for source, rule in rules.items()]
        dropped = self._dropped_at(target) if before else 0
        run(*self._within(target, "iptables-restore", "--noflush"), stdin=_table(addressed))
        self._dropped += dropped
        kept = {link: rule for link, rule in self._rules.items() if link[1] != target}
        self._rules = {**kept, **{(source, target): rule for source, rule in rules.items()}}

    def _dropped_at(self, target: int) -> int:
        """Returns how many packets the rules that are there now have dropped."""
        table = run(*self._within(target, "iptables-save", "-c", "-t", "filter"))
        return sum(int(packets) for packets in _DROPPED.findall(table))

    def _queue(self, target: int) -> PacketQueue:
        if target not in self._queues:
            try:
                self._queues[target] = PacketQueue(self._network.namespace(target), self._chance)
            except OSError as error:
                raise CommandFailed(f"packets to node {target} cannot be made to wait: {error}") from error
        return self._queues[target]

    def _within(self, host: int, *command: str) -> list[str]:
        return self._network.within(host, *command)


def _is_slow(rule: LinkRule) -> bool:
    return bool(rule.delay_s or rule.jitter_s or rule.bytes_per_s)


def _table(rules: Iterable[tuple[int, str, LinkRule]]) -> str:
    """Returns a node's whole firewall, as iptables-restore takes it: all of it changes at one moment.

    `rules` are hosts, their addresses, and what becomes of the packets that they send.
    Its chain stays, for with that the kernel would drop what waits in queues.
    """
    lines = ["*filter", "-F INPUT"]
    for source, address, rule in rules:
        link = f"-A INPUT -s {address}"
        if rule.cut:
            lines.append(f"{link} -j DROP")
        if rule.loss:
            lines.append(f"{link} -m statistic --mode random --probability {rule.loss:.6f} -j DROP")
        if _is_slow(rule):
            lines.append(f"{link} -j NFQUEUE --queue-num {source} --queue-bypass")
    return "\n".join([*lines, "COMMIT", ""])
