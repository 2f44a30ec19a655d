"""A member's own lease: may it start a turn? The plain twin of what the native pulse keeps; pure.

Rules: the lease lasts `stop_after_s` from *sending* the last beat that was answered with ok, or
from a refused connection (a host that answers while nobody listens: a dead broker stops nobody).
"""

from __future__ import annotations

from denoagents.cluster.beat import BeatAnswer, BeatStatus
from denoagents.cluster.settings import ClusterSettings


class Lease:
    """One incarnation's right to start turns."""

    def __init__(self, settings: ClusterSettings, now_ns: int) -> None:
        self._length_ns = int(settings.stop_after_s * 1e9)
        self._renewed_ns = now_ns
        self.is_evicted = False

    def answered(self, answer: BeatAnswer) -> None:
        """The broker answered a beat."""
        if answer.status is BeatStatus.EVICTED:
            self.is_evicted = True
        elif answer.status is BeatStatus.OK:
            self._renewed_ns = max(self._renewed_ns, answer.sent_ns)

    def refused(self, tried_ns: int) -> None:
        """The broker's host refused a connection that was tried at `tried_ns`."""
        self._renewed_ns = max(self._renewed_ns, tried_ns)

    def ends_ns(self) -> int:
        """When the lease runs out, unless it is renewed."""
        return 0 if self.is_evicted else self._renewed_ns + self._length_ns

    def holds(self, now_ns: int) -> bool:
        """A turn may start now."""
        return now_ns < self.ends_ns()
