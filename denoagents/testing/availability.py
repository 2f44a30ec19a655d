"""How long actors did not answer: gaps between their turns, and recovery after a death."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from denoagents.testing.history import Over
from denoagents.testing.run_record import RunRecord, Turn


@dataclass(frozen=True, slots=True)
class Availability:
    """Measured at the handlers; an actor is only seen as often as it is sent something."""

    longest_gap_s: float = 0.0
    """The longest time without a turn, of any actor between its first and its last."""
    longest_gap_actor: str = ""
    recoveries: int = 0
    """Actors that had to come back in another life, over all deaths."""
    recovery_p50_s: float = 0.0
    recovery_p99_s: float = 0.0
    recovery_max_s: float = 0.0
    never_back: int = 0
    """Actors of a life that was over which had no turn again (and may have been sent nothing)."""

    def __str__(self) -> str:
        gap = f"longest gap {self.longest_gap_s:.2f} s ({self.longest_gap_actor or 'nobody'})"
        if not self.recoveries:
            return f"{gap}; no actor had to come back"
        return (
            f"{gap}; {self.recoveries} recoveries: p50 {self.recovery_p50_s:.2f} s,"
            f" p99 {self.recovery_p99_s:.2f} s, max {self.recovery_max_s:.2f} s;"
            f" {self.never_back} never seen again"
        )


def measure(record: RunRecord, by_actor: Mapping[str, list[Turn]]) -> Availability:
    """Gaps and recoveries of a run."""
    gap_ns, gap_actor = 0, ""
    recoveries: list[int] = []
    never_back = 0
    for actor, turns in by_actor.items():
        times = [turn.at_ns for turn in turns]
        longest = max((b - a for a, b in itertools.pairwise(times)), default=0)
        if longest > gap_ns:
            gap_ns, gap_actor = longest, actor
        for over in record.overs:
            took = _recovery_ns(over, turns, times)
            if took is None:
                continue
            if took < 0:
                never_back += 1
            else:
                recoveries.append(took)
    recoveries.sort()
    return Availability(
        longest_gap_s=gap_ns / 1e9,
        longest_gap_actor=gap_actor,
        recoveries=len(recoveries),
        recovery_p50_s=quantile(recoveries, 0.5) / 1e9,
        recovery_p99_s=quantile(recoveries, 0.99) / 1e9,
        recovery_max_s=(recoveries[-1] if recoveries else 0) / 1e9,
        never_back=never_back,
    )


def _recovery_ns(over: Over, turns: list[Turn], times: list[int]) -> int | None:
    """From the death to the next turn; None if the actor lived elsewhere, -1 if there is none."""
    since = over.since or over.t
    at = bisect.bisect_right(times, since)
    if at == 0:
        return None
    last = turns[at - 1].life
    if last.pid != over.pid or last.began_ns > over.t:
        return None
    for turn in turns[at:]:
        if turn.life is not last:
            return turn.at_ns - since
    return -1


def quantile(ordered: Iterable[int], share: float) -> int:
    """The value below which that share of a sorted list lies; 0 of nothing."""
    values = list(ordered)
    if not values:
        return 0
    return values[min(len(values) - 1, round(share * len(values)))]
