"""Failure detection for one member: when it spoke last, and what its beats tell; pure.

The words: *alive*; *starved* (beats or ticks come late, the loop ticks); *blocked* (the loop does
not tick, the beating thread does); *silent* (no beats). *Dead* is what the fleet makes of a member
that was silent for `replace_after_s`. A frozen process, a killed one and a cut link look alike. A
loop that is blocked for longer than `block_limit_s` counts as silence, whatever its thread says.
"""

from __future__ import annotations

from typing import Literal

from denoagents.cluster.beat import Beat, BeatFlag
from denoagents.cluster.settings import ClusterSettings

Liveness = Literal["alive", "starved", "blocked", "silent"]


class Detector:
    """The heartbeats of one incarnation, as the broker receives them."""

    __slots__ = ("_settings", "beats", "last", "last_beat_ns")

    def __init__(self, settings: ClusterSettings, now_ns: int) -> None:
        self._settings = settings
        self.last_beat_ns = now_ns
        self.last: Beat | None = None
        self.beats = 0

    def observe(self, beat: Beat, now_ns: int) -> bool:
        """A beat came in; False if it is no sign of life: the loop is blocked beyond the limit."""
        self.last = beat
        self.beats += 1
        if beat.tick_age_us > self._settings.block_limit_s * 1e6:
            return False
        self.last_beat_ns = now_ns
        return True

    @property
    def is_asleep(self) -> bool:
        """Its loop has not ticked for `replace_after_s`, so that it sends nothing either."""
        beat = self.last
        return beat is not None and beat.tick_age_us > self._settings.replace_after_s * 1e6

    def silent_ns(self, now_ns: int) -> int:
        """Time since the last beat came in, or since admission."""
        return now_ns - self.last_beat_ns

    def is_dead(self, now_ns: int) -> bool:
        """Silent for `replace_after_s`."""
        return self.silent_ns(now_ns) > self._settings.replace_after_s * 1e9

    def liveness(self, now_ns: int) -> Liveness:
        """The word for the member's present state."""
        settings = self._settings
        if self.silent_ns(now_ns) > 3 * settings.beat_every_s * 1e9:
            return "silent"
        beat = self.last
        if beat is None:
            return "alive"
        if beat.tick_age_us > settings.blocked_after_s * 1e6 or beat.flags & BeatFlag.BLOCKED:
            return "blocked"
        if max(beat.loop_lag_us, beat.beat_late_us) > settings.starved_after_s * 1e6:
            return "starved"
        return "alive"
