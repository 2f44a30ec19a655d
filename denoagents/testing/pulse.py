"""The heartbeat of a simulated node: what the native thread does, in virtual time.

Rules: runs on a loop of its own, as the thread does; a node whose main loop is blocked still beats,
a frozen process does not. The lease is renewed from the time at which something was sent. It
follows `csrc/pulse_lease.h` step by step; only the connections are those of the memory network.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from denoagents._native.packet import Packet
from denoagents._native.pulse import ANSWERED, EVICTED, REFUSED, SILENT, UNKNOWN, Watch
from denoagents.cluster.beat import (
    Beat,
    BeatAnswer,
    BeatFlag,
    BeatStatus,
    decode_answer,
    encode_beat,
)
from denoagents.cluster.settings import ClusterSettings
from denoagents.envelope import PacketKind
from denoagents.errors import ProtocolError
from denoagents.link.transport import Wire
from denoagents.testing.network import Network
from denoagents.testing.scheduler import ProcessLoop

PROBE_NS = 500_000_000
STALE_NS = 500_000_000
STEP_NS = 200_000_000
DIAL_NS = 250_000_000
NEVER_ENDS = 2**63 - 1


class SimulatedPulse:
    """Beats for one node, keeps its lease, ends its process when its loop is blocked for long."""

    def __init__(
        self,
        loop: ProcessLoop,
        network: Network,
        host: str,
        settings: ClusterSettings,
        end_process: Callable[[], None],
    ) -> None:
        self.watch = Watch()
        self.is_leaving = False
        self.broker_incarnation = self.lag_ns = self.beats = 0
        self._loop, self._network, self._host, self._settings = loop, network, host, settings
        self._transport = network.transport(host)
        self._end_process = end_process
        self._word = ctypes.c_int64(0)
        self._flags = 0
        self._endpoint: str | None = None
        self._wire: Wire | None = None
        self._is_running = self._is_connected = False
        self._dialed_ns = 0

    # --- what the node calls ------------------------------------------------------------------

    def start(self, endpoint: str | None, incarnation: int) -> None:
        """Begin to beat; without an endpoint the lease never ends."""
        now_ns = self._now_ns()
        self._incarnation, self._endpoint = incarnation, endpoint
        self._word.value = NEVER_ENDS if endpoint is None else 0
        self._started_ns = self._proof_ns = self._next_beat_ns = self._ticked_ns = now_ns
        self._answered_ns = self._sent_ns = self._recreate_ns = self._recreate_wait_ns = 0
        self._next_probe_ns = self._blocked_ns = self._worst_lag_ns = 0
        self._probe_started_ns = 0
        self._round_at_ns = now_ns
        self._ticks = self._seen_ticks = 0
        self._is_running = True
        if endpoint is not None:
            self._loop.call_soon(self._run, context=self._loop.context)

    def stop(self) -> None:
        """Beat no more; the lease stays as it is."""
        self._is_running = False
        if self._wire is not None:
            self._wire.close()

    def tick(self) -> int:
        """The node's loop is alive now."""
        now_ns = self._now_ns()
        self.lag_ns = max(0, now_ns - self._ticked_ns - 50_000_000)
        self._worst_lag_ns = max(self._worst_lag_ns, self.lag_ns)
        self._ticked_ns = now_ns
        self._ticks += 1
        return self._flags

    @property
    def lease_address(self) -> int:
        """Where the end of the lease stands; valid as long as this object lives."""
        return ctypes.addressof(self._word)

    @property
    def lease_until_ns(self) -> int:
        """In the clock of this process."""
        return self._word.value

    # --- the thread -----------------------------------------------------------------------------

    def _now_ns(self) -> int:
        return self._loop.clock.local_ns(self._loop.scheduler.now_ns)

    def _run(self) -> None:
        if not self._is_running:
            return
        now_ns = self._now_ns()
        round_ns, self._round_at_ns = min(now_ns - self._round_at_ns, STEP_NS), now_ns
        if self._watch_loop(round_ns):
            return
        self._keep_contact(now_ns)
        wake_ns = min(self._next_beat_ns, now_ns + 100_000_000)
        self._loop.call_later(max(0.001, (wake_ns - now_ns) / 1e9), self._run)

    def _watch_loop(self, round_ns: int) -> bool:
        """True when the loop was blocked for too long, and the process has ended."""
        if self._ticks != self._seen_ticks:
            self._seen_ticks = self._ticks
            self._blocked_ns = 0
            return False
        self._blocked_ns += round_ns
        if self._blocked_ns < self._settings.block_limit_s * 1e9:
            return False
        self._is_running = False
        self._end_process()
        return True

    def _keep_contact(self, now_ns: int) -> None:
        beat_ns = int(self._settings.beat_every_s * 1e9)
        is_silent = now_ns - max(self._answered_ns, self._started_ns) > beat_ns * 5 // 2
        if self._wire is None or (not self._is_connected and now_ns - self._dialed_ns > DIAL_NS):
            self._connect()
        if now_ns >= self._next_beat_ns:
            self._send_beat(now_ns, beat_ns)
        if self._probe_started_ns and now_ns - self._probe_started_ns > PROBE_NS:
            self._probe_started_ns = 0
            self._set_flags(SILENT, REFUSED | ANSWERED)
        if is_silent and not self._probe_started_ns and now_ns >= self._next_probe_ns:
            self._start_probe(now_ns, beat_ns)
        if not is_silent or now_ns < self._recreate_ns:
            return
        if self._recreate_wait_ns:
            self._connect()
        self._recreate_wait_ns = min(max(10**9, 2 * self._recreate_wait_ns), 10 * 10**9)
        self._recreate_ns = now_ns + self._recreate_wait_ns

    def _connect(self) -> None:
        if self._wire is not None:
            self._wire.close()
        assert self._endpoint is not None
        self._is_connected, self._dialed_ns = False, self._now_ns()
        self._wire = self._transport.dial(self._endpoint, self)

    def _send_beat(self, now_ns: int, beat_ns: int) -> None:
        age_ns, lag_ns = max(0, now_ns - self._ticked_ns), self._worst_lag_ns
        late_ns, self._worst_lag_ns = now_ns - self._next_beat_ns, 0
        flags = BeatFlag.BLOCKED if age_ns > STALE_NS else BeatFlag.NONE
        flags |= BeatFlag.NO_LEASE if now_ns > self._word.value else BeatFlag.NONE
        flags |= BeatFlag.LEAVING if self.is_leaving else BeatFlag.NONE
        self._next_beat_ns += beat_ns
        if self._next_beat_ns <= now_ns:
            self._next_beat_ns = now_ns + beat_ns
        self.beats += 1
        beat = Beat(
            self._incarnation,
            now_ns,
            age_ns // 1000,
            lag_ns // 1000,
            late_ns // 1000,
            0,
            self.beats,
            flags,
        )
        self._sent_ns = now_ns
        if self._wire is not None:
            self._wire.send_datagram(None, encode_beat(beat))

    # --- the probe: does anybody listen? ------------------------------------------------------

    def _start_probe(self, now_ns: int, beat_ns: int) -> None:
        is_late = now_ns - self._proof_ns > self._settings.replace_after_s * 1e9
        self._next_probe_ns = now_ns + (10 if is_late else 1) * beat_ns
        self._probe_started_ns = now_ns
        assert self._endpoint is not None
        if self._network.probe(self._host, self._endpoint) != "silent":
            delay_s = 2 * self._network.some_delay_s()
            self._loop.call_later(delay_s, self._read_probe, now_ns)

    def _read_probe(self, started_ns: int) -> None:
        if not self._is_running or self._probe_started_ns != started_ns:
            return
        self._probe_started_ns = 0
        assert self._endpoint is not None
        met = self._network.probe(self._host, self._endpoint)
        if met == "refused":
            self._set_flags(REFUSED, SILENT | ANSWERED)
            if self._now_ns() - self._proof_ns < self._settings.replace_after_s * 1e9:
                self._renew(started_ns)
        else:
            self._set_flags(SILENT, REFUSED | ANSWERED)

    # --- what the wire says -------------------------------------------------------------------

    def connected(self) -> None:
        """Beats go out on time, not at once."""
        self._is_connected = True

    def lost(self) -> None:
        """The next beat finds a new connection, as ZeroMQ makes one."""
        self._wire = None

    def received(self, packets: list[Packet]) -> None:
        for packet in packets:
            if packet.kind == PacketKind.BEAT_ANSWER and self._is_running:
                try:
                    self._answered(decode_answer(packet.body))
                except ProtocolError:
                    continue

    def _answered(self, answer: BeatAnswer) -> None:
        if answer.incarnation != self._incarnation:
            return
        if not self._started_ns <= answer.sent_ns <= self._sent_ns:
            return
        self.broker_incarnation = answer.broker_incarnation
        self._answered_ns = self._now_ns()
        self._recreate_wait_ns = 0
        if answer.status == BeatStatus.EVICTED:
            self._set_flags(EVICTED | ANSWERED, REFUSED | SILENT | UNKNOWN)
            self._word.value = 0
        elif answer.status == BeatStatus.UNKNOWN:
            self._set_flags(UNKNOWN | ANSWERED, REFUSED | SILENT)
        else:
            self._set_flags(ANSWERED, REFUSED | SILENT | UNKNOWN)
            self._renew(answer.sent_ns)

    def _set_flags(self, on: int, off: int) -> None:
        self._flags = self._flags & ~off | on

    def _renew(self, proof_ns: int) -> None:
        if self._flags & EVICTED or self._blocked_ns >= self._settings.block_limit_s * 1e9:
            return
        self._proof_ns = max(self._proof_ns, proof_ns)
        until_ns = proof_ns + int(self._settings.stop_after_s * 1e9)
        self._word.value = max(self._word.value, until_ns)
