"""An actor with more waiting messages than one control message can carry travels in several."""

from __future__ import annotations

from typing import Final

import msgspec

from denoagents.cluster.messages import Ship
from denoagents.errors import ProtocolError

PART_BYTES: Final = 4 << 20
"""Waiting messages in one part; a control message may have twice as much."""


def parts_of(ship: Ship) -> list[Ship]:
    """`ship` itself, or its waiting messages first, in parts, and what is left of it last."""
    groups: list[list[bytes]] = [[]]
    size = 0
    for message in ship.waiting:
        if size and size + len(message) > PART_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(message)
        size += len(message)
    parts = [
        Ship(ship.version, ship.group, ship.slot, ship.actor, waiting=group, part=n, is_last=False)
        for n, group in enumerate(groups[:-1])
    ]
    return [*parts, msgspec.structs.replace(ship, waiting=groups[-1], part=len(parts))]


class ShipParts:
    """Puts parts together; their link keeps them in order, and nothing of an actor runs before."""

    def __init__(self) -> None:
        self._arrived: dict[tuple[int, str], list[Ship]] = {}

    def add(self, incarnation: int, ship: Ship) -> Ship | None:
        """The whole, when its last part has come."""
        if ship.is_last and not ship.part:
            return ship
        key = (incarnation, ship.actor)
        if not ship.part:
            self._arrived[key] = []
        parts = self._arrived.get(key, [])
        if len(parts) != ship.part:
            raise ProtocolError(f"part {ship.part} of {ship.actor} came after {len(parts)}")
        if not ship.is_last:
            parts.append(ship)
            return None
        del self._arrived[key]
        waiting = [message for part in [*parts, ship] for message in part.waiting]
        return msgspec.structs.replace(ship, waiting=waiting)
