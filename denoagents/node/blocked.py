"""Logs turns that hold the loop: who, how long, and where, while they still do.

Rules: one daemon thread; it sleeps in a read until the pulse reports a turn. When it cannot have
the GIL for 300 ms, the pulse writes the line itself, without the stack, and this thread is quiet.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback

import structlog

from denoagents._native.pulse import REPORT_SIZE, Pulse

FRAMES = 12
"""Innermost frames of the loop's thread that are logged."""


class BlockedTurns:
    """Reads a running pulse's reports until the pulse stops."""

    def __init__(self, pulse: Pulse) -> None:
        self.logged = 0
        self._pulse = pulse
        self._loop_thread = threading.get_ident()
        self._thread = threading.Thread(target=self._run, name="denoagents-blocked", daemon=True)

    def start(self) -> None:
        """Begin to read; call it on the loop's thread, after `Pulse.start`."""
        self._loop_thread = threading.get_ident()
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the thread; call it after `Pulse.stop`."""
        self._thread.join()

    def _run(self) -> None:
        log = structlog.get_logger("denoagents.node")
        while len(record := os.read(self._pulse.report_fd, REPORT_SIZE)) == REPORT_SIZE:
            stack = self._stack()
            step, held_ns, actor, method = self._pulse.read_report(record)
            is_running = any(turn[0] == step for turn in self._pulse.watch.running())
            if self._pulse.open_report != step:
                continue
            self.logged += 1
            log.warning(
                "turn_holds_the_loop",
                actor=actor,
                method=method,
                held_ms=held_ns // 1_000_000,
                stack=stack if is_running else "not available: the turn has ended",
            )
            self._pulse.close_report(step)

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - documented, despite its name
        if frame is None:
            return "not available: the loop's thread has ended"
        return "".join(traceback.format_stack(frame)[-FRAMES:])
