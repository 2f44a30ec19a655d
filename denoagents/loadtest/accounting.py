"""Adds up the message accounting of many processes, sender and receiver apart.

Rules: each term was counted where it happened; `off` is what does not add up, and must be 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SENDER = ("acknowledged", "retained", "refused", "expired", "unknown")
"""The terms that `sent` is the sum of."""

RECEIVER = (
    "handled", "failed", "cancelled", "refused", "expired", "dead_lettered", "moved", "waiting",
    "running",
)  # fmt: skip
"""The terms that `accepted` is the sum of."""


def side(terms: Mapping[str, int], total: str, parts: tuple[str, ...]) -> dict[str, int]:
    """One side of one process, with how far it is off."""
    counted = {name: int(terms.get(name, 0)) for name in (total, *parts)}
    off = abs(counted[total] - sum(counted[name] for name in parts))
    return {**counted, "off": off}


def add_up(statistics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Accounting by process and summed, from each process's statistics by its name."""
    processes = {}
    for name, of in statistics.items():
        books = of.get("accounting", {})
        processes[name] = {
            "sender": side(books.get("sender", {}), "sent", SENDER),
            "receiver": side(books.get("receiver", {}), "accepted", RECEIVER),
        }
    summed: dict[str, Any] = {
        which: {
            term: sum(process[which][term] for process in processes.values())
            for term in (total, *parts, "off")
        }
        for which, total, parts in (
            ("sender", "sent", SENDER),
            ("receiver", "accepted", RECEIVER),
        )
    }
    off = summed["sender"]["off"] + summed["receiver"]["off"]
    return {**summed, "off": off, "processes": processes}


def accepted(statistics: Mapping[str, Any]) -> int:
    """Messages that a process has accepted so far."""
    return int(statistics.get("accounting", {}).get("receiver", {}).get("accepted", 0))
