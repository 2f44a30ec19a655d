"""The broker's side of one group: who owns each slot, who holds it, and whether all is handed over.

Rules: the owner follows from the placed workers; the holder is who said last that it runs the
slot, and stays so until another says it, or it is over. Who becomes owner anew must say it anew: it
may have given the slot away since. Until then it is a former holder, who can tell whom it gave it
to. A hand-over is done when every owner holds what it owns; actors that linger with a former holder
because of a running turn do not delay it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Sequence
from typing import Any

import msgspec

from denoagents.cluster import slots as slot_set
from denoagents.cluster.compatibility import Types, difference
from denoagents.cluster.messages import GroupRecord, Lingering, Source


class Group:
    """The workers of one app, and the slots between them."""

    def __init__(self, name: str, types: Types) -> None:
        self.name = name
        self.types = types
        """The newest signatures of its workers: those that have all that the others have."""
        self.owners: dict[int, int] = {}
        self.holders: dict[int, int] = {}
        self.former: dict[int, int] = {}
        self.lingering: dict[str, Lingering] = {}
        self._placed: tuple[tuple[int, str, int], ...] = ()
        self._said: dict[int, int] = {}  # who holds what, told since the last placement
        self._run: dict[int, int] = {}  # under which version an owner said that it runs which slots
        self._hosted: dict[int, Types] = {}  # equal ones are one object

    @property
    def is_handed_over(self) -> bool:
        """Every owner holds what it owns."""
        return all(not owned & ~self.holders.get(who, 0) for who, owned in self.owners.items())

    def misfit(self, types: Types, *, is_known: bool) -> str:
        """Why a worker that hosts these types cannot be one of this group, or "".

        It may have more than a living worker has; with `is_known` it was in the fleet before, and
        may also have less: an older one that presents itself to a broker that knows newer ones.
        """
        versions = {id(one): one for one in (self.types, *self._hosted.values())}.values()
        for one in versions:
            found = difference(one, types, may_lack=True)
            if found:
                return found
        lacking = [difference(one, types) for one in versions]
        return "" if is_known or not all(lacking) else lacking[0]

    def host(self, who: int, types: Types, *, is_alone: bool) -> None:
        """A worker hosts these types; the newest count."""
        known = (self.types, *self._hosted.values())
        types = next((one for one in known if one == types), types)
        self._hosted[who] = types
        if is_alone or not difference(self.types, types):
            self.types = types

    def living_owners(self, alive: Container[int]) -> bool:
        """Somebody of the last placement is still there."""
        return any(who in alive for who in self.owners)

    def place(self, placed: Sequence[tuple[int, str, int]], assign: slot_set.Assign) -> None:
        """New owners, from (incarnation, name, weight) of the placed workers."""
        key = tuple(sorted(placed))
        if key == self._placed:
            return
        before, self._placed = self.owners, key
        self.owners = slot_set.owners_of(placed, assign)
        ownerless = ~slot_set.union(before.values())
        for who, owned in self.owners.items():
            surely = before.get(who, 0) | (self._said.get(who, 0) & ownerless)
            unsaid = self.holders.get(who, 0) & owned & ~surely
            if unsaid:
                self.holders[who] &= ~unsaid
                self.former[who] = self.former.get(who, 0) | unsaid
        self._said.clear()

    def activated(self, who: int, slots: int, excepted: Iterable[Lingering], version: int) -> None:
        """`who` said under `version` that it runs these slots, or still keeps them for another.

        It may have been said long ago: an owner that runs a slot is believed rather than who kept
        it under the same version, and who says something under a later one rather than both.
        """
        own = slots & self.owners.get(who, 0)
        kept = self.holders.get(who, 0)
        slots &= kept | ~(own & self._run_since(version + 1) | ~own & self._run_since(version))
        self._run = {since: left for since, run in self._run.items() if (left := run & ~slots)}
        if own & slots:
            self._run[version] = self._run.get(version, 0) | own & slots
        for table in (self.holders, self.former):
            for holder in table:
                table[holder] &= ~slots
        self.holders[who] = self.holders.get(who, 0) | slots
        self._said[who] = self._said.get(who, 0) | slots
        for actor, entry in list(self.lingering.items()):
            if slots >> entry.slot & 1:
                del self.lingering[actor]
        for entry in excepted:
            if slots >> entry.slot & 1:
                self.lingering[entry.actor] = entry

    def _run_since(self, version: int) -> int:
        """Slots whose owner said, under this version or a later one, that it runs them."""
        return slot_set.union(run for since, run in self._run.items() if since >= version)

    def arrived(self, actors: Iterable[str]) -> None:
        """Actors that lingered are with their owners."""
        for actor in actors:
            self.lingering.pop(actor, None)

    def forget(self, who: int) -> None:
        """An incarnation is over: it holds nothing, nothing lingers there."""
        self.holders.pop(who, None)
        self.former.pop(who, None)
        self._said.pop(who, None)
        if self._hosted.pop(who, None) is self.types:
            left = list(self._hosted.values())
            newest = (one for one in left if not any(difference(other, one) for other in left))
            self.types = next(newest, self.types)
        for actor, entry in list(self.lingering.items()):
            if entry.holder == who:
                del self.lingering[actor]

    def sources(self) -> list[Source]:
        """The living holders of slots that others own."""
        owned = slot_set.union(self.owners.values())
        found = []
        for holder in self.holders.keys() | self.former.keys():
            held = self.holders.get(holder, 0) | self.former.get(holder, 0)
            slots = held & owned & ~self.owners.get(holder, 0)
            if slots:
                found.append(Source(holder, slot_set.pack(slots)))
        return found

    def record(self) -> GroupRecord:
        """What every node is told."""
        return GroupRecord(types={name: digest(sig) for name, sig in self.types.items()})


def digest(signature: dict[str, Any]) -> str:
    """A short name for a signature: equal for equal ones."""
    packed = msgspec.json.encode(signature, order="deterministic")
    return hashlib.blake2b(packed, digest_size=8).hexdigest()
