"""What can be set about what survives on a disk, or waits there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How one node uses its host's store."""

    low_mark_bytes: int = 64 << 20
    """With less room on the disk, nothing new is kept; what shrinks the store still is."""

    busy_timeout_s: float = 5.0
    """How long other processes may hold the file before a write is refused."""


@dataclass(frozen=True, slots=True)
class SpillSettings:
    """How much of one node's queues is in memory, and how much on the disk (plan 1.8)."""

    memory_bytes: int = 200_000_000
    """Waiting messages above this go to the disk, the newest of the longest queues first."""
    is_on: bool = True
    """Without a disk, senders wait at `memory_bytes`."""
    disk_bytes: int = 10_000_000_000
    """Most bytes on the disk; beyond them, senders wait."""
    folder: str = ""
    """Where; empty: /var/tmp/denoagents-UID."""
