"""The durable actors of one node: claimed before they start, committed before they answer.

Rules:
    An actor is claimed under the fence of its slot before its first turn; whoever held it before
    writes nothing more.
    A reply and what a turn told others leave after its commit. A commit that fails leaves the
    actor to be claimed anew: only the store knows what is kept.
    A cancel that comes while the commit is under way comes too late.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, Protocol

import structlog

from denoagents._native.envelope import WANTS_REPLY
from denoagents._native.runtime import Cell, Runtime, Turn, current_turn
from denoagents.actor.durable import DurableType
from denoagents.actor.durable_life import Draft, Life
from denoagents.actor.effect_record import EffectRecord
from denoagents.actor.reminders import Reminders, advanced, identity_of
from denoagents.durability import Commit, Kept, StateStore, stream_of
from denoagents.errors import FencedError, StoreError

log = structlog.get_logger("denoagents.actor")

AGAIN_FIRST_S, AGAIN_LONGEST_S = 0.05, 5.0
"""An actor whose store failed is claimed again after this, doubling."""

SETTLE_S = 0.05
"""What was handled elsewhere is dropped from the store at the latest after this."""


class Outgoings(Protocol):
    """One stream of reliable tells."""

    on_settled: Any

    def withdraw(self) -> None:
        """Somebody else sends what is unsettled from now on."""

    def send(
        self, address: str, method: Any, payload: bytes, priority: int = 1, number: int = 0
    ) -> object:
        """Send until it is handled."""


class Fleet(Protocol):
    """What the durable actors ask of their node."""

    def fence_of(self, cell: Cell) -> int:
        """The fence of the cell's slot."""

    def open_stream(
        self, stream: int, sent: int, floor: int, on_settled: Callable[[int, object], None]
    ) -> Outgoings:
        """A stream of tells, of which all below `floor` are settled; who hears what else is."""

    def floor_of(self, stream: int) -> int:
        """All numbers of a sender's stream below are settled there."""

    def wake(self, address: str) -> None:
        """Let the actor start, if it belongs here."""


class Durables:
    """The durable actors of one node."""

    def __init__(
        self, store: StateStore, runtime: Runtime, fleet: Fleet, reminders: Reminders
    ) -> None:
        self.store, self._runtime, self._fleet = store, runtime, fleet
        self.reminders, self.effects = reminders, EffectRecord(self)
        reminders.on_due = self._on_due
        self.lives: dict[str, Life] = {}
        self.commits = 0
        self._again_s: dict[str, float] = {}
        self._unsettled: set[Life] = set()

    # --- beginning and end of a life ----------------------------------------------------------

    async def start(
        self, cell: Cell, on_start: Callable[[], Coroutine[Any, Any, None]] | None
    ) -> None:
        """Claim the actor, give its new instance what is kept, run its on_start."""
        declared: DurableType = cell.type.durable
        instance = cell.instance
        life = await self._claim(cell, declared)
        self.lives[cell.address] = life
        life.base = cell.type.encode_state(instance)
        if on_start is not None:
            await self._run(cell, life, Draft(), on_start())
        self._again_s.pop(cell.address, None)
        if life.stream is None:
            self._send(life, list(life.outgoing))
        self.reminders.look_at(cell, life)

    def fence_of(self, cell: Cell) -> int:
        """Under which an actor runs here; of a durable one, that by which its state is claimed."""
        life = self.lives.get(cell.address)
        return self._fleet.fence_of(cell) if life is None else life.fence

    async def _claim(self, cell: Cell, declared: DurableType) -> Life:
        before = self.lives.get(cell.address)
        if before is not None:
            await self._written(before)
        try:
            fence = self._fleet.fence_of(cell)
            kept = await self.store.claim(cell.address, fence) or Kept()
            state = declared.migrated(kept.state, kept.schema)
        except StoreError as error:
            self.hold(cell, error)
            raise
        if state:
            for name, value in cell.type.decode_state(state).items():
                setattr(cell.instance, name, value)
        life = Life(cell.address, fence, kept)
        if before is not None and before.stream is not None:
            self._take_over(life, before)
        return life

    def _take_over(self, life: Life, before: Life) -> None:
        """What the life before has sent from here is still under way; the new one hears of it."""
        life.stream, before.stream = before.stream, None
        life.stream.on_settled = lambda number, _: self._on_settled(life, number)
        for number in list(life.outgoing):
            if number <= before.sent and number not in before.outgoing:
                life.settle(number)
        self._send(life, [number for number in life.outgoing if number > before.sent])

    def can_leave(self, address: str) -> bool:
        """Whether nothing of the actor is under way (before it is passivated or handed over)."""
        life = self.lives.get(address)
        return life is None or not life.writing

    def is_sending(self, address: str) -> bool:
        """Whether something that the actor sent waits for its target."""
        life = self.lives.get(address)
        return life is not None and not life.is_quiet

    def ended(self, address: str) -> None:
        """The actor has no instance any more; what it sent is still sent from here."""
        life = self.lives.get(address)
        if life is not None:
            life.is_over = True
            if life.is_quiet:
                self.forget(address)

    def forget(self, address: str) -> None:
        """The actor lives elsewhere now, with all that it sent."""
        life = self.lives.pop(address, None)
        if life is not None:
            for envelope in life.fired.values():
                self._runtime.cancel(envelope)  # whoever owns the actor next sends it again
            self._settle(life)
            self._close(life)

    def forget_sleeping(self, slots: set[int], slot_at: Callable[[str], int]) -> None:
        """Of actors in `slots` without instance, what they sent is sent by their new owner."""
        for address in [one for one in self.lives if slot_at(one) in slots]:
            if address not in self._runtime.cells:
                self.forget(address)

    def _close(self, life: Life) -> None:
        if life.stream is not None:
            life.stream.withdraw()
            life.stream = None

    async def _written(self, life: Life) -> None:
        while life.writing:
            await asyncio.wait(life.writing)

    async def close(self) -> None:
        """Wait for what is being written."""
        self.reminders.close()
        for life in tuple(self.lives.values()):
            await self._written(life)
            self._settle(life)
            self._close(life)
        self.lives.clear()

    # --- turns --------------------------------------------------------------------------------

    async def turn(self, cell: Cell, running: Coroutine[Any, Any, Any]) -> Any:
        """Run a method's coroutine as one transaction; its result when that is kept."""
        turn = current_turn.get()
        assert turn is not None
        envelope = turn.envelope
        assert envelope is not None
        life = self.lives[cell.address]
        if envelope.identity is not None and life.is_repeat(*envelope.identity):
            running.close()
            reply = life.reply_to(*envelope.identity)
            return None if reply is None else envelope.method.decode_result(reply)
        return await self._run(cell, life, self._draft(life, turn), running)

    async def stream(
        self, cell: Cell, running: AsyncGenerator[Any, None]
    ) -> AsyncGenerator[Any, None]:
        """Run a generator as one transaction, which is kept when it has ended."""
        turn = current_turn.get()
        assert turn is not None
        life = self.lives[cell.address]
        with self._drafted(cell, life, self._draft(life, turn), turn) as draft:
            async with contextlib.aclosing(running):
                async for item in running:
                    yield item
            await self._keep(cell, life, self._commit(cell, life, draft, None))

    async def hook(self, cell: Cell, running: Coroutine[Any, Any, None]) -> None:
        """Run a hook of a durable actor as one transaction."""
        life = self.lives.get(cell.address)
        await (running if life is None else self._run(cell, life, Draft(), running))

    def _draft(self, life: Life, turn: Turn) -> Draft:
        envelope = turn.envelope
        assert envelope is not None
        if envelope.identity is not None:
            return Draft(*envelope.identity)
        fired = self.reminders.fired_by(life, envelope) if life.fired else None
        if fired is None:
            return Draft()
        left = advanced(life.reminders, fired, self.reminders.wall_ms())
        return Draft(*identity_of(life.actor, fired), reminders=left, fired=fired)

    async def _run(
        self, cell: Cell, life: Life, draft: Draft, running: Coroutine[Any, Any, Any]
    ) -> Any:
        turn = current_turn.get()
        assert turn is not None
        envelope = turn.envelope
        with self._drafted(cell, life, draft, turn):
            value = await running
            reply = None
            if envelope is not None and envelope.flags & WANTS_REPLY:
                reply = envelope.method.encode_result(value)
            await self._keep(cell, life, self._commit(cell, life, draft, reply))
        return value

    @contextlib.contextmanager
    def _drafted(self, cell: Cell, life: Life, draft: Draft, turn: Turn) -> Iterator[Draft]:
        """Collect what the turn does; if it raises, nothing of it was done."""
        life.draft, turn.outgoing = draft, draft.told
        try:
            yield draft
        except BaseException as error:
            if cell.instance is not None:
                self._roll_back(cell, life)
            if draft.fired is not None:
                self._reminder_failed(cell, life, draft, error)
            raise
        finally:
            life.draft = None

    def _roll_back(self, cell: Cell, life: Life) -> None:
        declared, instance = cell.type, cell.instance
        for name in declared.state_fields:
            instance.__dict__.pop(name, None)
        declared.fill_defaults(instance)
        for name, value in declared.decode_state(life.base).items():
            setattr(instance, name, value)

    # --- commits ------------------------------------------------------------------------------

    def _commit(self, cell: Cell, life: Life, draft: Draft, reply: bytes | None) -> Commit | None:
        floor = self._fleet.floor_of(draft.stream) if draft.stream else 0
        if draft.fired is not None and draft.effects:
            floor = draft.number + 1
        state = cell.type.encode_state(cell.instance)
        return life.commit_of(draft, state, cell.type.durable.schema, reply, floor)

    async def _keep(self, cell: Cell, life: Life, commit: Commit | None) -> None:
        if commit is None:
            return
        try:
            await self.write(cell, life, commit)
        except StoreError as error:
            life.not_committed(commit)
            self.hold(cell, error)
            raise
        life.committed(commit)
        self._send(life, [one.number for one in commit.outgoing])
        if commit.reminders is not None:
            if life.draft is not None and life.draft.fired is not None:
                life.fired.pop(life.draft.fired.name, None)
                life.failures.pop(life.draft.fired.name, None)
            self.reminders.look_at(cell, life)

    async def write(self, cell: Cell, life: Life, commit: Commit) -> None:
        """Hand `commit` to the store, and wait as the actor's mode says."""
        self.commits += 1
        mode = cell.type.durable.mode
        writing = asyncio.ensure_future(
            self.store.commit(commit, "os" if mode == "memory" else mode)
        )
        if writing.done():
            writing.result()
            return
        if mode == "memory":
            self._note(life, writing)
        else:
            life.writing.add(writing)
            writing.add_done_callback(life.writing.discard)
            await wait_for(writing)

    def _note(self, life: Life, writing: asyncio.Future[None]) -> None:
        """Nobody waits for this one."""
        life.writing.add(writing)
        writing.add_done_callback(life.writing.discard)
        writing.add_done_callback(_note_failure)

    def hold(self, cell: Cell, error: StoreError) -> None:
        """The store failed: the actor is claimed again, a little later."""
        wait_s = self._again_s.get(cell.address, AGAIN_FIRST_S)
        self._again_s[cell.address] = min(2 * wait_s, AGAIN_LONGEST_S)
        log.warning("durable_actor_waits", actor=cell.address, error=str(error), wait_s=wait_s)
        if isinstance(error, FencedError):
            wait_s = AGAIN_LONGEST_S
        self._runtime.guardian.hold(cell, wait_s)

    # --- what leaves --------------------------------------------------------------------------

    def _send(self, life: Life, numbers: list[int]) -> None:
        if not numbers:
            return
        if life.stream is None:
            life.stream = self._fleet.open_stream(
                stream_of(life.actor),
                life.sent,
                min(life.outgoing),
                lambda number, _: self._on_settled(life, number),
            )
        for number in numbers:
            one = life.outgoing[number]
            life.stream.send(one.target, one.method, one.payload, one.priority, number)

    def _on_settled(self, life: Life, number: int) -> None:
        life.settle(number)
        if life.is_over and life.is_quiet and self.lives.get(life.actor) is life:
            self.forget(life.actor)
        if life.settled and life not in self._unsettled:
            self._unsettled.add(life)
            self._runtime.loop.call_later(SETTLE_S, self._settle, life)

    def _settle(self, life: Life) -> None:
        self._unsettled.discard(life)
        if life.settled:
            self.store.settle(life.actor, life.fence, life.take_settled())

    # --- reminders ----------------------------------------------------------------------------

    def _on_due(self, actor: str) -> None:
        life, cell = self.lives.get(actor), self._runtime.cells.get(actor)
        if life is None or cell is None or cell.instance is None:
            self._fleet.wake(actor)
        else:
            self.reminders.look_at(cell, life)

    def _reminder_failed(self, cell: Cell, life: Life, draft: Draft, error: BaseException) -> None:
        fired = draft.fired
        assert fired is not None
        if not self.reminders.failed(life, fired, error):
            return
        self._runtime.guardian.dead_letter(life.actor, fired.method, f"a reminder: {error!r}")
        life.reminders = advanced(life.reminders, fired, self.reminders.wall_ms())
        left = tuple(life.reminders.values())
        writing = asyncio.ensure_future(
            self.store.commit(Commit(life.actor, life.fence, reminders=left), "os")
        )
        self._note(life, writing)
        self.reminders.look_at(cell, life)

    def __repr__(self) -> str:
        return f"<Durables {len(self.lives)} live>"


async def wait_for(writing: asyncio.Future[None]) -> None:
    """Wait for the store, whatever is cancelled meanwhile."""
    while not writing.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(writing)
    writing.result()


def _note_failure(writing: asyncio.Future[Any]) -> None:
    if not writing.cancelled() and writing.exception() is not None:
        log.error("not_written", error=str(writing.exception()))
