"""Live settings that operators change: kept by path, told to every node with the next version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Wishes:
    """Paths such as "pool/NAME" to named values; `None` takes a value out."""

    def __init__(self, values: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.values: dict[str, dict[str, Any]] = {p: dict(v) for p, v in (values or {}).items()}
        self.are_waiting = False
        """Something changed since the last version."""

    def change(self, path: str, values: Mapping[str, Any]) -> None:
        """Set these values of one path."""
        kept = {**self.values.get(path, {}), **values}
        kept = {name: value for name, value in kept.items() if value is not None}
        if kept:
            self.values[path] = kept
        else:
            self.values.pop(path, None)
        self.are_waiting = True

    def take(self) -> dict[str, dict[str, Any]]:
        """What the next version tells."""
        self.are_waiting = False
        return {path: dict(values) for path, values in self.values.items()}
