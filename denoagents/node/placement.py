"""Carries out what the pure view decides: routes, flushes, freezes, ships, activates.

Rules: instructions are carried out in order, at once, before the next event reaches the view.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import structlog

from denoagents._native.peer import Peer
from denoagents._native.router import Destination, Parking, Router, SlotTable
from denoagents._native.runtime import Cell
from denoagents.actor.guardian import Guardian
from denoagents.address import SLOTS
from denoagents.cluster import instructions as do
from denoagents.cluster.instructions import Instruction
from denoagents.cluster.messages import Ack, Message, Released, Ship, VersionRecord, encode
from denoagents.cluster.view import View
from denoagents.node.handover import Handover, root_of
from denoagents.node.peers import Peers
from denoagents.node.ship_parts import ShipParts, parts_of
from denoagents.node.watching import FleetWatches

log = structlog.get_logger("denoagents.node")

NO_FENCES = (0,) * SLOTS

STAYING_S = 0.02
"""How often an actor that stays for its running turns is looked at."""


class Placement:
    """The placement of one node."""

    def __init__(
        self,
        view: View,
        router: Router,
        guardian: Guardian,
        peers: Peers,
        *,
        to_broker: Callable[[Message], None],
        on_evicted: Callable[[str], None],
    ) -> None:
        self.view, self._router, self._guardian, self._peers = view, router, guardian, peers
        self._to_broker = to_broker
        self.handover = Handover(guardian, router)
        self.watching = FleetWatches(guardian.watches, router, view.me, self._send)
        self._deeds: dict[type, Callable[[Any], None]] = {
            do.Route: self._route,
            do.Flush: self._flush,
            do.Acknowledge: self._acknowledge,
            do.Freeze: self._freeze,
            do.Ship: self._ship,
            do.ShipActor: self._ship_actor,
            do.Activate: self._activate,
            do.ActivateActor: lambda one: self._unhold(self.handover.family_of(one.actor)),
            do.Release: lambda one: self._send(one.to, one.message),
            do.Report: lambda one: to_broker(one.message),
            do.Over: self._over,
            do.Drained: lambda _: None,  # asked for with `View.is_drained`
            do.Evicted: lambda one: on_evicted(one.reason),
        }
        self._groups: dict[str, SlotTable] = {}
        self._holds: list[Parking] = []
        self._staying: dict[str, None] = {}
        self._ship_parts = ShipParts()
        self._fences: dict[str, list[int]] = {}
        self.on_activated: Callable[[], None] = lambda: None

    def table(self, group: str) -> SlotTable:
        """The slots of a group; all wait until a version says more."""
        table = self._groups.get(group)
        if table is None:
            hold = self._router.parking(f"group {group!r} has no worker")
            self._holds.append(hold)
            table = self._groups[group] = SlotTable(group, hold, False)
        return table

    def fence_of(self, cell: Cell) -> int:
        """The version under which the slot of `cell` became active here."""
        group = self.view.group_of(cell.type.name) or ""
        return self._fences.get(group, NO_FENCES)[cell.slot]

    # --- events -------------------------------------------------------------------------------

    def on_version(self, record: VersionRecord) -> None:
        """A version was published."""
        if record.version > self.view.version:
            for name, group in record.groups.items():
                for type_name in group.types:
                    self._router.tables[type_name] = self.table(name)
        self.carry_out(self.view.on_version(record))
        self._note_returned()
        self._pin(record)
        self._replay([self._router.unplaced])
        self.watching.on_version()

    def _over(self, over: do.Over) -> None:
        self._peers.over(over.incarnation, "the fleet declared it over")
        self.watching.over(over.incarnation, "it died with its worker")

    def _note_returned(self) -> None:
        """Actors that stayed although their slot went, and whose slot is coming back."""
        for root in self._staying:
            group = self.view.group_of(root.partition("/")[0]) or ""
            if self.view.owner_of(group, self._router.slot_at(root)) == self.view.me:
                self.handover.returned(root)
            else:
                self.handover.started(self.handover.family_of(root))

    def on_settled(self, version: int) -> None:
        """Every member has acknowledged `version`."""
        self.carry_out(self.view.settled(version))

    def on_released(self, sender: int, message: Released) -> None:
        """A member gave up slots or actors."""
        self.carry_out(self.view.released(sender, message))

    def turn_ended(self, cell: Cell) -> None:
        """A turn of an actor that is to leave has ended."""
        root = root_of(cell.address)
        if root in self._staying:
            self._router.runtime.loop.call_soon(self._maybe_ended, root)

    def _maybe_ended(self, root: str) -> None:
        if root in self._staying and not self.handover.is_busy(root):
            del self._staying[root]
            self.carry_out(self.view.turn_ended(root))

    # --- instructions ---------------------------------------------------------------------------

    def carry_out(self, instructions: Iterable[Instruction]) -> None:
        """Do what the view says, in order."""
        for instruction in instructions:
            self._deeds[type(instruction)](instruction)

    def _acknowledge(self, acknowledge: do.Acknowledge) -> None:
        self._peers.mesh.placement_version = acknowledge.version
        self._to_broker(Ack(version=acknowledge.version))

    def _route(self, route: do.Route) -> None:
        table = self.table(route.group)
        owner: Destination
        if route.owner == 0:
            owner = self._router.parking(f"slots of group {route.group!r} change hands")
            self._holds.append(owner)
        elif route.owner == self.view.me:
            owner = self._router.here
        else:
            member = self.view.member(route.owner)
            if member is None:
                return
            owner = self._peers.member(route.owner, member.name, member.endpoint)
        table.assign(route.slots, owner)
        for peer in tuple(self._peers.dialed.values()):
            peer.reroute()
        self._replay([self._router.unplaced, self._router.arriving, *self._holds])
        self._holds = [hold for hold in self._holds if hold.is_used_by(self._groups.values())]

    def _replay(self, parkings: Iterable[Parking]) -> None:
        for parking in parkings:
            if len(parking):
                parking.replay()

    def _flush(self, flush: do.Flush) -> None:
        self._router.flush()
        for incarnation in flush.incarnations:
            peer = self._peers.dialed.get(incarnation)
            done = partial(self._flushed, incarnation, flush.version)
            if peer is None or peer.link is None:
                self._router.runtime.loop.call_soon(done)
            else:
                peer.link.when_accepted().add_done_callback(done)

    def _flushed(
        self, incarnation: int, version: int, _: asyncio.Future[None] | None = None
    ) -> None:
        self.carry_out(self.view.flushed(incarnation, version))

    def _freeze(self, freeze: do.Freeze) -> None:
        """Start no turn there; but an actor whose family is at work finishes with its help."""
        table = self.table(freeze.group)
        table.set_active(freeze.slots, False)
        table.set_leaving(freeze.slots, True)
        for cell in self._cells_in(set(freeze.slots)):
            if cell.address.count("/") > 1:
                continue
            family = self.handover.family_of(cell.address)
            if len(family) == 1 or not self.handover.is_busy(cell.address):
                for one in family:
                    one.held = True

    def _ship(self, ship: do.Ship) -> None:
        member = self.view.member(ship.to)
        running: list[tuple[int, str]] = []
        if member is not None:
            peer = self._peers.member(ship.to, member.name, member.endpoint)
            self._connect(ship.to)
            for root in self.handover.roots_in(set(ship.slots)):
                if self.handover.is_busy(root):
                    running.append((self._router.slot_at(root), root))
                    self._staying[root] = None
                    self._guardian.leaving.update(self.handover.family_of(root))
                else:
                    is_whole = not self.view.is_elsewhere(root)
                    packed = self.handover.pack(
                        root, ship.group, self.view.version, peer, is_whole=is_whole
                    )
                    for part in parts_of(packed):
                        self._send(ship.to, part)
        self._guardian.durables.forget_sleeping(set(ship.slots), self._router.slot_at)
        self.table(ship.group).set_leaving(ship.slots, False)
        if running and len(self._staying) == len(running):
            self._watch_staying()
        self.carry_out(self.view.shipped(ship.group, ship.slots, ship.to, running))

    def _watch_staying(self) -> None:
        """Children may be made, and end, after their parent's turn has: look now and then."""
        for root in tuple(self._staying):
            self._maybe_ended(root)
        if self._staying:
            self._router.runtime.loop.call_later(STAYING_S, self._watch_staying)

    def _ship_actor(self, ship: do.ShipActor) -> None:
        member = self.view.member(ship.to)
        if member is not None:
            peer = self._peers.member(ship.to, member.name, member.endpoint)
            self._connect(ship.to)
            packed = self.handover.pack(ship.actor, ship.group, self.view.version, peer)
            for part in parts_of(packed):
                self._send(ship.to, part)
        self.carry_out(self.view.actor_shipped(ship.actor, ship.to))

    def on_ship(self, message: Ship, peer: Peer) -> None:
        """An actor arrived from its former owner."""
        whole = self._ship_parts.add(peer.incarnation, message)
        if whole is None:
            return
        self.handover.unpack(whole, peer)
        if not self.view.is_active(message.group, message.slot):
            for cell in self.handover.family_of(message.actor):
                cell.held = True

    def _activate(self, activate: do.Activate) -> None:
        table = self.table(activate.group)
        table.set_active(activate.slots, True)
        table.set_leaving(activate.slots, False)
        fences = self._fences.setdefault(activate.group, list(NO_FENCES))
        for slot in activate.slots:
            fences[slot] = self.view.version
        excepted = set(activate.excepted)
        router, slots = self._router, set(activate.slots)
        router.lingering.difference_update(
            [root for root in router.lingering if router.slot_at(root) in slots]
        )
        router.lingering.update(excepted)
        for actor in excepted:
            router.local_cell(actor).held = True  # it arrives later
        self._unhold(
            cell for cell in self._cells_in(slots) if root_of(cell.address) not in excepted
        )
        self.on_activated()

    def _unhold(self, cells: Iterable[Cell]) -> None:
        running = list(cells)
        self.handover.started(running)
        for cell in running:
            self._router.lingering.discard(cell.address)
            self._router.runtime.unhold(cell)
            self.watching.arrived(cell.address)
        self.watching.on_active()
        self._replay([self._router.arriving])
        self._router.runtime.run_soon()

    def _cells_in(self, slots: set[int]) -> list[Cell]:
        return [
            cell
            for cell in self._router.runtime.cells.values()
            if cell.slot in slots
            and "/~" not in cell.address
            and cell.type.name in self._router.types
        ]

    def _connect(self, incarnation: int) -> None:
        peer = self._peers.dialed[incarnation]
        if peer.link is None:
            self._peers.dial(peer, at_once=True)

    def _send(self, to: int, message: Message) -> None:
        member = self.view.member(to)
        if member is None:
            return
        peer = self._peers.member(to, member.name, member.endpoint)
        self._connect(to)
        peer.control(encode(message))

    # --- pools --------------------------------------------------------------------------------

    def _pin(self, record: VersionRecord) -> None:
        """Members of pools live on a named worker: keep the way to each."""
        names = {member.name for member in record.members if member.role == "worker"}
        for gone in self._router.pinned.keys() - names:
            del self._router.pinned[gone]
        for member in record.members:
            if member.role != "worker" or member.state == "unhealthy":
                continue
            if member.incarnation == self.view.me:
                self._router.pinned[member.name] = self._router.here
            else:
                self._router.pinned[member.name] = self._peers.member(
                    member.incarnation, member.name, member.endpoint
                )
