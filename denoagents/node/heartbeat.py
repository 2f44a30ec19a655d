"""The loop's side of the heartbeat: ticks for the native thread, and what that has heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from denoagents._native.pulse import ANSWERED, EVICTED, UNKNOWN, Pulse, Watch
from denoagents._native.runtime import Runtime
from denoagents.node.blocked import BlockedTurns
from denoagents.node.settings import NodeSettings
from denoagents.security.keyring import Keyring

JOIN_AGAIN_S = 1.0


class PulseLike(Protocol):
    """What the native pulse and the simulator's have in common."""

    is_leaving: bool

    @property
    def watch(self) -> Watch:
        """Which turn runs."""

    @property
    def lag_ns(self) -> int:
        """How late the loop's newest tick was."""

    def start(self, endpoint: str | None, incarnation: int) -> None:
        """Beat for `incarnation`, to the broker at `endpoint`."""

    def tick(self) -> int:
        """The loop is alive now; what is known of the broker."""

    def stop(self) -> None:
        """Beat no more."""


class SimulatedPulseLike(PulseLike, Protocol):
    """The simulator's."""

    @property
    def lease_address(self) -> int:
        """Where the end of the lease stands, an int64."""


def native_pulse(settings: NodeSettings, watch: Watch | None = None) -> Pulse:
    """The pulse of a real process; `watch` is that of its runtime, if there is one already."""
    times = settings.cluster
    return Pulse(
        watch,
        beat_ns=int(times.beat_every_s * 1e9),
        stop_after_ns=int(times.stop_after_s * 1e9),
        replace_after_ns=int(times.replace_after_s * 1e9),
        block_limit_ns=int(times.block_limit_s * 1e9),
        tick_ns=int(settings.tick_s * 1e9),
        ends_process=settings.ends_blocked_process,
    )


class Heartbeat:
    """Keeps a pulse going while the loop runs."""

    def __init__(
        self,
        pulse: Pulse | SimulatedPulseLike,
        tick_s: float,
        *,
        on_evicted: Callable[[str], None],
        on_unknown: Callable[[], None],
        on_answered: Callable[[], None],
        keyring: Keyring | None = None,
    ) -> None:
        """With a `keyring` the beats are encrypted."""
        self._keyring = keyring
        self.pulse, self._tick_s = pulse, tick_s
        self._on_evicted, self._on_unknown = on_evicted, on_unknown
        self._on_answered = on_answered
        self._timer: asyncio.TimerHandle | None = None
        self._blocked: BlockedTurns | None = None
        self._joined_again_s = 0.0

    @property
    def is_started(self) -> bool:
        """Whether it beats."""
        return self._timer is not None

    def start(self, runtime: Runtime, endpoint: str | None, *, needs_lease: bool) -> None:
        """Begin: beats go to the broker at `endpoint`; without one only turns are watched."""
        if not isinstance(self.pulse, Pulse):
            self.pulse.start(endpoint, runtime.incarnation)
        else:
            keys = self._keyring.beat_keys if self._keyring is not None else None
            self.pulse.start(endpoint, runtime.incarnation, keys=keys)
            self._blocked = BlockedTurns(self.pulse)
            self._blocked.start()
            if needs_lease:
                runtime.lend(self.pulse)
        if needs_lease and not isinstance(self.pulse, Pulse):
            runtime.lend_word(self.pulse, self.pulse.lease_address)
        self._tick()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        flags = self.pulse.tick()
        if flags & EVICTED:
            self._on_evicted("the broker answers this incarnation's heartbeat with: evicted")
            return
        if flags & UNKNOWN and loop.time() - self._joined_again_s > JOIN_AGAIN_S:
            self._joined_again_s = loop.time()
            self._on_unknown()
        if flags & ANSWERED:
            self._on_answered()
        self._timer = loop.call_later(self._tick_s, self._tick)

    def stop(self) -> None:
        """End the thread and the ticks."""
        if self._timer is not None:
            self._timer.cancel()
        self.pulse.stop()
        if self._blocked is not None:
            self._blocked.join()
