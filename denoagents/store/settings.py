"""What can be set about the embedded state store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How one node uses its host's store."""

    low_mark_bytes: int = 64 << 20
    """With less room on the disk, nothing new is kept; what shrinks the store still is."""

    busy_timeout_s: float = 5.0
    """How long other processes may hold the file before a write is refused."""
