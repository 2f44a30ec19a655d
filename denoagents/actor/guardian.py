"""The lives of one node's actors: activation, failure, children, timers, passivation, end.

Rules:
    Called by the native runtime on the loop's thread, and by contexts from inside turns.
    An actor whose on_start raises refuses what waits for it; the next message tries again.
    A stopped actor's children stop before it; its timers end with it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

import structlog

from denoagents._native.envelope import Envelope
from denoagents._native.router import Router
from denoagents._native.runtime import Cell, CellState, Runtime, Turn, current_turn
from denoagents.actor.actor import Actor
from denoagents.actor.context import Context
from denoagents.actor.declaration import ActorType
from denoagents.actor.failure import DeadLetter, as_local_error
from denoagents.actor.family import Family, Timer
from denoagents.actor.method import MethodType
from denoagents.actor.reference import Refs
from denoagents.actor.settings import ActorSettings, Strategy
from denoagents.actor.stream import StreamCall, pump
from denoagents.actor.supervision import ROOT_SUPERVISION, Directive, RestartWindow, Supervision
from denoagents.address import Address
from denoagents.errors import ActorStoppedError, DenoagentsError, UsageError

A = TypeVar("A", bound=Actor)
log = structlog.get_logger("denoagents.actor")


class Surroundings(Protocol):
    """What the guardian asks of its node."""

    def pool(
        self, cls: type[A], name: str = ..., *, strategy: Strategy = ..., size: int = ...
    ) -> A:
        """A ref to a pool."""

    def has_space(self, cell: Cell) -> None:
        """A mailbox that was full has room again."""

    def turn_ended(self, cell: Cell) -> None:
        """A cell that is being handed over has become idle."""


class Guardian:
    """Looks after all actors of one process."""

    def __init__(self, settings: ActorSettings, surroundings: Surroundings) -> None:
        self.settings, self._surroundings = settings, surroundings
        self.runtime: Runtime
        self.router: Router
        self.refs: Refs
        self.passivated: dict[str, bytes] = {}
        self.passivated_bytes = 0
        self.dead_letters: deque[DeadLetter] = deque(maxlen=settings.dead_letters)
        self.dead_letter_count = self.restarts = self.passivations = 0
        self.leaving: set[Cell] = set()
        self._space: dict[Cell, list[asyncio.Future[None]]] = {}
        self._stopping: dict[Cell, list[asyncio.Future[None]]] = {}
        self._sweep_at: list[str] = []
        self._sweeper: asyncio.TimerHandle | None = None

    def attach(self, runtime: Runtime, router: Router, refs: Refs) -> None:
        """Meet the native parts; called once."""
        self.runtime, self.router, self.refs = runtime, router, refs

    # --- a life begins ------------------------------------------------------------------------

    def activate(self, cell: Cell) -> Coroutine[Any, Any, None] | None:
        """Make the instance of a cell; its on_start, if it has one of its own."""
        declared: ActorType = cell.type
        try:
            instance = declared.cls.__new__(declared.cls)
            declared.fill_defaults(instance)
            instance.__dict__["_denoagents_cell"] = cell
            instance.__init__()
            saved = self.passivated.pop(cell.address, None)
            if saved is not None:
                self.passivated_bytes -= len(saved)
                for name, value in declared.decode_state(saved).items():
                    setattr(instance, name, value)
        except Exception as error:
            self._failed_to_start(cell, error)
            return None
        cell.instance = instance
        if declared.cls.on_start is Actor.on_start:
            return None
        started: Coroutine[Any, Any, None] = instance.on_start()
        return started

    def _unhold(self, cell: Cell) -> None:
        if cell.state < CellState.STOPPING and cell not in self.leaving:
            self.runtime.unhold(cell)

    def _failed_to_start(self, cell: Cell, error: BaseException) -> None:
        log.warning("actor failed to start", actor=cell.address, error=repr(error))
        cell.instance, cell.state = None, CellState.NEW
        family = cell.family
        refusal = ActorStoppedError(f"{cell.address} could not start: {type(error).__name__}: {error}")
        if family is None or family.parent is None:
            self.runtime.discard(cell, refusal)
            cell.held = True
            self.runtime.loop.call_soon(self._unhold, cell)
        else:
            self._restart(cell, error)

    def hook_done(self, cell: Cell, hook: str, error: BaseException | None) -> None:
        """A hook's turn is over."""
        if error is not None and hook != "on_start":
            log.warning("hook raised", actor=cell.address, hook=hook, error=repr(error))
        if hook == "on_start":
            if cell.state == CellState.STARTING:
                if error is None:
                    cell.state = CellState.READY
                else:
                    self._failed_to_start(cell, error)
        elif hook == "on_failure":
            family = self._family(cell)
            failure, family.last_error = family.last_error, None
            if failure is not None:
                self._apply(cell, self._supervision(cell).decide(failure), failure)
        elif hook == "on_passivate":
            self._store_away(cell)
        elif hook == "on_stop":
            self._gone(cell)
        self._note_idle(cell)

    # --- failure ------------------------------------------------------------------------------

    def failed(self, cell: Cell, turn: Turn, error: BaseException) -> None:
        """A method raised: decide what becomes of the actor."""
        self._note_idle(cell)
        if isinstance(error, DenoagentsError) or cell.state >= CellState.STOPPING:
            return
        directive = self._supervision(cell).decide(error)
        log.info("method raised", actor=cell.address, method=turn.label, error=repr(error), directive=directive)
        if directive == "resume":
            return
        if type(cell.instance).on_failure is not Actor.on_failure:
            self._family(cell).last_error = error
            cell.held = True
            self.runtime.run_hook(cell, cell.instance.on_failure(error), "on_failure")
        else:
            self._apply(cell, directive, error)

    def _supervision(self, cell: Cell) -> Supervision:
        family = cell.family
        if family is None or family.parent is None:
            return ROOT_SUPERVISION
        parent = family.parent.instance
        return Actor.supervision if parent is None else type(parent).supervision

    def _apply(self, cell: Cell, directive: Directive, error: BaseException) -> None:
        if directive == "stop":
            self._end(cell, ActorStoppedError(f"{cell.address} was stopped after {error!r}"))
        elif directive == "restart":
            self._restart(cell, error)
        else:
            self.runtime.unhold(cell)

    def _restart(self, cell: Cell, error: BaseException) -> None:
        family = self._family(cell)
        supervision = self._supervision(cell)
        family.window = family.window or RestartWindow(supervision)
        wait_s = family.window.restart(self.runtime.clock.now_ns())
        family.cancel_timers()
        for child in list(family.children.values()):
            self._end(child, ActorStoppedError(f"the parent of {child.address} was restarted"))
        if wait_s is None:
            log.warning("too many restarts", actor=cell.address, limit=supervision.intensity, within_s=supervision.within_s)
            self._end(cell, ActorStoppedError(f"{cell.address} was restarted too often: {error!r}"))
            return
        self.restarts += 1
        cell.instance, cell.state, cell.held = None, CellState.NEW, True
        self.runtime.loop.call_later(wait_s, self._unhold, cell)

    def dropped(self, cell: Cell, envelope: Envelope, error: BaseException) -> None:
        """A tell was refused: nobody waits for an answer, so it is kept as a dead letter."""
        self.dead_letter(cell.address, envelope.method.name, str(error))

    def dead_letter(self, address: str, method: str, reason: str) -> None:
        """Keep what nobody took, with the reason."""
        self.dead_letter_count += 1
        self.dead_letters.append(DeadLetter(address, method, reason, self.runtime.clock.now_ns()))
        if self.dead_letter_count.bit_count() == 1:
            log.warning("dead letter", actor=address, method=method, reason=reason, so_far=self.dead_letter_count)

    # --- streams and space --------------------------------------------------------------------

    def pump(self, generator: AsyncGenerator[Any, None], reply: Any, cell: Cell) -> Coroutine[Any, Any, None]:
        """The coroutine that drives a streaming method."""
        return pump(generator, reply, self.settings.credit_timeout_s)

    def space(self, cell: Cell) -> asyncio.Future[None]:
        """Done when the mailbox of `cell` has room again."""
        waiter: asyncio.Future[None] = self.runtime.loop.create_future()
        self._space.setdefault(cell, []).append(waiter)
        return waiter

    def has_space(self, cell: Cell) -> None:
        """Wake local senders, tell the node about remote ones."""
        for waiter in self._space.pop(cell, ()):
            if not waiter.done():
                waiter.set_result(None)
        self._surroundings.has_space(cell)

    # --- family -------------------------------------------------------------------------------

    def _family(self, cell: Cell) -> Family:
        if cell.family is None:
            cell.family = Family()
        family: Family = cell.family
        return family

    def spawn(self, parent: Cell, cls: type[A], name: str) -> A:
        """A new child of `parent`."""
        family = self._family(parent)
        if name in family.children:
            raise UsageError(f"{parent.address} has a child {name!r} already; stop it first, or choose another name")
        address = Address.parse(parent.address).child(name).text
        declared = self.refs.type_of(cls)
        self.router.types.setdefault(declared.name, declared)
        cell = Cell(self.runtime, address, declared, parent.slot)
        cell.family = Family(parent=parent, cls=cls)
        family.children[name] = cell
        self.runtime.cells[address] = cell
        return self.ref(cls, address)

    def children(self, cell: Cell) -> tuple[str, ...]:
        """Addresses of the living children of `cell`."""
        return () if cell.family is None else tuple(child.address for child in cell.family.children.values())

    def schedule(
        self, cell: Cell, method: str, args: tuple[Any, ...], after_s: float, every_s: float | None
    ) -> Timer:
        """A timer that sends `cell` a message."""
        declared = cell.type.method(method)
        return self.start_timer(cell, declared, declared.bind(args, {}), after_s, every_s)

    def start_timer(
        self,
        cell: Cell,
        method: MethodType,
        arguments: tuple[Any, ...],
        after_s: float,
        every_s: float | None,
    ) -> Timer:
        """The same, for a method and arguments that fit; also for a timer that moved here."""
        family = self._family(cell)
        timer = Timer(method, arguments, every_s, family)
        family.timers.add(timer)

        def fire() -> None:
            if timer.family is None or cell.state >= CellState.STOPPING:
                return
            if every_s is None:
                timer.cancel()
            else:
                timer.handle = self.runtime.loop.call_later(every_s, fire)
            self.runtime.books.sent += 1
            self.runtime.books.acknowledged += 1
            self.runtime.post(cell, Envelope(method, arguments, None))

        timer.handle = self.runtime.loop.call_later(max(after_s, 0.0), fire)
        return timer

    # --- ends ---------------------------------------------------------------------------------

    async def stop_child(self, parent: Cell, ref: object) -> None:
        """Stop the child that `ref` names; returns when it is gone."""
        address = getattr(type(ref), "address", None)
        text = address.__get__(ref) if address is not None else str(ref)
        cell = next((c for c in self._family(parent).children.values() if c.address == text), None)
        if cell is None:
            raise UsageError(f"{text} is no living child of {parent.address}")
        await self.stop(cell)

    async def stop(self, cell: Cell) -> None:
        """Stop an actor after its running turn; returns when it is gone."""
        if cell.state == CellState.STOPPED:
            return
        waiter: asyncio.Future[None] = self.runtime.loop.create_future()
        self._stopping.setdefault(cell, []).append(waiter)
        self.stop_after_turn(cell)
        await waiter

    def stop_after_turn(self, cell: Cell) -> None:
        """Stop `cell` as soon as it is idle."""
        if cell.turn is None:
            self._end(cell, ActorStoppedError(f"{cell.address} has stopped"))
        else:
            cell.state = CellState.STOPPING

    def _note_idle(self, cell: Cell) -> None:
        if cell.state == CellState.STOPPING and cell.turn is None and cell.instance is not None:
            self.runtime.loop.call_soon(self._end, cell, ActorStoppedError(f"{cell.address} has stopped"))
        if cell in self.leaving:
            self._surroundings.turn_ended(cell)

    def ended_turn(self, cell: Cell) -> None:
        """A turn of a stopping or leaving actor ended well."""
        self._note_idle(cell)

    def _end(self, cell: Cell, reason: ActorStoppedError) -> None:
        if cell.state == CellState.STOPPED or cell.turn is not None:
            return
        family = cell.family
        if family is not None:
            family.cancel_timers()
            for child in list(family.children.values()):
                if child.turn is not None:
                    self.runtime.cancel_turn(child.turn)
                self._end(child, ActorStoppedError(f"{child.address} stopped with its parent"))
        cell.state = CellState.STOPPING
        self.runtime.discard(cell, reason)
        instance = cell.instance
        if instance is not None and type(instance).on_stop is not Actor.on_stop:
            self.runtime.run_hook(cell, instance.on_stop(), "on_stop")
        else:
            self._gone(cell)

    def _gone(self, cell: Cell) -> None:
        cell.instance = None
        self.runtime.remove(cell)
        family = cell.family
        if family is not None and family.parent is not None and family.parent.family is not None:
            siblings = family.parent.family.children
            for name, child in list(siblings.items()):
                if child is cell:
                    del siblings[name]
        for waiter in self._stopping.pop(cell, ()):
            if not waiter.done():
                waiter.set_result(None)
        self.has_space(cell)

    # --- passivation --------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look for idle actors."""
        self._sweeper = self.runtime.loop.call_later(self.settings.sweep_every_s, self._sweep)

    def close(self) -> None:
        """Stop looking; end all timers."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for cell in self.runtime.cells.values():
            if cell.family is not None:
                cell.family.cancel_timers()

    def _sweep(self) -> None:
        if not self._sweep_at:
            self._sweep_at = list(self.runtime.cells)
        count = max(1000, len(self._sweep_at) // 60)
        self.passivate_idle(self._sweep_at[-count:])
        del self._sweep_at[-count:]
        self._sweeper = self.runtime.loop.call_later(self.settings.sweep_every_s, self._sweep)

    def passivate_idle(self, addresses: Iterable[str]) -> int:
        """Passivate those of `addresses` that have been idle for long enough; how many."""
        before = self.runtime.clock.now_ns() - int(self.settings.passivate_after_s * 1e9)
        count = 0
        for address in addresses:
            cell = self.runtime.cells.get(address)
            if cell is None:
                continue
            cell.release_mailbox()
            if cell.active_ns < before and self.passivate(cell):
                count += 1
        return count

    def passivate(self, cell: Cell) -> bool:
        """Let an idle root actor give up its instance; false if it cannot now."""
        family = cell.family
        if cell.state != CellState.READY or not cell.is_idle or cell.held:
            return False
        if family is not None and (family.children or family.timers or family.parent is not None):
            return False
        if self.passivated_bytes >= self.settings.passivated_bytes:
            return False
        if type(cell.instance).on_passivate is not Actor.on_passivate:
            self.runtime.run_hook(cell, cell.instance.on_passivate(), "on_passivate")
        else:
            self._store_away(cell)
        return True

    def _store_away(self, cell: Cell) -> None:
        try:
            state = self.capture(cell)
        except DenoagentsError as error:
            log.warning("actor cannot be passivated", actor=cell.address, error=str(error))
            return
        if not cell.is_idle:
            return
        if state:
            self.keep_passivated(cell.address, state)
        self.passivations += 1
        cell.instance = None
        self.runtime.remove(cell)

    def capture(self, cell: Cell) -> bytes:
        """The declared state of a cell as bytes; empty when it has none worth keeping."""
        if cell.instance is None:
            return self.passivated.get(cell.address, b"")
        return cell.type.encode_state(cell.instance) if cell.type.state_fields else b""

    def keep_passivated(self, address: str, state: bytes) -> None:
        """Keep the state of an actor that has no instance now."""
        self.forget_passivated(address)
        self.passivated[address] = state
        self.passivated_bytes += len(state)

    def forget_passivated(self, address: str) -> None:
        """The state has gone elsewhere."""
        self.passivated_bytes -= len(self.passivated.pop(address, b""))

    # --- for contexts -------------------------------------------------------------------------

    def context_of(self, cell: Cell) -> Context:
        """The context of an actor."""
        return Context(self, cell)

    def ref(self, cls: type[A], address: str) -> A:
        """A typed ref."""
        made: Any = self.refs.ref(cls, address)
        return made  # type: ignore[no-any-return]

    def root_ref(self, cls: type[A], key: str) -> A:
        """A typed ref to a root actor."""
        made: Any = self.refs.root(cls, key)
        return made  # type: ignore[no-any-return]

    def pool(self, cls: type[A], name: str, **settings: Any) -> A:
        """A ref to a pool."""
        return self._surroundings.pool(cls, name, **settings)

    def remaining_s(self) -> float | None:
        """Seconds left for the request of the running turn."""
        turn = current_turn.get()
        if turn is None or not turn.deadline_ns:
            return None
        return max(0.0, (turn.deadline_ns - self.runtime.clock.now_ns()) / 1e9)

    def local_error(self, error: BaseException) -> DenoagentsError:
        """What the asker in this process gets for an exception of the actor."""
        return as_local_error(error)

    def slowest(self, count: int) -> list[Cell]:
        """The cells with the most messages waiting."""
        cells = itertools.islice((c for c in self.runtime.cells.values() if c.waiting), 10_000)
        return sorted(cells, key=lambda cell: -cell.waiting)[:count]


def stream_class() -> Callable[..., Any]:
    """What a ref's streaming methods return."""
    return StreamCall
