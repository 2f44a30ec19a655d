"""What a load run has seen: latencies and outcomes, apart for every window of interest.

Rules: a request belongs to a window if any part of its life, from the scheduled time to its end,
lies in it; every request is counted in exactly one window; latencies merge without loss.
"""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from denoagents._native.histogram import Histogram

MAIN = "main"
"""The window of all requests that no other window claims."""

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1.0}


@dataclass(slots=True)
class Tally:
    """Counts and latencies of the requests of one window."""

    latency: Histogram = field(default_factory=Histogram)
    right: int = 0
    wrong: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Ended without an answer, by the error's code."""

    @property
    def answered(self) -> int:
        return self.right + self.wrong

    @property
    def ended(self) -> int:
        return self.answered + self.errors.total()

    def merge(self, other: Tally) -> None:
        self.latency.merge(other.latency)
        self.right += other.right
        self.wrong += other.wrong
        self.errors.update(other.errors)

    def latency_ms(self) -> dict[str, float]:
        """Quantiles in milliseconds, zeros when nothing was answered."""
        if not self.latency.count:
            return dict.fromkeys(QUANTILES, 0.0)
        return {name: self.latency.quantile(q) / 1e6 for name, q in QUANTILES.items()}

    def encode(self) -> dict[str, Any]:
        """Plain JSON values, nothing lost."""
        latency = base64.b64encode(self.latency.to_bytes()).decode()
        errors = dict(self.errors)
        return {"latency": latency, "right": self.right, "wrong": self.wrong, "errors": errors}

    @classmethod
    def decode(cls, fields: dict[str, Any]) -> Tally:
        latency = Histogram.from_bytes(base64.b64decode(fields["latency"]))
        return cls(latency, fields["right"], fields["wrong"], Counter(fields["errors"]))


@dataclass(slots=True)
class Window:
    """A stretch of time that is reported apart; without an end while it lasts."""

    name: str
    begin_ns: int
    end_ns: int | None = None

    def touches(self, begin_ns: int, end_ns: int) -> bool:
        return end_ns >= self.begin_ns and (self.end_ns is None or begin_ns <= self.end_ns)


class Record:
    """All tallies of one run, by window and by priority."""

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self.tallies: dict[str, Tally] = {}
        self.by_priority: dict[str, Tally] = {}

    def open_window(self, name: str, now_ns: int) -> None:
        """From now on, until `close_window`, requests count under `name`."""
        self.windows.append(Window(name, now_ns))

    def close_window(self, name: str, end_ns: int) -> None:
        for window in self.windows:
            if window.name == name and window.end_ns is None:
                window.end_ns = end_ns

    def window_of(self, begin_ns: int, end_ns: int) -> str:
        return next((w.name for w in self.windows if w.touches(begin_ns, end_ns)), MAIN)

    def add(
        self, priority: str, begin_ns: int, end_ns: int, *, right: bool = True, error: str = ""
    ) -> None:
        """Count one request that was scheduled at `begin_ns` and ended at `end_ns`."""
        window = self.window_of(begin_ns, end_ns)
        for tallies, key in ((self.tallies, window), (self.by_priority, priority)):
            tally = tallies.get(key)
            if tally is None:
                tally = tallies[key] = Tally()
            if error:
                tally.errors[error] += 1
                continue
            tally.latency.record(max(0, end_ns - begin_ns))
            if right:
                tally.right += 1
            else:
                tally.wrong += 1

    def total(self) -> Tally:
        """All windows together."""
        total = Tally()
        for tally in self.tallies.values():
            total.merge(tally)
        return total

    def merge(self, other: Record) -> None:
        for mine, theirs in (
            (self.tallies, other.tallies),
            (self.by_priority, other.by_priority),
        ):
            for key, tally in theirs.items():
                mine.setdefault(key, Tally()).merge(tally)

    def encode(self) -> dict[str, Any]:
        """Plain JSON values, to cross from a client process."""
        return {
            "windows": {name: tally.encode() for name, tally in self.tallies.items()},
            "by_priority": {name: tally.encode() for name, tally in self.by_priority.items()},
        }

    @classmethod
    def decode(cls, fields: dict[str, Any]) -> Record:
        record = cls()
        record.tallies = {k: Tally.decode(v) for k, v in fields["windows"].items()}
        record.by_priority = {k: Tally.decode(v) for k, v in fields["by_priority"].items()}
        return record
