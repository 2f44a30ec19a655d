"""A worker's side of its group's placement: the slots it holds, gives away and waits for.

Rules:
    Each slot of mine is active, or waits: for the release by a living holder, or, where nobody
    living holds it, for the version to settle. Each slot that I hold is active or frozen.
    I give a slot away only when the version is settled, and say `released` behind what I shipped.
    Asked for a slot that I gave to a third one, I say so (`via`); if that one is dead, it is fresh.
    An actor with a running turn stays when its slot goes (`staying`); for the new owner it is
    `lingering` with its holder, and runs when that holder releases it or is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from denoagents.cluster import slots as slot_set
from denoagents.cluster.instructions import (
    Activate,
    ActivateActor,
    Freeze,
    Instruction,
    Release,
    Report,
    Ship,
    ShipActor,
)
from denoagents.cluster.messages import Activated, ActivatedActors, Lingering, Released


@dataclass(slots=True)
class _Staying:
    """An actor of a slot that has gone, still here because of its running turn."""

    slot: int
    ended: bool = False


class Holding:
    """The slots of one group in one of its workers."""

    def __init__(self, group: str, me: int) -> None:
        self.group, self.me = group, me
        self.version = self.settled_version = 0
        self.mine = self.active = self.frozen = 0
        self._owners: dict[int, int] = {}
        self._alive: frozenset[int] = frozenset()
        self._awaited: dict[int, int] = {}  # living holder -> my slots that it shall release
        self._unsettled = 0  # my slots that nobody living holds
        self._gone: dict[int, int] = {}  # receiver -> slots I gave it and may be asked about
        self._staying: dict[str, _Staying] = {}
        self._sent: dict[str, tuple[int, int]] = {}  # actor -> slot, receiver
        self._lingering: dict[str, Lingering] = {}  # actors that are not here yet
        self._orphans: set[str] = set()  # lingering ones whose holder is over
        self._arrived: dict[str, int] = {}  # actors that came before their slot
        self._announced: dict[str, Lingering] = {}  # what the version says about waiting slots

    @property
    def held(self) -> int:
        """Slots whose actors live here."""
        return self.active | self.frozen

    @property
    def is_empty(self) -> bool:
        """Nothing is held, or nobody is there to take it."""
        return not self._owners or not (self.held or self._staying)

    def lingering(self) -> list[Lingering]:
        """Actors of held slots that still live elsewhere."""
        return list(self._lingering.values())

    # --- versions -----------------------------------------------------------------------------

    def switch(
        self,
        version: int,
        owners: dict[int, int],
        alive: frozenset[int],
        sources: Mapping[int, int],
        lingering: Iterable[Lingering],
    ) -> list[Instruction]:
        """Take over a version; `sources` and `lingering` are those of this group."""
        self.version, self._owners, self._alive = version, owners, alive
        self.mine = owners.get(self.me, 0)
        announced = {entry.actor: entry for entry in lingering}
        out = self._change_state()
        self._await(sources)
        out += self._answer_for_slots(sources.get(self.me, 0))
        out += self._answer_for_actors(announced, sources.get(self.me, 0))
        self._announced = {
            actor: entry
            for actor, entry in announced.items()
            if self._is_elsewhere(entry) and actor not in self._arrived
        }
        self._orphans |= {
            actor for actor, entry in self._lingering.items() if entry.holder not in alive
        }
        out += self._ship_ended()
        return out

    def settle(self) -> list[Instruction]:
        """The present version is settled: give away, and activate what nobody else holds."""
        self.settled_version = self.version
        out = self._ship_frozen()
        out += self._activate(self._take_unsettled())
        out += self._activate_orphans()
        return out

    # --- giving away --------------------------------------------------------------------------

    def shipped(self, slots: int, to: int, running: Iterable[tuple[int, str]]) -> list[Instruction]:
        """All of `slots` is on its way to `to`, but for the (slot, actor) pairs that run."""
        slots &= self.frozen
        self.frozen &= ~slots
        self._gone[to] = self._gone.get(to, 0) | slots
        for slot, actor in running:
            self._staying[actor] = _Staying(slot)
        excepted = self._staying_in(slots)
        for actor, entry in list(self._lingering.items()):
            if slots >> entry.slot & 1:
                excepted.append(entry)
                self._forget_lingering(actor)
        return [self._release(to, slots=slots, excepted=excepted)]

    def turn_ended(self, actor: str) -> list[Instruction]:
        """An actor that stayed has no running turn any more."""
        staying = self._staying.get(actor)
        if staying is None:
            return []
        staying.ended = True
        return self._ship_ended()

    def actor_shipped(self, actor: str, to: int) -> list[Instruction]:
        """The actor is on its way to `to`."""
        staying = self._staying.pop(actor, None)
        if staying is None:
            return []
        self._sent[actor] = (staying.slot, to)
        entry = Lingering(self.group, staying.slot, actor, self.me)
        return [self._release(to, actors=[entry])]

    def destination(self, slot: int) -> int:
        """Who shall get this frozen slot now, 0 for nobody."""
        if self.settled_version != self.version or not self.frozen >> slot & 1:
            return 0
        return self._owner_of(slot)

    # --- receiving ----------------------------------------------------------------------------

    def released(self, sender: int, message: Released) -> list[Instruction]:
        """A member gives me slots or actors, or says who got them."""
        slots = slot_set.unpack(message.slots)
        if message.via == 0:
            out = self._receive_slots(slots, message.excepted)
            for entry in message.actors:
                out += self._receive_actor(entry)
            return out
        return self._redirect_slots(sender, slots, message) + self._redirect_actors(message)

    def _receive_slots(self, slots: int, excepted: list[Lingering]) -> list[Instruction]:
        gained = slots & ~self.held
        if not gained:
            return []
        self._stop_awaiting(gained)
        self._expect(excepted, gained)
        self.frozen |= gained & ~self.mine
        out = self._activate(gained & self.mine)
        if self.settled_version == self.version:
            out += self._ship_frozen()
            out += self._activate_orphans()
        return out

    def _receive_actor(self, entry: Lingering) -> list[Instruction]:
        actor, bit = entry.actor, 1 << entry.slot
        self._forget_lingering(actor)
        self._announced.pop(actor, None)
        if self.active & bit:
            reports = ActivatedActors(group=self.group, actors=[actor])
            return [ActivateActor(self.group, actor), Report(reports)]
        if self.frozen & bit:
            return []
        if self.mine & bit:
            self._arrived[actor] = entry.slot
            return []
        self._staying[actor] = _Staying(entry.slot, ended=True)
        return self._ship_ended()

    def _redirect_slots(self, sender: int, slots: int, message: Released) -> list[Instruction]:
        part = slots & self._awaited.get(sender, 0)
        if not part:
            return []
        self._stop_awaiting(part)
        self._expect(message.excepted, part)
        if message.via in self._alive:
            self._awaited[message.via] = self._awaited.get(message.via, 0) | part
            return []
        self._unsettled |= part
        if self.settled_version != self.version:
            return []
        return self._activate(self._take_unsettled()) + self._activate_orphans()

    def _redirect_actors(self, message: Released) -> list[Instruction]:
        for entry in message.actors:
            for table in (self._lingering, self._announced):
                if entry.actor in table:
                    table[entry.actor] = msgspec.structs.replace(entry, holder=message.via)
            if entry.actor in self._lingering and message.via not in self._alive:
                self._orphans.add(entry.actor)
            if message.via not in self._alive:
                self._announced.pop(entry.actor, None)
        return self._activate_orphans() if self.settled_version == self.version else []

    # --- steps --------------------------------------------------------------------------------

    def _change_state(self) -> list[Instruction]:
        out: list[Instruction] = []
        losing = self.active & ~self.mine
        if losing:
            self.active &= ~losing
            self.frozen |= losing
            out.append(Freeze(self.group, slot_set.numbers(losing)))
        back = self.frozen & self.mine & ~losing
        self.frozen &= ~back
        return out + self._activate(back)

    def _await(self, sources: Mapping[int, int]) -> None:
        """Sort my slots that are not here by whom or what they wait for."""
        self._unsettled &= self.mine
        for holder, slots in list(self._awaited.items()):
            if holder in self._alive:
                self._set(self._awaited, holder, slots & self.mine)
            else:
                del self._awaited[holder]
        waiting = self._unsettled | slot_set.union(self._awaited.values())
        need = self.mine & ~self.active & ~waiting
        for holder, slots in sources.items():
            tables = self._gone.items() if holder == self.me else ((holder, slots),)
            for who, part in tables:
                asked = part & slots & need
                if asked and who in self._alive and who != self.me:
                    self._awaited[who] = self._awaited.get(who, 0) | asked
                    need &= ~asked
        self._unsettled |= need
        self._arrived = {a: s for a, s in self._arrived.items() if self.mine >> s & 1}

    def _answer_for_slots(self, asked: int) -> list[Instruction]:
        """Tell the owners of slots that I am believed to hold who got them from me."""
        out: list[Instruction] = []
        for owner, owned in self._owners.items():
            missing = asked & owned & ~self.held
            if owner == self.me or not missing:
                continue
            for to, given in self._gone.items():
                part = missing & given
                if part and to != owner:
                    excepted = self._staying_in(part)
                    out.append(self._release(owner, slots=part, excepted=excepted, via=to))
                missing &= ~given
            if missing:
                out.append(self._release(owner, slots=missing))
        for to, given in list(self._gone.items()):
            self._set(self._gone, to, given & asked & ~self.mine)
        return out

    def _answer_for_actors(
        self, announced: Mapping[str, Lingering], asked: int
    ) -> list[Instruction]:
        """Tell the owners of actors that I am believed to hold who got them from me."""
        out: list[Instruction] = []
        for actor, entry in announced.items():
            owner = self._owner_of(entry.slot)
            if entry.holder != self.me or actor in self._staying or owner in (0, self.me):
                continue
            if self.held >> entry.slot & 1:
                continue
            to = self._sent.get(actor, (0, 0))[1]
            if to != owner:
                out.append(self._release(owner, actors=[entry], via=to))
        self._sent = {
            actor: (slot, to)
            for actor, (slot, to) in self._sent.items()
            if asked >> slot & 1 or (actor in announced and announced[actor].holder == self.me)
        }
        return out

    def _ship_frozen(self) -> list[Instruction]:
        return [
            Ship(self.group, slot_set.numbers(self.frozen & owned), owner)
            for owner, owned in self._owners.items()
            if owner != self.me and self.frozen & owned
        ]

    def _ship_ended(self) -> list[Instruction]:
        out: list[Instruction] = []
        for actor, staying in self._staying.items():
            owner = self._owner_of(staying.slot)
            if staying.ended and owner not in (0, self.me):
                out.append(ShipActor(self.group, actor, staying.slot, owner))
        return out

    def _take_unsettled(self) -> int:
        slots, self._unsettled = self._unsettled, 0
        self._expect(list(self._announced.values()), slots)
        return slots

    def _activate(self, slots: int) -> list[Instruction]:
        """Run `slots`, which nobody else holds now, and tell the broker."""
        if not slots:
            return []
        self.active |= slots
        self._staying = {a: s for a, s in self._staying.items() if not slots >> s.slot & 1}
        self._arrived = {a: s for a, s in self._arrived.items() if not slots >> s & 1}
        excepted = [entry for entry in self._lingering.values() if slots >> entry.slot & 1]
        report = Activated(
            version=self.version,
            group=self.group,
            slots=slot_set.pack(slots),
            excepted=excepted,
        )
        names = tuple(entry.actor for entry in excepted)
        return [Activate(self.group, slot_set.numbers(slots), names), Report(report)]

    def _activate_orphans(self) -> list[Instruction]:
        out: list[Instruction] = []
        actors: list[str] = []
        for actor in sorted(self._orphans):
            entry = self._lingering.get(actor)
            self._forget_lingering(actor)
            if entry is not None and self.active >> entry.slot & 1:
                out.append(ActivateActor(self.group, actor))
                actors.append(actor)
        if actors:
            out.append(Report(ActivatedActors(group=self.group, actors=actors)))
        return out

    def _expect(self, excepted: Iterable[Lingering], slots: int) -> None:
        """Actors of `slots` that come later."""
        for entry in excepted:
            if not slots >> entry.slot & 1 or entry.holder == self.me:
                continue
            if entry.actor in self._arrived:
                continue
            self._lingering[entry.actor] = entry
            if entry.holder not in self._alive:
                self._orphans.add(entry.actor)

    def _stop_awaiting(self, slots: int) -> None:
        self._unsettled &= ~slots
        for holder, awaited in list(self._awaited.items()):
            self._set(self._awaited, holder, awaited & ~slots)

    def _forget_lingering(self, actor: str) -> None:
        self._lingering.pop(actor, None)
        self._orphans.discard(actor)

    def _is_elsewhere(self, entry: Lingering) -> bool:
        waiting = self.mine & ~self.active
        return bool(
            entry.holder in self._alive and entry.holder != self.me and waiting >> entry.slot & 1
        )

    def _staying_in(self, slots: int) -> list[Lingering]:
        return [
            Lingering(self.group, staying.slot, actor, self.me)
            for actor, staying in self._staying.items()
            if slots >> staying.slot & 1
        ]

    def _owner_of(self, slot: int) -> int:
        return next((who for who, owned in self._owners.items() if owned >> slot & 1), 0)

    def _release(
        self,
        to: int,
        *,
        slots: int = 0,
        actors: list[Lingering] | None = None,
        excepted: list[Lingering] | None = None,
        via: int = 0,
    ) -> Release:
        message = Released(
            version=self.version,
            group=self.group,
            slots=slot_set.pack(slots),
            actors=actors or [],
            excepted=excepted or [],
            via=via,
        )
        return Release(to, message)

    @staticmethod
    def _set(table: dict[int, int], who: int, slots: int) -> None:
        if slots:
            table[who] = slots
        else:
            table.pop(who, None)
