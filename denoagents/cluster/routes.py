"""The sender's side of one group's placement: where new messages go, and which must wait.

Rules: a slot that leaves a living owner is held until that owner has accepted all that was sent to
it before; so messages of one sender reach the new owner after the old one has had its share. A slot
that leaves a dead owner is switched at once. Sets of slots are disjoint: each slot is either routed
to one incarnation, or waits for one flush, or is in neither (nobody owns it).
"""

from __future__ import annotations

from collections.abc import Container

from denoagents.cluster import slots as slot_set
from denoagents.cluster.instructions import Route


class Routes:
    """One group's slots as a sender sees them."""

    def __init__(self, group: str, me: int) -> None:
        self.group, self.me = group, me
        self.owners: dict[int, int] = {}
        self._routed: dict[int, int] = {}
        self._waiting: dict[tuple[int, int], int] = {}

    @property
    def waits_for(self) -> set[int]:
        """Incarnations whose acceptance is waited for."""
        return {incarnation for incarnation, _ in self._waiting}

    def switch(
        self, version: int, owners: dict[int, int], alive: Container[int]
    ) -> tuple[list[Route], set[int]]:
        """Take over a version's owners: routes, and the incarnations to be flushed for it."""
        self.owners = owners
        routes: list[Route] = []
        held = 0
        to_flush: set[int] = set()
        for incarnation, slots in list(self._routed.items()):
            leaving = slots & ~owners.get(incarnation, 0)
            if not leaving:
                continue
            self._keep(incarnation, slots & ~leaving)
            held |= leaving
            if incarnation in alive and incarnation != self.me:
                self._waiting[incarnation, version] = leaving
                to_flush.add(incarnation)
        if held:
            routes.append(Route(self.group, slot_set.numbers(held), 0))
        routes += self._end_waiting(alive)
        return routes, to_flush

    def flushed(self, incarnation: int, version: int) -> list[Route]:
        """`incarnation` has accepted all that was sent before `version`."""
        done = [key for key in self._waiting if key[0] == incarnation and key[1] <= version]
        for key in done:
            del self._waiting[key]
        return self._route_free() if done else []

    def owner_of(self, slot: int) -> int:
        """The owner in the latest version, 0 for nobody."""
        bit = 1 << slot
        return next((who for who, slots in self.owners.items() if slots & bit), 0)

    def _end_waiting(self, alive: Container[int]) -> list[Route]:
        """Waiting ends when the waited-for is dead, or is the owner again."""
        routes: list[Route] = []
        for key, slots in list(self._waiting.items()):
            incarnation = key[0]
            if incarnation not in alive:
                del self._waiting[key]
                continue
            back = slots & self.owners.get(incarnation, 0)
            if back:
                routes.append(self._route(incarnation, back))
                if slots & ~back:
                    self._waiting[key] = slots & ~back
                else:
                    del self._waiting[key]
        return routes + self._route_free()

    def _route_free(self) -> list[Route]:
        """Route every slot that is neither routed nor waiting."""
        taken = slot_set.union(self._routed.values()) | slot_set.union(self._waiting.values())
        return [
            self._route(incarnation, slots & ~taken)
            for incarnation, slots in self.owners.items()
            if slots & ~taken
        ]

    def _route(self, incarnation: int, slots: int) -> Route:
        self._keep(incarnation, self._routed.get(incarnation, 0) | slots)
        return Route(self.group, slot_set.numbers(slots), incarnation)

    def _keep(self, incarnation: int, slots: int) -> None:
        if slots:
            self._routed[incarnation] = slots
        else:
            self._routed.pop(incarnation, None)
