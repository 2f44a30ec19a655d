"""A node's view of the fleet: from placement versions to instructions; pure.

Rules: the node calls from its loop and carries out the returned instructions in order before the
next call. Versions only rise. A version is acknowledged when every peer that lost slots in it has
accepted all that was sent to it before, or is over. Whatever a member says about a version that has
not come yet waits until it has.
"""

from __future__ import annotations

from collections.abc import Iterable

from denoagents.cluster import slots as slot_set
from denoagents.cluster.holding import Holding
from denoagents.cluster.instructions import (
    Acknowledge,
    Drained,
    Evicted,
    Flush,
    Instruction,
    Over,
)
from denoagents.cluster.messages import Lingering, MemberRecord, Released, VersionRecord
from denoagents.cluster.routes import Routes

Placed = tuple[tuple[int, str, int], ...]


class View:
    """What one node knows about the fleet, and what follows from it."""

    def __init__(self, *, incarnation: int, group: str | None, assign: slot_set.Assign) -> None:
        """`group` is the group that this node works in, None for a client."""
        self.me, self.group = incarnation, group
        self.record = VersionRecord(version=0)
        self.settled_version = self.acknowledged = 0
        self.over: frozenset[int] = frozenset()
        self._assign = assign
        self._members: dict[int, MemberRecord] = {}
        self._routes: dict[str, Routes] = {}
        self._placed: dict[str, Placed] = {}
        self._holding = None if group is None else Holding(group, incarnation)
        self._early: list[tuple[int, Released]] = []
        self._was_drained = False

    # --- what the node asks -------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The latest version that came."""
        return self.record.version

    @property
    def is_settled(self) -> bool:
        """The latest version is settled."""
        return self.settled_version == self.version

    @property
    def is_drained(self) -> bool:
        """`Drained` was said of the latest version."""
        return self._was_drained

    @property
    def state(self) -> str:
        """This node's own state in the latest version; "" if it is no worker of it."""
        member = self._members.get(self.me)
        return "" if member is None else member.state

    def member(self, incarnation: int) -> MemberRecord | None:
        """The worker of this incarnation, if it lives."""
        return self._members.get(incarnation)

    def members(self) -> list[MemberRecord]:
        """All living workers."""
        return list(self._members.values())

    def owner_of(self, group: str, slot: int) -> int:
        """The owner's incarnation in the latest version, 0 for nobody."""
        routes = self._routes.get(group)
        return 0 if routes is None else routes.owner_of(slot)

    def group_of(self, actor_type: str) -> str | None:
        """The group whose workers host the actor type."""
        for name, group in self.record.groups.items():
            if actor_type in group.types:
                return name
        return None

    def holding(self) -> dict[str, bytes]:
        """Slots held here, by group: for `Join` at a broker that started anew."""
        if self._holding is None or not self._holding.held:
            return {}
        return {self._holding.group: slot_set.pack(self._holding.held)}

    def lingering(self) -> list[Lingering]:
        """Actors of held slots that still live elsewhere: for `Join`."""
        return [] if self._holding is None else self._holding.lingering()

    def is_elsewhere(self, actor: str) -> bool:
        """The actor's slot is held here, but it stays with a former holder until its turn ends.

        What waits for it here is shipped as `Ship(is_whole=False)` when the slot moves on."""
        return any(entry.actor == actor for entry in self.lingering())

    def is_active(self, group: str, slot: int) -> bool:
        """This node runs the slot."""
        held = self._holding
        return held is not None and held.group == group and bool(held.active >> slot & 1)

    def destination(self, group: str, slot: int) -> int:
        """Who shall get this frozen slot now, 0 for nobody; for a node that ships piecemeal."""
        held = self._holding
        return held.destination(slot) if held is not None and held.group == group else 0

    # --- what the node tells ------------------------------------------------------------------

    def on_version(self, record: VersionRecord) -> list[Instruction]:
        """A version came from the broker."""
        if record.version <= self.version:
            return [Acknowledge(self.version)] if self.acknowledged == self.version else []
        before = self._members
        self.record = record
        self._members = {m.incarnation: m for m in record.members if m.role == "worker"}
        gone = before.keys() - self._members.keys()
        now_over = (gone | set(record.over)) - self.over
        self.over = frozenset(record.over) | gone
        out: list[Instruction] = [Over(who) for who in sorted(now_over) if who != self.me]
        if self.me in self.over:
            return [*out, Evicted("the fleet goes on without this incarnation")]
        out += self._switch_routes()
        out += self._switch_holding()
        out += self._acknowledge()
        early, self._early = self._early, []
        for sender, message in early:
            out += self.released(sender, message)
        return out

    def settled(self, version: int) -> list[Instruction]:
        """Every living member has acknowledged `version`."""
        if version != self.version or self.me in self.over:
            return []
        self.settled_version = version
        out = [] if self._holding is None else self._holding.settle()
        return out + self._drained()

    def flushed(self, incarnation: int, version: int) -> list[Instruction]:
        """The peer has accepted all that was sent before the `Flush` of `version`."""
        out: list[Instruction] = []
        for routes in self._routes.values():
            out += routes.flushed(incarnation, version)
        return out + self._acknowledge()

    def released(self, sender: int, message: Released) -> list[Instruction]:
        """`Released` came from a member."""
        if self._holding is None or message.group != self._holding.group:
            return []
        if message.version > self.version:
            self._early.append((sender, message))
            return []
        if sender not in self._members:
            return []
        return self._holding.released(sender, message)

    def shipped(
        self, group: str, slots: Iterable[int], to: int, running: Iterable[tuple[int, str]]
    ) -> list[Instruction]:
        """`Ship` was carried out; `running` are the (slot, root actor) pairs that had to stay."""
        if self._holding is None or self._holding.group != group:
            return []
        return self._holding.shipped(slot_set.from_numbers(slots), to, running) + self._drained()

    def turn_ended(self, actor: str) -> list[Instruction]:
        """The last running turn of an actor that had to stay has ended."""
        return [] if self._holding is None else self._holding.turn_ended(actor)

    def actor_shipped(self, actor: str, to: int) -> list[Instruction]:
        """`ShipActor` was carried out."""
        if self._holding is None:
            return []
        return self._holding.actor_shipped(actor, to) + self._drained()

    # --- steps --------------------------------------------------------------------------------

    def _switch_routes(self) -> list[Instruction]:
        out: list[Instruction] = []
        to_flush: set[int] = set()
        alive = self._members.keys()
        for group in self.record.groups.keys() | self._routes.keys():
            routes = self._routes.setdefault(group, Routes(group, self.me))
            owners = self._owners(group, routes.owners)
            new_routes, peers = routes.switch(self.version, owners, alive)
            out += new_routes
            to_flush |= peers
        if to_flush:
            out.append(Flush(self.version, tuple(sorted(to_flush))))
        return out

    def _owners(self, group: str, known: dict[int, int]) -> dict[int, int]:
        placed = tuple(
            sorted(
                (member.incarnation, member.name, member.weight)
                for member in self._members.values()
                if member.group == group and member.state == "placed"
            )
        )
        if self._placed.get(group) == placed:
            return known
        self._placed[group] = placed
        return slot_set.owners_of(placed, self._assign)

    def _switch_holding(self) -> list[Instruction]:
        held = self._holding
        if held is None:
            return []
        routes = self._routes.get(held.group)
        sources = {
            source.incarnation: slot_set.unpack(source.slots)
            for source in self.record.sources.get(held.group, ())
        }
        lingering = [entry for entry in self.record.lingering if entry.group == held.group]
        self._was_drained = False
        return held.switch(
            self.version,
            {} if routes is None else routes.owners,
            frozenset(self._members),
            sources,
            lingering,
        )

    def _acknowledge(self) -> list[Instruction]:
        if self.acknowledged == self.version or any(r.waits_for for r in self._routes.values()):
            return []
        self.acknowledged = self.version
        return [Acknowledge(self.version)]

    def _drained(self) -> list[Instruction]:
        held = self._holding
        if held is None or self.state != "draining" or not self.is_settled or self._was_drained:
            return []
        if not held.is_empty:
            return []
        self._was_drained = True
        return [Drained()]

    def __repr__(self) -> str:
        settled = "settled" if self.is_settled else "not settled"
        return f"<View version {self.version} {settled}, {len(self._members)} workers>"
