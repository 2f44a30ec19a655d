"""How actors begin, fail and end.

Rules:
    A root actor that cannot start refuses what waits for it; the next message tries again. A
    child is restarted by its parent's rules.
    Children go before their parent, by its end and by its restart; their running turns are
    cancelled.
    A new instance comes when the children of the last one are gone and the back-off is over.
    A typed error (`DenoagentsError`) that leaves a method is an answer, no failure of the actor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

import structlog

from denoagents._native.envelope import WANTS_REPLY, Envelope
from denoagents._native.router import Router
from denoagents._native.runtime import Cell, CellState, Runtime, Turn
from denoagents.actor.actor import Actor
from denoagents.actor.declaration import ActorType
from denoagents.actor.durables import Durables
from denoagents.actor.failure import text_of
from denoagents.actor.failure_log import FailureLog
from denoagents.actor.family import Family
from denoagents.actor.passivation import Passivation
from denoagents.actor.supervision import ROOT_SUPERVISION, Directive
from denoagents.actor.watching import Watches
from denoagents.errors import ActorStoppedError, DenoagentsError, NodeStoppedError, StoreError

log = structlog.get_logger("denoagents.actor")


START_AGAIN_S = 0.5
"""Until a root actor that could not start, and has reliable messages, is tried again."""


class Lives:
    """The lives of one node's actors; the guardian, which knows the node, derives from it."""

    runtime: Runtime
    router: Router
    durables: Durables

    def __init__(self, passivation: Passivation) -> None:
        self.passivation, self.log = passivation, FailureLog()
        self.watches = Watches(self.notify_watcher)
        self._reasons: dict[Cell, str] = {}
        self.restarts = 0
        self._calls_on_stop = True
        self.leaving: set[Cell] = set()
        self._stopping: dict[Cell, list[asyncio.Future[None]]] = {}

    def has_space(self, cell: Cell) -> None:
        """The mailbox of `cell` takes messages again, or never will."""
        raise NotImplementedError

    def turn_ended(self, cell: Cell) -> None:
        """A cell that is being handed over has become idle."""
        raise NotImplementedError

    def notify_watcher(self, watcher: str, target: str, reason: str) -> None:
        """Send a watcher, which lives here, its `on_terminated`."""
        raise NotImplementedError

    def family_of(self, cell: Cell) -> Family:
        """The family of a cell; made when it is asked for."""
        if cell.family is None:
            cell.family = Family()
        family: Family = cell.family
        return family

    # --- beginning ------------------------------------------------------------------------

    def activate(self, cell: Cell) -> Coroutine[Any, Any, None] | None:
        """Make the instance of a cell; its on_start, if it has one of its own."""
        declared: ActorType = cell.type
        try:
            instance: Any = object.__new__(declared.cls)
            declared.fill_defaults(instance)
            instance.__dict__["_denoagents_cell"] = cell
            cell.instance = instance
            instance.__init__()
            if declared.durable is not None:
                own = type(instance).on_start is not Actor.on_start
                return self.durables.start(cell, instance.on_start if own else None)
            saved = self.passivation.states.get(cell.address)
            if saved is not None:
                for name, value in declared.decode_state(saved).items():
                    setattr(instance, name, value)
        except Exception as error:
            self._failed_to_start(cell, error)
            return None
        if type(instance).on_start is Actor.on_start:
            self._started(cell)
            return None
        started: Coroutine[Any, Any, None] = instance.on_start()
        return started

    def _started(self, cell: Cell) -> None:
        if self.passivation.states:
            self.passivation.forget(cell.address)

    def _failed_to_start(self, cell: Cell, error: BaseException) -> None:
        self.log.note("an actor could not start", cell.address, "on_start", error)
        if cell.family is not None and cell.family.parent is not None:
            self._restart(cell, error)
            return
        refusal = ActorStoppedError(f"{cell.address} could not start: {text_of(error)}")
        refusal.__cause__ = error
        self.runtime.discard(cell, refusal, has_failed=True)
        self._reset(cell)
        wait_s = START_AGAIN_S if cell.waiting else 0.0  # reliable messages wait for another try
        self.runtime.loop.call_later(wait_s, self._resume, cell)

    def _reset(self, cell: Cell) -> None:
        """Give up the instance, and what belongs to its life."""
        cell.instance, cell.state, cell.held = None, CellState.NEW, True
        self.watches.forget_watcher(cell.address)
        family = cell.family
        if family is not None:
            family.cancel_timers()
            family.is_resetting = True
            for child in tuple(family.children.values()):
                reason = f"{child.address} was stopped: its parent is made anew"
                self._stop_now(child, ActorStoppedError(reason))

    def _resume(self, cell: Cell) -> None:
        """Let a cell that was held here go on, if nothing else is in its way."""
        family = cell.family
        if family is not None and family.is_resetting:
            if family.children or family.backoff is not None:
                return
            family.is_resetting = False
        if cell.state >= CellState.STOPPING or cell in self.leaving or not self._is_active(cell):
            return
        is_root = family is None or family.parent is None
        if cell.state == CellState.NEW and cell.is_idle and is_root and not self._remembers(cell):
            self.runtime.remove(cell)  # nothing but an address; the next message makes it again
        else:
            self.runtime.unhold(cell)

    def _remembers(self, cell: Cell) -> bool:
        """Whether restarts of `cell` still count; if so, it is looked at again when they do not."""
        window = None if cell.family is None else cell.family.window
        if window is None or not window.count(self.runtime.clock.now_ns()):
            return False
        self.runtime.loop.call_later(ROOT_SUPERVISION.within_s, self._forget, cell)
        return True

    def _forget(self, cell: Cell) -> None:
        if cell.state == CellState.NEW and cell.is_idle and not cell.held:
            self._resume(cell)

    def _is_active(self, cell: Cell) -> bool:
        """Whether turns may start in the slot of `cell`, as far as hand-over is concerned."""
        table = self.router.tables.get(cell.address.partition("/")[0])
        return table is None or "/~" in cell.address or bool(table.active[cell.slot])

    def hook_done(self, cell: Cell, hook: str, error: BaseException | None) -> None:
        """A hook's turn is over."""
        if error is not None and hook != "on_start":
            self.log.note("a hook raised", cell.address, hook, error)
        if hook == "on_start":
            self._start_over(cell, error)
        elif hook == "on_failure":
            failure, cell.family.failure = cell.family.failure, None
            if cell.family.renewal is None:
                self._apply(cell, *failure)
        elif hook == "on_passivate":
            self.passivation.store_away(cell)
        elif hook == "on_stop":
            self._gone(cell)
        self.ended_turn(cell)

    def _start_over(self, cell: Cell, error: BaseException | None) -> None:
        if error is None:
            self._started(cell)
            if cell.state == CellState.STARTING:
                cell.state = CellState.READY
        elif isinstance(error, StoreError) and cell.type.durable is not None:
            self._refuse_asks(cell, error)  # it is claimed again: what it was told waits
        elif cell.state == CellState.STARTING and not (cell.family and cell.family.is_giving_up):
            self._failed_to_start(cell, error)
        else:
            cell.instance = None  # it was stopped before it had started: no on_stop

    def hold(self, cell: Cell, seconds: float) -> None:
        """Take the instance from an actor when its turn is over; a new one after `seconds`."""
        cell.held = True
        self.runtime.loop.call_soon(self._begin_hold, cell, seconds)

    def _begin_hold(self, cell: Cell, seconds: float) -> None:
        if cell.turn is not None:
            self.runtime.loop.call_later(0.001, self._begin_hold, cell, seconds)
        elif cell.state < CellState.STOPPING:
            self._reset(cell)
            self.runtime.loop.call_later(seconds, self._resume, cell)

    def _refuse_asks(self, cell: Cell, error: StoreError) -> None:
        for envelope in self.runtime.take_out(cell):
            if envelope.reply is None or not envelope.flags & WANTS_REPLY:
                self.runtime.put_back(cell, envelope)
            else:
                self.runtime.books.refused += 1
                envelope.reply.reject(error)
                self.runtime.windows.forget(cell.address, envelope)

    def _hook(self, cell: Cell, running: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        return running if cell.type.durable is None else self.durables.hook(cell, running)

    # --- failure ------------------------------------------------------------------------------

    def failed(self, cell: Cell, turn: Turn, error: BaseException, is_tell: bool) -> None:
        """A method raised: decide what becomes of the actor."""
        if is_tell:
            self.log.note("a message without asker failed", cell.address, turn.label, error)
        if isinstance(error, DenoagentsError) or cell.state >= CellState.STOPPING:
            return
        if cell.family is not None and cell.family.is_giving_up:
            return
        directive = self._decide(cell, error)
        if directive != "resume":
            self._give_up(cell, directive, error)

    def _give_up(self, cell: Cell, directive: Directive, error: BaseException) -> None:
        """Let the instance look at the error, then do what was decided."""
        on_failure = getattr(type(cell.instance), "on_failure", Actor.on_failure)
        if on_failure is not Actor.on_failure and cell.turn is None:
            self.family_of(cell).failure = directive, error
            cell.held = True
            hook = self._hook(cell, cell.instance.on_failure(error))
            self.runtime.run_hook(cell, hook, "on_failure")
        else:
            self._apply(cell, directive, error)

    def _decide(self, cell: Cell, error: BaseException) -> Directive:
        """What the rules say about an error."""
        raise NotImplementedError

    def _apply(self, cell: Cell, directive: Directive, error: BaseException) -> None:
        """Do what was decided."""
        raise NotImplementedError

    def _restart(self, cell: Cell, error: BaseException) -> None:
        """Make the instance anew, after the back-off."""
        raise NotImplementedError

    def _turn_gave_way(self, cell: Cell) -> None:
        """A turn that was in the way of a restart is over."""
        raise NotImplementedError

    # --- ends ---------------------------------------------------------------------------------

    async def stop(self, cell: Cell) -> None:
        """Stop an actor after its running turn; returns when it is gone."""
        if cell.state == CellState.STOPPED:
            return
        waiter = self._end_of(cell)
        self.stop_after_turn(cell)
        await waiter

    async def end_all(self, within_s: float, *, calls_on_stop: bool) -> bool:
        """Stop every actor, for the end of the node: turns are cancelled, then on_stop is called.

        Returns when all have gone, or after `within_s`; whether all have gone.
        """
        self._calls_on_stop = calls_on_stop
        end_s = self.runtime.loop.time() + within_s
        self.watches.close()
        while ending := [cell for cell in self.runtime.cells.values() if self._has_end(cell)]:
            left_s = end_s - self.runtime.loop.time()
            if left_s <= 0:
                return False
            waiters = [self._end_of(cell) for cell in ending]
            for cell in ending:
                if cell.family is None or cell.family.parent is None:
                    self._stop_now(
                        cell, NodeStoppedError(f"the node of {cell.address} has stopped")
                    )
            await asyncio.wait(waiters, timeout=left_s)
        return True

    def _has_end(self, cell: Cell) -> bool:
        """Whether anything is to be done about `cell` before its node ends."""
        is_busy = cell.turn is not None or cell.waiting > 0 or cell.family is not None
        return is_busy or self._has_farewell(cell)

    def _has_farewell(self, cell: Cell) -> bool:
        on_stop = getattr(type(cell.instance), "on_stop", Actor.on_stop)
        return self._calls_on_stop and on_stop is not Actor.on_stop

    def _end_of(self, cell: Cell) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = self.runtime.loop.create_future()
        self._stopping.setdefault(cell, []).append(waiter)
        return waiter

    def stop_after_turn(self, cell: Cell) -> None:
        """Stop `cell` as soon as it is idle."""
        if cell.turn is None:
            self._end(cell, ActorStoppedError(f"{cell.address} has stopped"))
        elif cell.state < CellState.STOPPING:
            cell.state = CellState.STOPPING

    def _stop_now(self, cell: Cell, reason: DenoagentsError) -> None:
        """Stop `cell`, and cancel its running turn."""
        if cell.turn is None:
            self._end(cell, reason)
        elif cell.state < CellState.STOPPING:
            cell.state = CellState.STOPPING
            self.runtime.discard(cell, reason)
            self.runtime.cancel_turn(cell.turn)

    def ended_turn(self, cell: Cell) -> None:
        """A turn of a stopping, leaving or held actor is over."""
        if cell.turn is not None:
            return
        if cell.family is not None and cell.family.is_giving_up:
            self._turn_gave_way(cell)
        if cell.state == CellState.STOPPING:
            self.runtime.loop.call_soon(
                self._end, cell, ActorStoppedError(f"{cell.address} has stopped")
            )
        if cell in self.leaving:
            self.turn_ended(cell)

    def _end(self, cell: Cell, reason: DenoagentsError) -> None:
        family = cell.family
        if (
            cell.state == CellState.STOPPED
            or cell.turn is not None
            or (family is not None and family.is_ending)
        ):
            return
        cell.state = CellState.STOPPING
        if cell.address in self.watches.watchers:
            self._reasons[cell] = str(reason)
        self.runtime.discard(cell, reason)
        if family is not None:
            family.is_ending = True
            family.cancel_timers()
            for child in tuple(family.children.values()):
                self._stop_now(child, ActorStoppedError(f"{child.address} stopped with its parent"))
            if family.children:
                return
        self._farewell(cell)

    def _farewell(self, cell: Cell) -> None:
        if cell.state != CellState.STOPPING or cell.turn is not None:
            return
        if self._has_farewell(cell):
            self.runtime.run_hook(cell, self._hook(cell, cell.instance.on_stop()), "on_stop")
        else:
            self._gone(cell)

    def live_again(self, cell: Cell, envelopes: Iterable[Envelope]) -> None:
        """A root actor has stopped; these messages wait for its next life."""
        renewed = self.router.local_cell(cell.address)
        for envelope in envelopes:
            self.runtime.put_back(renewed, envelope)

    def _gone(self, cell: Cell) -> None:
        cell.instance = None
        self.runtime.remove(cell)
        self.durables.ended(cell.address)
        self.leaving.discard(cell)
        self.watches.ended(cell.address, self._reasons.pop(cell, "it has stopped"))
        wake(self._stopping.pop(cell, ()))
        self.has_space(cell)
        if cell.family is not None and cell.family.parent is not None:
            self._child_gone(cell.family.parent, cell)

    def _child_gone(self, parent: Cell, child: Cell) -> None:
        family: Family = parent.family
        for name in [name for name, one in family.children.items() if one is child]:
            del family.children[name]
        if family.children:
            return
        if family.is_ending:
            self._farewell(parent)
        elif family.is_resetting:
            self._resume(parent)


def wake(waiters: Iterable[asyncio.Future[None]]) -> None:
    """Let everyone go on."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
