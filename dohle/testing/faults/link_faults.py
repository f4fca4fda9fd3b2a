"""Faults of the network: cuts of several shapes, resets, loss and delay, narrow links. Cuts leave clients alone."""

from __future__ import annotations

from dohle.testing.faults.blow import Blow
from dohle.testing.world.links import FAIR_DELAY_S


async def isolation(blow: Blow) -> None:
    """From the other nodes; clients still reach it."""
    blow.often_at_the_active_controller()
    await _cut(blow, [(blow.node_id, other) for other in blow.others()])


async def one_way_cut(blow: Blow) -> None:
    blow.often_at_the_active_controller()
    me, outwards = blow.name_of(blow.node_id), blow.chance.random() < 0.5
    others = [blow.name_of(other) for other in blow.others()]
    blow.strikes("outwards" if outwards else "inwards")
    await _cut_ways(blow, [(me, other) if outwards else (other, me) for other in others])


async def pair_cut(blow: Blow) -> None:
    """Two nodes do not reach each other; both reach all others."""
    await _cut(blow, [(blow.node_id, blow.chance.choice(blow.others()))])


async def halves(blow: Blow) -> None:
    """A part of the nodes with this one, and the rest."""
    blow.often_at_the_active_controller()
    others = blow.others()
    here = [blow.node_id, *blow.chance.sample(others, blow.chance.randint(0, len(others) - 1))]
    await _cut(blow, [(one, other) for one in here for other in others if other not in here])


async def bridge(blow: Blow) -> None:
    """Two halves that both reach this node, and nobody of the other half."""
    others = blow.others()
    blow.chance.shuffle(others)
    middle = len(others) // 2
    await _cut(blow, [(one, other) for one in others[:middle] for other in others[middle:]])


async def majority_ring(blow: Blow) -> None:
    """Every node reaches a majority, and no two the same one; of three nodes, two do not reach each other."""
    ring = [blow.node_id, *blow.others()]
    blow.chance.shuffle(ring)
    count = len(ring)
    reach = max(1, (count // 2 + 1) // 2)  # neighbours on each side, so that they and the node are a majority
    apart = [(at, to) for at in range(count) for to in range(at) if min(at - to, count - at + to) > reach]
    await _cut(blow, [(ring[at], ring[to]) for at, to in apart] or [(ring[0], ring[1])])


async def _cut(blow: Blow, pairs: list[tuple[int, int]]) -> None:
    """Both ways."""
    names = [(blow.name_of(one), blow.name_of(other)) for one, other in pairs]
    blow.strikes(f"cuts {' '.join(f'{one}|{other}' for one, other in pairs)} for {blow.duration_s:.2f} s")
    await _cut_ways(blow, [way for one, other in names for way in ((one, other), (other, one))])


async def _cut_ways(blow: Blow, ways: list[tuple[str, str]]) -> None:
    for source, target in ways:
        blow.world.links.cut(source, target)
    await blow.lasts()
    for source, target in ways:
        blow.world.links.mend(source, target)


async def reset(blow: Blow) -> None:
    if blow.runs:
        blow.strikes()
        blow.world.reset_connections(blow.node_id)


async def refused_connections(blow: Blow) -> None:
    """What is open breaks, and new connections to the node are refused as if nobody listened, though it lives."""
    if not blow.runs:
        return
    blow.often_at_the_active_controller()
    name = blow.machine.name
    blow.strikes(f"for {blow.duration_s:.2f} s")
    blow.world.links.refuse(name)
    blow.world.reset_connections(blow.node_id)
    await blow.lasts()
    blow.world.links.accept(name)


async def bad_weather(blow: Blow) -> None:
    """Loss and delay everywhere."""
    weather = blow.world.links.weather
    loss, delay_s = blow.chance.uniform(0, 0.3), blow.chance.choice((0.001, 0.01, 0.05, 0.1))
    blow.strikes(f"{loss:.0%} lost, {delay_s * 1000:g} ms, for {blow.duration_s:.2f} s")
    weather.loss, weather.mean_delay_s = loss, delay_s
    await blow.lasts()
    weather.loss, weather.mean_delay_s = 0.0, FAIR_DELAY_S


async def throttled_links(blow: Blow) -> None:
    bytes_per_s = blow.chance.choice((20e3, 100e3, 500e3))
    blow.strikes(f"{bytes_per_s / 1000:g} kB/s for {blow.duration_s:.2f} s")
    blow.world.links.throttle(blow.machine.name, bytes_per_s)
    await blow.lasts()
    blow.world.links.unthrottle(blow.machine.name)
