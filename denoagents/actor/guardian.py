"""Looks after the actors of one node: for the runtime, for contexts, and for the node.

Rules: called by the native runtime on the loop's thread, and by contexts from inside turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine
from typing import Any, Protocol, TypeVar

from denoagents._native.envelope import Envelope
from denoagents._native.router import Router
from denoagents._native.runtime import Cell, CellState, Runtime, current_turn
from denoagents.actor.actor import Actor
from denoagents.actor.dead_letter import DeadLetter, DeadLetters
from denoagents.actor.durable_life import Life
from denoagents.actor.failure import as_local_error, text_of
from denoagents.actor.family import Family, Timer
from denoagents.actor.lives import wake
from denoagents.actor.method import MethodType
from denoagents.actor.passivation import Passivation
from denoagents.actor.recovery import Recovery
from denoagents.actor.reference import Refs
from denoagents.actor.reminders import MAX_REMINDERS, make_reminder
from denoagents.actor.settings import ActorSettings, Strategy
from denoagents.actor.stream import pump
from denoagents.actor.suspect import Suspects
from denoagents.address import Address
from denoagents.durability import Reminder
from denoagents.errors import ActorStoppedError, DenoagentsError, UsageError

A = TypeVar("A", bound=Actor)


class Surroundings(Protocol):
    """What the guardian asks of its node."""

    def pool(
        self, cls: type[A], name: str = ..., *, strategy: Strategy = ..., size: int = ...
    ) -> A:
        """A ref to a pool."""

    def actor(self, cls: type[A], key: str) -> A:
        """A ref to a root actor; an embedded node hosts the type from now on."""

    def has_space(self, cell: Cell) -> None:
        """A mailbox that was full has room again."""

    def turn_ended(self, cell: Cell) -> None:
        """A cell that is being handed over has become idle."""


UNLEASED_S = 0.02
"""How often the lease is looked at by a turn that must wait for it."""


class Guardian(Recovery):
    """Looks after all actors of one process."""

    def __init__(self, settings: ActorSettings, surroundings: Surroundings) -> None:
        super().__init__(Passivation(settings))
        self.settings, self._surroundings = settings, surroundings
        self.refs: Refs
        self.letters = DeadLetters(settings.dead_letters)
        self._suspects = Suspects()
        self._space: dict[Cell, list[asyncio.Future[None]]] = {}

    def attach(self, runtime: Runtime, router: Router, refs: Refs) -> None:
        """Meet the native parts; called once."""
        self.runtime, self.router, self.refs = runtime, router, refs

    def start(self) -> None:
        """Begin to look for idle actors."""
        self.passivation.start(self.runtime)

    def close(self) -> None:
        """Stop looking; end all timers."""
        self.passivation.close()
        for cell in self.runtime.cells.values():
            if cell.family is not None:
                cell.family.cancel_timers()

    # --- what the runtime tells ------------------------------------------------------------

    def dropped(self, cell: Cell, envelope: Envelope, error: BaseException) -> None:
        """A tell was not run: nobody waits for an answer, so it is kept as a dead letter."""
        self.dead_letter(cell.address, envelope.method.name, text_of(error))

    def dead_letter(self, address: str, method: str, reason: str) -> None:
        """Keep what nobody took, with the reason."""
        self.letters.add(DeadLetter(address, method, reason, self.runtime.clock.now_ns()))

    def pump(
        self, generator: AsyncGenerator[Any, None], reply: Any, cell: Cell
    ) -> Coroutine[Any, Any, None]:
        """The coroutine that drives a streaming method."""
        del cell
        return pump(generator, reply, self.settings.credit_timeout_s)

    def suspect(
        self, coroutine: Coroutine[Any, Any, Any], envelope: Envelope
    ) -> Coroutine[Any, Any, Any]:
        """The turn of a message that a process may have died of: alone, once its sender knows."""
        return self._suspects.run(self._when_leased(coroutine), envelope)

    async def _when_leased(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Begin when the lease is valid: it may have ended while the word was on its way."""
        while not self.runtime.has_lease:  # noqa: ASYNC110 - a word that another thread writes
            await asyncio.sleep(UNLEASED_S)
        return await coroutine

    def space(self, cell: Cell) -> asyncio.Future[None]:
        """Done when the mailbox of `cell` has room again."""
        waiter: asyncio.Future[None] = self.runtime.loop.create_future()
        self._space.setdefault(cell, []).append(waiter)
        return waiter

    def has_space(self, cell: Cell) -> None:
        """Wake local senders, tell the node about remote ones."""
        wake(self._space.pop(cell, ()))
        self._surroundings.has_space(cell)

    def turn_ended(self, cell: Cell) -> None:
        """A cell that is being handed over has become idle."""
        self._surroundings.turn_ended(cell)

    # --- what the node's hand-over and status use ---------------------------------------------

    @property
    def passivated(self) -> dict[str, bytes]:
        """Address -> declared state of the actors that have no instance now."""
        return self.passivation.states

    def capture(self, cell: Cell) -> bytes:
        """The declared state of a cell as bytes; empty when it has none worth keeping."""
        return self.passivation.capture(cell)

    def keep_passivated(self, address: str, state: bytes) -> None:
        """Keep the state of an actor that has no instance now."""
        self.passivation.keep(address, state)

    def forget_passivated(self, address: str) -> None:
        """The state has gone elsewhere."""
        self.passivation.forget(address)

    @property
    def passivations(self) -> int:
        """How often an actor was passivated."""
        return self.passivation.count

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The last ones."""
        return tuple(self.letters.last)

    @property
    def dead_letter_count(self) -> int:
        """How many there were."""
        return self.letters.count

    # --- family -------------------------------------------------------------------------------

    def spawn(self, parent: Cell, cls: type[A], name: str) -> A:
        """A new child of `parent`."""
        if parent.state >= CellState.STOPPING:
            raise ActorStoppedError(f"{parent.address} is stopping, and takes no children")
        family = self.family_of(parent)
        if name in family.children:
            raise UsageError(
                f"{parent.address} has a child {name!r} already; "
                "stop it first, or choose another name"
            )
        if self.refs.type_of(cls).durable is not None:
            raise UsageError(
                f"{cls.__name__} is durable: such actors are named by type and key, so that they "
                "can be found again; use self.context.actor(...)"
            )
        address = Address.parse(parent.address).child(name).text
        self.refs.host(cls)
        cell = Cell(self.runtime, address, self.refs.type_of(cls), parent.slot)
        cell.family = Family(parent=parent, cls=cls)
        family.children[name] = cell
        self.runtime.cells[address] = cell
        return self.ref(cls, address)

    def children(self, cell: Cell) -> tuple[str, ...]:
        """Addresses of the living children of `cell`."""
        return (
            ()
            if cell.family is None
            else tuple(child.address for child in cell.family.children.values())
        )

    def schedule(
        self, cell: Cell, method: str, args: tuple[Any, ...], after_s: float, every_s: float | None
    ) -> Timer:
        """A timer that sends `cell` a message."""
        declared = cell.type.method(method)
        if declared.is_stream:
            raise UsageError(f"{declared} streams its reply; a timer needs a method without one")
        if cell.state >= CellState.STOPPING:
            raise ActorStoppedError(f"{cell.address} is stopping, and sets no timers")
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
        self.family_of(cell)
        timer = Timer(cell, method, arguments, every_s)
        timer.start(after_s)
        return timer

    async def stop_child(self, parent: Cell, ref: object) -> None:
        """Stop the child that `ref` names; returns when it is gone."""
        text = _address_of(ref)
        cell = next(
            (c for c in self.family_of(parent).children.values() if c.address == text), None
        )
        if cell is None:
            raise UsageError(f"{text} is no living child of {parent.address}")
        await self.stop(cell)

    # --- durable actors -----------------------------------------------------------------------

    def fence(self, cell: Cell) -> int:
        """The fence of an actor's running turns."""
        return self.durables.fence_of(cell)

    def remind(
        self, cell: Cell, name: str, method: str, args: tuple[Any, ...], **when: Any
    ) -> None:
        """Set a reminder with the running turn."""
        drafted = self._reminders(cell)
        now_ms = self.durables.reminders.wall_ms()
        drafted[name] = make_reminder(cell, now_ms, name, method, args, **when)
        if len(drafted) > MAX_REMINDERS:
            del drafted[name]
            raise UsageError(f"{cell.address} has {MAX_REMINDERS} reminders, the most there can be")

    def forget_reminder(self, cell: Cell, name: str) -> bool:
        """Take back a reminder with the running turn."""
        return self._reminders(cell).pop(name, None) is not None

    def _reminders(self, cell: Cell) -> dict[str, Reminder]:
        """What the running turn will have of reminders."""
        life = self._life(cell, "reminders")
        draft = life.draft
        if draft is None:
            raise UsageError(f"reminders of {cell.address} change inside its turns only")
        if draft.reminders is None:
            draft.reminders = {**life.reminders}
        return draft.reminders

    def _life(self, cell: Cell, what: str) -> Life:
        life = self.durables.lives.get(cell.address)
        if life is None:
            raise UsageError(f"{cell.address} is not durable and has not {what}; see @durable")
        return life

    # --- watches ------------------------------------------------------------------------------

    def watch(self, watcher: Cell, ref: object) -> Awaitable[None]:
        """Let `watcher` hear of the end of an actor; done when the actor's process knows."""
        target = _address_of(ref)
        if watcher.type.terminated is None:
            raise UsageError(
                f"{watcher.type.name} watches {target}, but has no `async def "
                "on_terminated(self, address: str, reason: str)`"
            )
        if not target or target == watcher.address:
            raise UsageError(f"watch takes a ref to one other actor, not {ref!r}")
        if watcher.state >= CellState.STOPPING:
            raise ActorStoppedError(f"{watcher.address} is stopping, and watches nobody")
        is_new = self.watches.watch(watcher.address, target, self.runtime.incarnation)
        known = self.watches.known(watcher.address, target)
        if not is_new and self.watches.elsewhere is None:
            known.set_result(None)
        elif self.watches.elsewhere is not None:
            self.watches.elsewhere.watch(target, watcher.address)
        elif target.count("/") > 1 and target not in self.runtime.cells:
            self.watches.terminated(target, watcher.address, f"{target} does not live")
        else:
            self.watches.add(target, watcher.address)
            self.watches.confirmed(target, watcher.address, self.runtime.incarnation)
        return known

    def unwatch(self, watcher: Cell, ref: object) -> None:
        """Take that back."""
        self.watches.unwatch(watcher.address, _address_of(ref))

    def notify_watcher(self, watcher: str, target: str, reason: str) -> None:
        """A message of the runtime's own: it waits in the mailbox like others."""
        try:
            cell = self.router.local_cell(watcher)
        except DenoagentsError as error:
            self.dead_letter(watcher, "on_terminated", text_of(error))
            return
        self.runtime.books.sent += 1
        self.runtime.books.acknowledged += 1
        self.runtime.post(cell, Envelope(cell.type.terminated, (target, reason), None))

    # --- for contexts and the node --------------------------------------------------------------

    def ref(self, cls: type[A], address: str) -> A:
        """A typed ref."""
        made: Any = self.refs.ref(cls, address)
        return made  # type: ignore[no-any-return]

    def root_ref(self, cls: type[A], key: str) -> A:
        """A typed ref to a root actor."""
        if self.refs.type_of(cls).name not in self.router.tables:
            return self._surroundings.actor(cls, key)
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


def _address_of(ref: object) -> str:
    address = getattr(type(ref), "address", None)
    return str(ref) if address is None else str(address.__get__(ref))
