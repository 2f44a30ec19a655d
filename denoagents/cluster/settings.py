"""The cluster room's knobs: heartbeat times, eviction, health probe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Times of the fleet's life; the same values must hold on the broker and on its members."""

    beat_every_s: float = 0.2
    """A member's native thread sends a heartbeat this often."""

    stop_after_s: float = 1.6
    """A member starts no turn this long after *sending* the last answered beat."""

    replace_after_s: float = 2.4
    """The broker declares a member dead this long after *receiving* its last beat.

    Must be above `stop_after_s` by more than the clocks of two machines drift in that time."""

    block_limit_s: float = 10.0
    """A member whose loop has not ticked for so long ends its own process."""

    blocked_after_s: float = 0.5
    """A member whose loop has not ticked for so long is called blocked."""

    starved_after_s: float = 0.1
    """A member whose ticks or beats come this much late is called starved."""

    rename_after_s: float = 1.7
    """A new process on the same host takes over the name of one that was silent for so long.

    Above `stop_after_s`: a frozen process that wakes has no lease by then."""

    late_tick_s: float = 1.0
    """A broker whose own tick is this late gives every member `replace_after_s` of grace."""

    tick_every_s: float = 0.1
    """How often the broker looks for silent members."""

    probe_every_s: float = 30.0
    """Deep health probe of each worker (plan 2.8)."""

    probe_timeout_s: float = 5.0
    """A probe without an answer for so long has failed (plan 2.8)."""

    probe_failures: int = 3
    """So many failed probes in a row make a worker unhealthy (plan 2.8)."""

    report_timeout_s: float = 1.0
    """How long `status` waits for the members' own statistics."""

    max_members: int = 4096
    """A join beyond this is refused."""

    quarantine_messages: int = 10_000
    """Messages that the broker keeps for an operator; the next ones stay with their senders."""

    quarantine_bytes: int = 256 << 20
    """Bytes of their payloads; as above."""

    def __post_init__(self) -> None:
        if not 0 < self.beat_every_s * 2 < self.stop_after_s < self.replace_after_s:
            raise ValueError(
                "2 * beat_every_s < stop_after_s < replace_after_s must hold, got "
                f"{self.beat_every_s}, {self.stop_after_s}, {self.replace_after_s}"
            )
        if self.rename_after_s <= self.stop_after_s:
            raise ValueError(
                f"rename_after_s ({self.rename_after_s}) must be above "
                f"stop_after_s ({self.stop_after_s})"
            )
        if self.replace_after_s >= self.block_limit_s:
            raise ValueError(
                f"block_limit_s ({self.block_limit_s}) must be above "
                f"replace_after_s ({self.replace_after_s})"
            )

    @classmethod
    def wan(cls) -> ClusterSettings:
        """Longer times, for fleets over slow or lossy networks."""
        return cls(
            beat_every_s=1.0,
            stop_after_s=8.0,
            replace_after_s=12.0,
            block_limit_s=30.0,
            rename_after_s=8.5,
        )
