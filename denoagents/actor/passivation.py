"""Idle actors give up their instances; their declared state is kept, up to a bound.

Rules:
    Only an idle root actor without children and timers is passivated.
    Its state stays here until its next life has started: a start that fails loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from denoagents._native.runtime import Cell, CellState, Runtime
from denoagents.actor.actor import Actor
from denoagents.actor.settings import ActorSettings
from denoagents.errors import DenoagentsError

log = structlog.get_logger("denoagents.actor")


class Passivation:
    """The actors without instance of one node, and the look-out for idle ones."""

    def __init__(self, settings: ActorSettings) -> None:
        self._settings = settings
        self._runtime: Runtime
        self.states: dict[str, bytes] = {}
        self.state_bytes = 0
        self.count = 0
        self._sweep_at: list[str] = []
        self._sweeper: asyncio.TimerHandle | None = None

    # --- states -------------------------------------------------------------------------------

    def keep(self, address: str, state: bytes) -> None:
        """Keep the state of an actor that has no instance now."""
        self.forget(address)
        self.states[address] = state
        self.state_bytes += len(state)

    def forget(self, address: str) -> None:
        """The state has gone elsewhere, or into a new instance."""
        self.state_bytes -= len(self.states.pop(address, b""))

    def capture(self, cell: Cell) -> bytes:
        """The declared state of an actor as bytes; empty when it has none."""
        if cell.type.durable is not None:
            return b""  # the store has it
        if cell.instance is None:
            return self.states.get(cell.address, b"")
        return cell.type.encode_state(cell.instance) if cell.type.state_fields else b""

    # --- the look-out ---------------------------------------------------------------------------

    def start(self, runtime: Runtime) -> None:
        """Begin to look for idle actors."""
        self._runtime = runtime
        self._sweeper = runtime.loop.call_later(self._settings.sweep_every_s, self._sweep)

    def close(self) -> None:
        """Look no more."""
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _sweep(self) -> None:
        if not self._sweep_at:
            self._sweep_at = list(self._runtime.cells)
        count = max(1000, len(self._sweep_at) // 60)
        self.passivate_idle(self._sweep_at[-count:])
        del self._sweep_at[-count:]
        self._sweeper = self._runtime.loop.call_later(self._settings.sweep_every_s, self._sweep)

    def passivate_idle(self, addresses: Iterable[str]) -> int:
        """Passivate those of `addresses` that have been idle for long enough; how many."""
        before_ns = self._runtime.clock.now_ns() - int(self._settings.passivate_after_s * 1e9)
        count = 0
        for address in addresses:
            cell = self._runtime.cells.get(address)
            if cell is None:
                continue
            cell.release_mailbox()
            if cell.active_ns < before_ns and self.passivate(cell):
                count += 1
        return count

    def passivate(self, cell: Cell) -> bool:
        """Let an idle root actor give up its instance; false if it cannot now."""
        family = cell.family
        if cell.state != CellState.READY or not cell.is_idle or cell.held:
            return False
        if family is not None and (family.children or family.timers or family.parent is not None):
            return False
        durables = self._runtime.guardian.durables
        if cell.type.durable is None and self.state_bytes >= self._settings.passivated_bytes:
            return False
        if durables.is_sending(cell.address):
            return False
        if type(cell.instance).on_passivate is not Actor.on_passivate:
            hook = cell.instance.on_passivate()
            hook = hook if cell.type.durable is None else durables.hook(cell, hook)
            self._runtime.run_hook(cell, hook, "on_passivate")
        else:
            self.store_away(cell)
        return True

    def store_away(self, cell: Cell) -> None:
        """Keep the state, drop the instance; not if a message has come meanwhile."""
        if not cell.is_idle or cell.state != CellState.READY or cell.held:
            return
        try:
            state = self.capture(cell)
        except DenoagentsError as error:
            log.warning("actor cannot be passivated", actor=cell.address, error=str(error))
            cell.touch(self._runtime.clock.now_ns())
            return
        if state:
            self.keep(cell.address, state)
        self.count += 1
        cell.instance = None
        self._runtime.remove(cell)
        self._runtime.guardian.durables.ended(cell.address)
