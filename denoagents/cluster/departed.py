"""Incarnations that are over, as far as a broker remembers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

KEPT: Final = 256
"""So many are kept in mind, and told with each version."""


class Departed:
    """The last incarnations that were declared over, with the reason."""

    def __init__(self, known: Iterable[int] = ()) -> None:
        self._reasons: dict[int, str] = dict.fromkeys(known, "before the broker started")

    def __contains__(self, incarnation: int) -> bool:
        return incarnation in self._reasons

    def add(self, incarnation: int, reason: str) -> None:
        """One more; the oldest is forgotten."""
        self._reasons.setdefault(incarnation, reason)
        while len(self._reasons) > KEPT:
            del self._reasons[next(iter(self._reasons))]

    def incarnations(self) -> list[int]:
        """All of them, oldest first."""
        return list(self._reasons)
