"""A node: one process's part in the fleet, or a whole fleet inside one process.

Rules:
    The cores meet here and nowhere else. Everything runs on the loop that `start` ran on.
    Without a broker the node is embedded: it hosts every actor itself, and opens no socket.
    With a broker it is a worker if it serves actor types, else a client, which only dials.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import structlog

from denoagents._native.clock import Clock
from denoagents._native.pulse import Watch
from denoagents._native.router import SlotTable
from denoagents._native.runtime import Cell
from denoagents.actor.actor import Actor
from denoagents.actor.settings import Strategy
from denoagents.address import Address
from denoagents.cluster import messages
from denoagents.durability import StateStore
from denoagents.errors import EvictedError, NodeStoppedError, UsageError
from denoagents.link.transport import Transport
from denoagents.node.assembly import assemble
from denoagents.node.attachment import Attachment, Role
from denoagents.node.durable import DurableNode, make_store
from denoagents.node.health import HealthProbe, probe
from denoagents.node.heartbeat import Heartbeat, SimulatedPulseLike, native_pulse
from denoagents.node.pools import Pools
from denoagents.node.rejoining import rejoin
from denoagents.node.settings import NodeSettings
from denoagents.node.spilling import attach_spill
from denoagents.node.statistics import guardian_statistics, node_statistics
from denoagents.node.untyped import UntypedCalls
from denoagents.security.folder import open_keyring

A = TypeVar("A", bound=Actor)
log = structlog.get_logger("denoagents.node")


class Node(UntypedCalls):
    """Hosts actors, or reaches them; an async context manager."""

    def __init__(  # noqa: PLR0913 - each has a default; the last four are for the simulator
        self,
        *,
        broker: str | None = None,
        name: str | None = None,
        serve: Sequence[type[Actor]] = (),
        group: str = "default",
        bind: str = "tcp://127.0.0.1:0",
        weight: int = 1,
        settings: NodeSettings | None = None,
        clock: Clock | None = None,
        transport: Transport | None = None,
        pulse: SimulatedPulseLike | None = None,
        incarnation: int = 0,
        store: StateStore | str | Path | None = None,
    ) -> None:
        """`broker` is an address (`tcp://127.0.0.1:7400`); `serve` makes the node a worker.

        `store` is where durable actors are kept: a file that the workers of a host share.
        """
        if serve and broker is None:
            raise UsageError(
                "serve needs a broker; an embedded node hosts every actor type by itself"
            )
        self.settings = settings or NodeSettings()
        self.role = "embedded" if broker is None else "worker" if serve else "client"
        self.incarnation = incarnation or secrets.randbits(62) + 1
        self._keyring = open_keyring(self.settings.security, self.role, name or "")
        first = self.role if self._keyring is None else self._keyring.key.name
        self.name = name or f"{first}-{os.getpid()}-{self.incarnation % 0xFFFF:04x}"
        self._broker, self._bind, self._group, self._weight = broker, bind, group, weight
        self._serve, self._clock, self._transport = tuple(serve), clock or Clock(), transport
        self._store, self._given_name = make_store(store), name
        self._state = "new"
        self._fleet: Attachment | None = None
        self._heartbeat = self._make_heartbeat(pulse)
        self._rejoining: asyncio.Task[None] | None = None

    def _make_heartbeat(
        self, pulse: SimulatedPulseLike | None, watch: Watch | None = None
    ) -> Heartbeat:
        return Heartbeat(
            pulse or native_pulse(self.settings, watch),
            self.settings.tick_s,
            on_evicted=self.evicted,
            on_unknown=self._unknown_to_broker,
            on_answered=lambda: None if self._fleet is None else self._fleet.membership.hurry(),
            keyring=self._keyring,
        )

    # --- life ---------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Begin; with a broker, returns when it has admitted this node.

        Raises:
            UnreachableError: no broker answers.
            JoinRefusedError: it does not admit this node.
            HandshakeError: the two do not fit together (version, cluster).
        """
        if self._state != "new":
            raise UsageError(f"this node is {self._state} already; make a new one")
        self._state = "starting"
        self._started_ns = self._clock.now_ns()
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._build()
        try:
            await self.durable.open(is_alone=self._broker is None)
            if self._broker is not None:
                self._fleet = self._attach(self._broker)
                await self._fleet.join()
        except BaseException:
            await self.close(drain=False)
            raise
        if self._state == "starting":
            self._state = "running"
        self._guardian.start()
        await self.durable.journal.open()

    def _build(self) -> None:
        watch = self._heartbeat.pulse.watch
        parts = assemble(self, self.settings, self._loop, self._clock, watch, self.incarnation)
        self.runtime, self.router, self._directory = parts.runtime, parts.router, parts.directory
        self._guardian, self._refs = parts.guardian, parts.refs
        self.durable = DurableNode(
            self._store, self._given_name, parts.guardian, self.router, self._clock
        )
        self._directory.journal = self.durable.journal.tell
        self._spill = attach_spill(self, self.settings.spill, cleans=self._transport is None)
        self._pools = Pools(self._refs, self._pool_weights)
        for cls in (*self._serve, HealthProbe):
            self.durable.check(self._refs.type_of(cls))
            self._refs.host(cls)
        if self._broker is None:
            self._embedded = SlotTable("embedded", self.router.here, True)
            self.router.pinned[self.name] = self.router.here
            self._heartbeat.start(self.runtime, None, needs_lease=False)

    def _attach(self, broker: str) -> Attachment:
        types = [self._refs.type_of(cls) for cls in self._serve]
        role = Role(
            name=self.name,
            role=self.role,
            incarnation=self.incarnation,
            broker=broker,
            bind=self._bind,
            group=self._group,
            weight=self._weight,
            signatures={declared.name: declared.signature() for declared in types},
            store=self.durable.store.identity if self.durable.is_given else "",
            fence=self.durable.highest,
            keyring=self._keyring,
        )
        edge = None if self._fleet is None else self._fleet.edge
        fleet = Attachment(
            self,
            role,
            self.settings,
            self.router,
            self._guardian,
            self._clock,
            self._transport,
            edge,
        )
        self.durable.fence_at = fleet.placement.fence_of
        fleet.placement.on_activated = self.durable.activated
        self._directory.connect(
            fleet.peers.dial, fleet.control, fleet.unknown_type, fleet.quarantine, self.name
        )
        return fleet

    async def close(self, drain: bool = True) -> bool:
        """End: with `drain`, finish what waits and hand the actors over first; without, now.

        True when nothing was cut short.
        """
        if self._state in {"closed", "closing", "new"}:
            self._state = "closed" if self._state == "new" else self._state
            return True
        was, self._state = self._state, "closing"
        if self._rejoining is not None:
            self._rejoining.cancel()
            await asyncio.wait([self._rejoining])
        is_done = drain and was == "running" and await self._drain()
        self.runtime.close()
        for cell in tuple(self.runtime.cells.values()):
            self.runtime.discard(cell, NodeStoppedError(f"the node of {cell.address} has stopped"))
            if cell.turn is not None:
                self.runtime.cancel_turn(cell.turn)
        await asyncio.sleep(0)
        self._guardian.close()
        await self._directory.quarantined.close()
        if self._fleet is not None:
            await self._fleet.close(1.0 if drain else 0.2, says_goodbye=was != "evicted")
        await self.durable.close()
        self._heartbeat.stop()
        if self._spill is not None:
            self._spill.close()
        self._state = "closed"
        if not self._ended.done():
            self._ended.set_result("closed")
        return is_done

    async def _drain(self) -> bool:
        books, fleet = self.runtime.books, self._fleet
        deadline = self._loop.time() + self.settings.drain_timeout_s
        if fleet is not None and fleet.membership.is_joined:
            self._heartbeat.pulse.is_leaving = True
            fleet.begin_to_drain()
        while self._loop.time() < deadline:
            open_ones = books.running + books.waiting + books.retained + books.reliable_outstanding
            if not open_ones and (fleet is None or await fleet.is_drained(deadline)):
                return True
            self.router.flush()
            await asyncio.sleep(0.005)
        return False

    async def wait_ended(self) -> str:
        """Returns, when this node has ended, why: `closed`, `drained`, or how it was evicted."""
        return await asyncio.shield(self._ended)

    @property
    def state(self) -> str:
        """new, starting, running, rejoining, evicted, closing or closed."""
        return self._state

    @property
    def endpoint(self) -> str | None:
        """Where this node listens; None for clients and embedded nodes."""
        return None if self._fleet is None else self._fleet.endpoint

    # --- what users call ------------------------------------------------------------------------

    def actor(self, cls: type[A], key: str) -> A:
        """A ref to the actor of type `cls` named `key`; to type checkers it is a `cls`."""
        self._know(cls)
        made: Any = self._refs.root(cls, key)
        return made  # type: ignore[no-any-return]

    def pool(
        self,
        cls: type[A],
        name: str = "default",
        *,
        strategy: Strategy = "round_robin",
        size: int = 1,
    ) -> A:
        """A ref to a pool of interchangeable actors, `size` on each worker that hosts the type."""
        self._know(cls)
        self.durable.check_pool(self._refs.type_of(cls))
        made: Any = self._pools.ref(cls, name, strategy, size)
        return made  # type: ignore[no-any-return]

    async def control(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the broker: status, get, describe, set, drain, types."""
        if self._fleet is None:
            raise UsageError("an embedded node has no broker to ask")
        return await self._fleet.membership.request(
            lambda number: messages.Operate(id=number, verb=verb, body=body or {})
        )

    def statistics(self) -> dict[str, Any]:
        """What this node has, does and has counted; plain values."""
        return node_statistics(self)

    @property
    def quarantined(self) -> tuple[messages.Quarantined, ...]:
        """Messages that were given up and that this node keeps itself: an embedded one does."""
        return tuple(self._directory.quarantined.kept.values())

    @property
    def uptime_ns(self) -> int:
        """Since `start`."""
        return self._clock.now_ns() - self._started_ns

    @property
    def lag_ns(self) -> int:
        """How late the loop's newest tick was."""
        return self._heartbeat.pulse.lag_ns

    def parts(self) -> dict[str, Any]:
        """What this node's rooms say (for the statistics)."""
        fleet = {"links": []} if self._fleet is None else self._fleet.statistics()
        return {
            **guardian_statistics(self._guardian),
            "pools": self._pools.statistics(),
            "forwarded": self._directory.forwarded,
            "durable": self.durable.statistics(),
            "quarantine": self._directory.quarantined.statistics(),
            **fleet,
        }

    def _check_running(self) -> None:
        if self._state not in {"running", "starting", "rejoining"}:
            if self._state == "evicted":
                raise EvictedError("the fleet declared this node over; make a new one")
            raise NodeStoppedError(f"this node is {self._state}; use it inside `async with`")

    def _know(self, cls: type[Actor]) -> None:
        self._check_running()
        if self._fleet is None:
            declared = self._refs.type_of(cls)
            if declared.name not in self.router.tables:
                self.durable.check(declared)
                self._refs.host(cls)
                self.router.tables[declared.name] = self._embedded
                self.durable.hosted(declared)

    # --- what the rooms below call --------------------------------------------------------------

    @property
    def is_ending(self) -> bool:
        """Closing, closed or evicted."""
        return self._state in {"closed", "closing", "evicted"}

    def joined(self) -> None:
        """The broker admitted this node."""
        if not self._heartbeat.is_started:
            self._heartbeat.start(self.runtime, self._broker, needs_lease=self.role == "worker")

    async def probe(self) -> dict[str, Any]:
        """The deep health probe."""
        self.router.pinned.setdefault(self.name, self.router.here)
        made: Any = self._refs.ref(
            HealthProbe, Address("HealthProbe", f"~probe@{self.name}#0").text
        )
        return await probe(made, self._heartbeat.pulse.lag_ns, self._clock)

    def drain_requested(self, reason: str) -> None:
        """The broker wants this worker to end."""
        log.info("drain_requested", reason=reason)
        if not self._ended.done():
            self._ended.set_result("drained")

    def evicted(self, reason: str) -> None:
        """The fleet goes on without this incarnation: start nothing more."""
        if self.is_ending or self._state == "rejoining":
            return
        log.error("evicted", node=self.name, reason=reason)
        if self.role == "client" and self._transport is None:
            self._state = "rejoining"
            self._rejoining = self._loop.create_task(rejoin(self, reason))
            return
        self._state = "evicted"
        self.runtime.stopped = True
        if not self._ended.done():
            self._ended.set_result(f"evicted: {reason}")

    async def begin_again(self, reason: str) -> None:
        """Join as a new incarnation; what is asked meanwhile waits."""
        self._directory.unknown_type = lambda _: None
        if self._fleet is not None:
            await self._fleet.abandon(reason)
        self._heartbeat.stop()
        self._heartbeat = self._make_heartbeat(None, self.runtime.watch)
        self.incarnation = self.runtime.incarnation = secrets.randbits(62) + 1
        self._fleet = self._attach(self._broker or "")
        await self._fleet.join()
        self._state = "running"

    def _unknown_to_broker(self) -> None:
        if self._fleet is not None and self._fleet.membership.is_joined:
            self._fleet.membership.join_again()

    def _pool_weights(self, type_name: str, pool: str) -> dict[str, float]:
        if self._fleet is None:
            return {self.name: 1.0}
        return self._fleet.pool_weights(type_name, pool)

    def has_space(self, cell: Cell) -> None:
        """A mailbox has room again (for the guardian)."""
        if self._fleet is not None:
            self._fleet.has_space(cell)

    def turn_ended(self, cell: Cell) -> None:
        """A leaving actor's turn has ended (for the guardian)."""
        if self._fleet is not None:
            self._fleet.placement.turn_ended(cell)

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.role} {self._state}>"
