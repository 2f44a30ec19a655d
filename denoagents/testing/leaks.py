"""What a test left behind: threads and sockets that were not there before it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

GRACE_S = 2.0
"""ZeroMQ closes sockets shortly after it was asked to."""


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds at one instant."""

    threads: frozenset[str]
    sockets: frozenset[str]

    @classmethod
    def now(cls) -> Held:
        """Look."""
        alive = threading.enumerate()
        return cls(frozenset(f"{one.name} ({one.ident})" for one in alive), sockets())

    def left_since(self, before: Held) -> list[str]:
        """What came since, by kind; empty if nothing did."""
        found = {
            "threads": self.threads - before.threads,
            "sockets": self.sockets - before.sockets,
        }
        return [f"{kind}: {', '.join(sorted(left))}" for kind, left in found.items() if left]


def sockets() -> frozenset[str]:
    """This process's open sockets, by descriptor."""
    folder = Path("/proc/self/fd")
    if not folder.exists():  # macOS
        return frozenset(str(entry.laddr) for entry in psutil.Process().net_connections())
    found = set()
    for descriptor in folder.iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:  # the listing's own
            continue
        if target.startswith("socket:"):
            found.add(f"fd {descriptor.name} {target}")
    return frozenset(found)


def left_behind(before: Held, grace_s: float = GRACE_S) -> list[str]:
    """What is still there after the grace; returns as soon as nothing is."""
    end_s = time.monotonic() + grace_s
    while (left := Held.now().left_since(before)) and time.monotonic() < end_s:
        time.sleep(0.01)
    return left
