"""A node's durable actors: their store, their fences, and waking those that have something to do.

Rules:
    The store is open before the node joins: its identity and its highest fence travel with the
    request. Without a broker the fence is a number that rises with each start of a node.
    An actor whose slot becomes active here is woken if it has reminders or unsent messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from denoagents._native.clock import Clock
from denoagents._native.delivery import Stream
from denoagents._native.router import Router
from denoagents._native.runtime import Cell
from denoagents.actor.declaration import ActorType
from denoagents.actor.durables import Durables
from denoagents.actor.guardian import Guardian
from denoagents.actor.reminders import Reminders, wall_clock
from denoagents.durability import JOURNAL, StateStore
from denoagents.errors import ConfigurationError, DenoagentsError, StoreError, UsageError
from denoagents.node.journal import Journal
from denoagents.store.memory_state_store import MemoryStateStore
from denoagents.store.state_store import SqliteStateStore

log = structlog.get_logger("denoagents.node")

WAKE_AGAIN_S = 1.0


class _PatientStream:
    """A stream of a node without a broker: messages wait until their target's type is hosted."""

    def __init__(self, stream: Stream, node: DurableNode) -> None:
        self._stream, self._node = stream, node
        self._is_withdrawn = False

    @property
    def on_settled(self) -> Any:
        return self._stream.on_settled

    @on_settled.setter
    def on_settled(self, called: Any) -> None:
        self._stream.on_settled = called

    def send(
        self, address: str, method: Any, payload: bytes, priority: int = 1, number: int = 0
    ) -> None:
        sending = partial(self._send, address, method, payload, priority, number)
        type_name = address.partition("/")[0]
        if type_name in self._node.router.tables:
            sending()
        else:
            self._node.unhosted.setdefault(type_name, []).append(sending)

    def _send(self, *message: Any) -> None:
        if not self._is_withdrawn:
            self._stream.send(*message)

    def withdraw(self) -> None:
        self._is_withdrawn = True
        self._stream.withdraw()


def make_store(store: StateStore | str | Path | None) -> StateStore | None:
    """The store that a node was given, as a path or as it is."""
    return SqliteStateStore(store) if isinstance(store, str | Path) else store


class DurableNode:
    """What a node does for its durable actors."""

    def __init__(
        self,
        store: StateStore | None,
        name: str | None,
        guardian: Guardian,
        router: Router,
        clock: Clock,
    ) -> None:
        """`name` is None for a node whose next life has another one."""
        self.is_given = store is not None
        self.store: StateStore = MemoryStateStore() if store is None else store
        self._guardian, self.router = guardian, router
        self.fence, self.highest = 0, 0
        self.fence_at: Callable[[Cell], int] = lambda _: self.fence
        self.durables = Durables(
            self.store, router.runtime, self, Reminders(router.runtime, wall_clock(clock))
        )
        guardian.durables = self.durables
        self.journal = Journal(name or "", store if name else None, self.open_stream)
        self._waking: asyncio.Task[None] | None = None
        self.unhosted: dict[str, list[Callable[[], object]]] = {}

    # --- life ---------------------------------------------------------------------------------

    async def open(self, *, is_alone: bool) -> None:
        """Open the store; a node without a broker takes its fence from there."""
        await self.store.open()
        self.highest = await self.store.highest_fence()
        if is_alone:
            self.fence = await self.store.next_fence()

    async def close(self) -> None:
        """Let go of the actors and of the store."""
        if self._waking is not None:
            self._waking.cancel()
            await asyncio.wait([self._waking])
        self.journal.close()
        await self.durables.close()
        await self.store.close()

    def check(self, declared: ActorType) -> None:
        """Raise `ConfigurationError` if the type needs a store and there is none."""
        if declared.durable is None or self.is_given or declared.durable.mode == "memory":
            return
        raise ConfigurationError(
            f"{declared.name} is durable (mode {declared.durable.mode!r}) and this node has no "
            "store; write Node(store='state.db', …), or @durable(mode='memory') for state that "
            "ends with the process"
        )

    def check_pool(self, declared: ActorType) -> None:
        """Raise `UsageError` if a pool cannot have members of this type."""
        if declared.durable is not None:
            raise UsageError(
                f"{declared.name} is durable: its actors are named by type and key, so that they "
                "can be found again, and cannot be a pool's members"
            )

    # --- what durable actors ask of their node ------------------------------------------------

    def fence_of(self, cell: Cell) -> int:
        """The fence of the cell's slot."""
        return self.fence_at(cell)

    def floor_of(self, stream: int) -> int:
        """All numbers of a sender's stream below are settled there."""
        floor: int = self.router.runtime.windows.floor(stream)
        return floor

    def open_stream(
        self, stream: int, sent: int, floor: int, on_settled: Callable[[int, object], None]
    ) -> Any:
        """A stream of tells that goes on after `sent`."""
        opened = Stream(self.router, stream, sent, on_settled)
        opened.resume(sent, floor)
        return _PatientStream(opened, self) if self.fence else opened

    def hosted(self, declared: ActorType) -> None:
        """A node without a broker hosts this type from now on."""
        for send in self.unhosted.pop(declared.name, ()):
            send()
        if declared.durable is not None:
            self.activated()

    def wake(self, address: str) -> None:
        """Let the actor start, if it belongs here."""
        type_name, _, _ = address.partition("/")
        table = self.router.tables.get(type_name)
        if type_name not in self.router.types or table is None:
            return
        if not table.active[self.router.slot_at(address)]:
            return
        try:
            cell = self.router.local_cell(address)
        except DenoagentsError as error:
            log.warning("cannot_wake", actor=address, error=str(error))
            return
        if not self.router.runtime.wake(cell):
            self.router.runtime.loop.call_later(WAKE_AGAIN_S, self.wake, address)

    # --- waking -------------------------------------------------------------------------------

    def activated(self) -> None:
        """Slots became active here, or a type is hosted from now on."""
        if self._waking is None or self._waking.done():
            self._waking = self.router.runtime.loop.create_task(self._wake_all())

    async def _wake_all(self) -> None:
        try:
            found = await self.store.to_wake()
        except StoreError as error:
            log.warning("cannot_wake", error=str(error))
            return
        for one in found:
            if one.actor.startswith(JOURNAL):
                continue
            if one.due_ms:
                self.durables.reminders.note(one.actor, one.due_ms)
            else:
                self.wake(one.actor)

    def statistics(self) -> dict[str, Any]:
        """What it keeps, and where."""
        return {
            "store": self.store.identity if self.is_given else "",
            "actors": len(self.durables.lives),
            "commits": self.durables.commits,
        }
