"""When a simulated fleet is quiet: nothing waits, nothing runs, all agree on the placement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from denoagents.testing.world import SimulatedNode, World


def unquiet(world: World) -> Iterator[str]:
    """What is not quiet yet, in words; nothing when all is."""
    broker = world.broker
    if broker is None or broker.operations is None or not world.has_broker:
        yield "there is no broker"
        return
    fleet = broker.fleet
    if not fleet.is_settled:
        waits_for = [one.name for one in fleet.unacknowledged()]
        yield f"version {fleet.version} waits for {waits_for}"
    for name, group in fleet.groups.items():
        if not group.is_handed_over or group.lingering:
            yield f"group {name} is not handed over: {group.lingering}"
    for one in world.living():
        if not one.is_usable or one.is_leaving:
            yield f"{one} is {'leaving' if one.is_leaving else one.node.state}"
        elif one.incarnation not in fleet.members:
            yield f"the broker does not know {one}"
        else:
            yield from _unquiet_node(one, fleet.version)


def _unquiet_node(one: SimulatedNode, version: int) -> Iterator[str]:
    view, router = view_of(one), one.node.router
    if view.version != version or not view.is_settled:
        yield f"{one} has version {view.version}, settled {view.settled_version}, not {version}"
    books = router.books
    if books.waiting or books.running or books.retained:
        yield f"{one} has work: {books.sender()} {books.receiver()}{_at_work(one)}"
    if books.reliable_outstanding:
        yield f"{one} has reliable messages that are not handled: {books.reliable()}"
    if router.parked:
        yield f"{one} has {router.parked} messages parked"
    if router.deadlines.count:
        yield f"{one} has {router.deadlines.count} open requests"
    for peer in one.node._fleet.peers.all():  # type: ignore[union-attr]  # noqa: SLF001 - looks inside
        if not peer.is_quiet:
            yield f"{one} has open requests with {peer!r}"


def _at_work(one: SimulatedNode) -> str:
    """The actors whose messages wait or run."""
    cells = one.node.runtime.cells.values()
    busy = [cell.address for cell in cells if cell.turn is not None or cell.waiting]
    return f" at {', '.join(sorted(busy)[:10])}" if busy else ""


def view_of(one: SimulatedNode) -> Any:
    """What a node knows of the fleet."""
    return one.node._fleet.view  # type: ignore[union-attr]  # noqa: SLF001 - looks inside


def mesh_of(one: SimulatedNode) -> Any:
    """A node's links."""
    return one.node._fleet.mesh  # type: ignore[union-attr]  # noqa: SLF001 - looks inside
