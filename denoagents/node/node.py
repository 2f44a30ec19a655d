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
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self, TypeVar

import structlog
from xxhash import xxh3_64_intdigest

from denoagents._native import placement as native_placement
from denoagents._native.call import Ref, bound
from denoagents._native.clock import Clock
from denoagents._native.peer import Peer
from denoagents._native.pulse import EVICTED, UNKNOWN, Pulse
from denoagents._native.router import Router, SlotTable
from denoagents._native.runtime import Cell, Runtime
from denoagents.actor.actor import Actor
from denoagents.actor.guardian import Guardian
from denoagents.actor.reference import Refs, level
from denoagents.actor.stream import StreamCall
from denoagents.actor.untyped import PlainMethod
from denoagents.address import Address
from denoagents.cluster import messages
from denoagents.cluster.view import View
from denoagents.envelope import SLOTS
from denoagents.errors import EvictedError, NodeStoppedError, UnknownActorTypeError, UsageError, nearest
from denoagents.link.connection import ZeroMQTransport
from denoagents.link.handshake import Identity
from denoagents.link.mesh import Mesh
from denoagents.link.transport import Transport
from denoagents.node.blocked import BlockedTurns
from denoagents.node.directory import Directory
from denoagents.node.edge import Edge
from denoagents.node.health import HealthProbe, probe
from denoagents.node.membership import Membership, this_host
from denoagents.node.peers import MeshAdapter, Peers
from denoagents.node.placement import Placement
from denoagents.node.pools import Pool, Strategy
from denoagents.node.settings import NodeSettings
from denoagents.node.statistics import guardian_statistics, link_statistics, node_statistics

A = TypeVar("A", bound=Actor)
log = structlog.get_logger("denoagents.node")


class Node:
    """Hosts actors, or reaches them; an async context manager."""

    def __init__(
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
        pulse: Any = None,
    ) -> None:
        """`broker` is an address such as `tcp://127.0.0.1:7400`; `clock`, `transport` and `pulse` are for the simulator."""
        if serve and broker is None:
            raise UsageError("serve needs a broker; an embedded node hosts every actor type by itself")
        self.settings = settings or NodeSettings()
        self.role = "embedded" if broker is None else "worker" if serve else "client"
        self.incarnation = secrets.randbits(62) + 1
        self.name = name or f"{self.role}-{os.getpid()}-{self.incarnation % 0xFFFF:04x}"
        self.endpoint: str | None = None
        self._broker_endpoint, self._bind, self._group, self._weight = broker, bind, group, weight
        self._serve = tuple(serve)
        self._clock = clock or Clock()
        self._transport = transport
        self.pulse: Any = pulse
        self._pools: dict[str, Pool] = {}
        self._live_settings: dict[str, dict[str, Any]] = {}
        self._state = "new"
        self._ticker: asyncio.TimerHandle | None = None
        self._blocked: BlockedTurns | None = None
        self._mesh: Mesh | None = None
        self._membership: Membership | None = None
        self._placement: Placement | None = None
        self._joined_again_ns = 0

    # --- life ---------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Begin; with a broker, returns when it has admitted this node.

        Raises:
            UnreachableError: no broker answers. JoinRefusedError: it does not admit this node.
        """
        if self._state != "new":
            raise UsageError(f"this node is {self._state} already; make a new one")
        self._state = "starting"
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._drained: asyncio.Future[None] = self._loop.create_future()
        self._build()
        try:
            if self._broker_endpoint is not None:
                await self._join(self._broker_endpoint)
        except BaseException:
            await self.close(drain=False)
            raise
        if self._state == "starting":
            self._state = "running"
        self._guardian.start()

    def _build(self) -> None:
        settings = self.settings
        if self.pulse is None:
            times = settings.cluster
            self.pulse = Pulse(
                beat_ns=int(times.beat_every_s * 1e9),
                stop_after_ns=int(times.stop_after_s * 1e9),
                replace_after_ns=int(times.replace_after_s * 1e9),
                block_limit_ns=int(times.block_limit_s * 1e9),
                tick_ns=int(settings.tick_s * 1e9),
                ends_process=settings.ends_blocked_process,
            )
        self._guardian = Guardian(settings.actor, self)
        self.runtime = Runtime(self._loop, self._clock, self.pulse.watch, self.incarnation, self._guardian)
        self.runtime.mailbox_limit = settings.actor.mailbox_limit
        self.runtime.mailbox_reserve = settings.actor.mailbox_reserve
        directory = Directory(
            self._guardian, dial=self._dial, control=self._control, unknown_type=self._unknown_type
        )
        self.router = Router(self.runtime, slot_of_text, directory)
        self.router.park_limit = settings.actor.park_limit
        self.router.max_payload = settings.link.max_payload_bytes - 4096
        self.router.stream_class = StreamCall
        self.router.codec = settings.actor.check_local_calls or "PYTEST_VERSION" in os.environ
        self.router.timeouts_ns = tuple(
            int(seconds * 1e9)
            for seconds in (
                settings.actor.timeout_high_s, settings.actor.timeout_normal_s, settings.actor.timeout_low_s
            )
        )
        self._refs = Refs(self.router)
        self._guardian.attach(self.runtime, self.router, self._refs)
        directory.attach(self.router, self._loop)
        self._directory = directory
        for cls in (*self._serve, HealthProbe):
            self._host(cls)
        if self._broker_endpoint is None:
            self._embedded = SlotTable("embedded", self.router.here, True)
            self._start_pulse(None)

    def _host(self, cls: type[Actor]) -> None:
        declared = self._refs.type_of(cls)
        other = self.router.types.get(declared.name)
        if other is not None and other.cls is not cls:
            raise UsageError(
                f"two actor classes are called {declared.name}: {other.cls.__module__} and {cls.__module__}; "
                "give one a `type_name: ClassVar[str]`"
            )
        self.router.types[declared.name] = declared

    def _start_pulse(self, endpoint: str | None) -> None:
        if isinstance(self.pulse, Pulse):
            self.pulse.start(endpoint, self.incarnation)
            self._blocked = BlockedTurns(self.pulse)
            self._blocked.start()
            if endpoint is not None and self.role == "worker":
                self.runtime.lend(self.pulse)
        else:
            self.pulse.start(self, endpoint)
        self._tick()

    def _tick(self) -> None:
        flags = self.pulse.tick()
        if flags & EVICTED:
            self.evicted("the broker answers this incarnation's heartbeat with: evicted")
            return
        if flags & UNKNOWN and self._membership is not None and self._membership.is_joined:
            now_ns = self._clock.now_ns()
            if now_ns - self._joined_again_ns > 1_000_000_000:
                self._joined_again_ns = now_ns
                self._membership.join_again()
        self._ticker = self._loop.call_later(self.settings.tick_s, self._tick)

    async def _join(self, endpoint: str) -> None:
        self._peers = Peers(self.router, self._clock, self)
        identity = Identity(self.name, self.role, self.incarnation, self.settings.cluster_name)
        transport = self._transport or ZeroMQTransport(self.settings.link)
        self._mesh = self._peers.mesh = Mesh(
            identity=identity, events=MeshAdapter(self._peers), transport=transport,
            clock=self._clock, settings=self.settings.link,
        )
        self.endpoint = await self._mesh.start(self._bind if self.role == "worker" else None)
        view = View(
            incarnation=self.incarnation,
            group=self._group if self.role == "worker" else None,
            assign=native_placement.assign,
        )
        self._placement = Placement(
            view, self.router, self._guardian, self._peers,
            to_broker=self._to_broker, on_evicted=self.evicted, on_drained=self._on_drained,
        )
        self._membership = Membership(self, self._placement, self._loop)
        if self.role == "client":
            self.router.admission = self._edge = Edge(self.settings.admission, self._clock, self._loop)
        self._broker_peer = self._peers.connect(endpoint, "broker")
        await self._membership.admitted(self.settings.join_timeout_s, endpoint)

    async def close(self, drain: bool = True) -> None:
        """End: with `drain`, finish what waits and hand the actors over first; without, now."""
        if self._state in ("closed", "closing", "new"):
            self._state = "closed"
            return
        was, self._state = self._state, "closing"
        if drain and was == "running":
            await self._drain()
        self.runtime.close()
        for cell in list(self.runtime.cells.values()):
            self.runtime.discard(cell, NodeStoppedError(f"the node of {cell.address} has stopped"))
            if cell.turn is not None:
                self.runtime.cancel_turn(cell.turn)
        await asyncio.sleep(0)
        self._guardian.close()
        if self._membership is not None:
            if self._membership.is_joined and was != "evicted":
                self._membership.send(messages.Leave(reason="closed"))
                self.router.flush()
            await self._membership.close()
        if self.router.admission is not None:
            self._edge.close()
        if self._mesh is not None:
            await self._mesh.close(1.0 if drain else 0.2)
        self._stop_pulse()
        self._state = "closed"
        if not self._ended.done():
            self._ended.set_result("closed")

    def _stop_pulse(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        self.pulse.stop()
        if self._blocked is not None:
            self._blocked.join()

    async def _drain(self) -> None:
        deadline = self._loop.time() + self.settings.drain_timeout_s
        if self.role == "worker" and self._membership is not None and self._membership.is_joined:
            self.pulse.is_leaving = True
            self._membership.send(messages.Leave(drain=True))
            self.router.flush()
            await asyncio.wait([self._drained], timeout=self.settings.drain_timeout_s)
        while self.runtime.books.running + self.runtime.books.waiting and self._loop.time() < deadline:
            await asyncio.sleep(0.005)
        self.router.flush()

    async def wait_ended(self) -> str:
        """Returns, when this node has ended, why: `closed`, `drained`, or how it was evicted."""
        return await asyncio.shield(self._ended)

    # --- what users call ------------------------------------------------------------------------

    def actor(self, cls: type[A], key: str) -> A:
        """A ref to the actor of type `cls` named `key`; to type checkers it is a `cls`."""
        self._check_running()
        if self.role == "embedded":
            self._know(cls)
        made: Any = self._refs.root(cls, key)
        return made  # type: ignore[no-any-return]

    def pool(
        self, cls: type[A], name: str = "default", *, strategy: Strategy = "round_robin", size: int = 1,
    ) -> A:
        """A ref to a pool of interchangeable actors, `size` on each worker that hosts the type."""
        self._check_running()
        if self.role == "embedded":
            self._know(cls)
        declared = self._refs.type_of(cls)
        full_name = f"{declared.name}/{name}"
        pool = self._pools.get(full_name)
        if pool is None:
            pool = self._pools[full_name] = Pool(
                name, size, strategy,
                workers=lambda: self._pool_workers(declared.name, name),
                make_ref=lambda worker, number: self._refs.ref(
                    cls, Address(declared.name, f"~{name}@{worker}#{number}").text
                ),
            )
        elif pool.strategy != strategy or pool.size != size:
            raise UsageError(f"pool {full_name} exists with strategy={pool.strategy!r}, size={pool.size}")
        made: Any = self._refs.ref(cls, Address(declared.name, f"~{name}@any#0").text, pool.choose)
        return made  # type: ignore[no-any-return]

    def _pool_workers(self, type_name: str, pool: str) -> dict[str, float]:
        if self._placement is None:
            self.router.pinned[self.name] = self.router.here
            return {self.name: 1.0}
        view = self._placement.view
        live = view.record.settings.get(f"pool/{pool}", {})
        group = view.group_of(type_name)
        return {
            member.name: float(live.get(f"weight.{member.name}", 1.0))
            for member in view.members()
            if member.group == group and member.state in ("placed", "member")
        }

    async def ask(
        self, address: str, method: str, *args: Any, timeout_s: float | None = None, priority: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Ask an actor by address, with plain values; for tools that do not have its class."""
        return await self._by_address(address, method, timeout_s, priority)(*args, **kwargs)

    async def tell(self, address: str, method: str, *args: Any, priority: str | None = None, **kwargs: Any) -> None:
        """Send an actor a message by address, with plain values."""
        from denoagents._native.call import tell as send

        await send(self._by_address(address, method, None, priority), args, kwargs)

    def stream(self, address: str, method: str, *args: Any, timeout_s: float | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Stream an actor's reply by address, with plain values."""
        target = self._by_address(address, method, timeout_s, None, is_stream=True)
        return StreamCall(target, args, kwargs)

    def _by_address(
        self, address: str, method: str, timeout_s: float | None, priority: str | None, *, is_stream: bool = False
    ) -> Any:
        self._check_running()
        text = Address.parse(address).text
        declared = self.router.types.get(text.partition("/")[0])
        ref = Ref(
            self.router, text, declared,
            0 if timeout_s is None else int(timeout_s * 1e9), -1 if priority is None else level(priority),
        )
        if declared is not None:
            return bound(ref, declared.method(method))
        return bound(ref, PlainMethod(method, is_stream=is_stream))

    async def control(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the broker: status, get, describe, set, drain, types."""
        if self._membership is None:
            raise UsageError("an embedded node has no broker to ask")
        return await self._membership.request(
            lambda number: messages.Operate(id=number, verb=verb, body=body or {})
        )

    def statistics(self) -> dict[str, Any]:
        """What this node has, does and has counted; plain values."""
        return node_statistics(self)

    def parts_statistics(self) -> dict[str, Any]:
        """What the rooms of this node say of themselves."""
        found: dict[str, Any] = guardian_statistics(self._guardian)
        found["links"] = [] if self._mesh is None else link_statistics(self._mesh)
        found["pools"] = [pool.statistics() for pool in self._pools.values()]
        if self.router.admission is not None:
            found["admission"] = self._edge.statistics()
        if self._placement is not None:
            found["version"] = self._placement.view.version
            found["settled_version"] = self._placement.view.settled_version
        return found

    def _check_running(self) -> None:
        if self._state not in ("running", "starting"):
            if self._state == "evicted":
                raise EvictedError("the fleet declared this node over; make a new one")
            raise NodeStoppedError(f"this node is {self._state}; use it inside `async with`")

    def _know(self, cls: type[Actor]) -> None:
        declared = self._refs.type_of(cls)
        if declared.name not in self.router.tables:
            self._host(cls)
            self.router.tables[declared.name] = self._embedded

    # --- what the rooms below call --------------------------------------------------------------

    def join_request(self) -> messages.Join:
        """Who this node is, and what it holds (for Membership)."""
        host, pid = this_host()
        types = {self._refs.type_of(cls).name: self._refs.type_of(cls).signature() for cls in self._serve}
        view = self._placement.view if self._placement is not None else None
        return messages.Join(
            name=self.name, incarnation=self.incarnation, role="worker" if self.role == "worker" else "client",
            endpoint=self.endpoint or "", group=self._group if self.role == "worker" else "",
            weight=self._weight, types=types, host=host, pid=pid,
            version=view.acknowledged if view else 0,
            holding=view.holding() if view else {},
            lingering=view.lingering() if view else [],
            over=sorted(view.over) if view else [],
        )

    def joined(self, message: messages.Joined) -> None:
        """The broker admitted this node (for Membership)."""
        del message
        if self._ticker is None:
            self._start_pulse(self._broker_endpoint)

    async def probe(self) -> dict[str, Any]:
        """The deep health probe (for Membership)."""
        self.router.pinned.setdefault(self.name, self.router.here)
        made: Any = self._refs.ref(HealthProbe, Address("HealthProbe", f"~probe@{self.name}#0").text)
        return await probe(made, self.pulse.lag_ns)

    def drain_requested(self, reason: str) -> None:
        """The broker wants this worker to end (for Membership)."""
        log.info("drain requested", reason=reason)
        if not self._ended.done():
            self._ended.set_result("drained")

    def evicted(self, reason: str) -> None:
        """The fleet goes on without this incarnation: start nothing more."""
        if self._state in ("evicted", "closed", "closing"):
            return
        log.error("evicted", node=self.name, reason=reason)
        self._state = "evicted"
        self.runtime.stopped = True
        if not self._ended.done():
            self._ended.set_result(f"evicted: {reason}")

    def _on_drained(self) -> None:
        if not self._drained.done():
            self._drained.set_result(None)

    def _to_broker(self, message: messages.Message) -> None:
        if self._membership is not None:
            self._membership.send(message)

    def _dial(self, peer: Peer) -> None:
        self._peers.dial(peer)

    def _control(self, peer: Peer, payload: bytes) -> None:
        if self._membership is not None:
            self._membership.control(peer, payload)

    def _unknown_type(self, type_name: str) -> None:
        """No table for a type: in a fleet that hosts other types it is a mistake, else it may yet come."""
        if self._placement is None:
            raise UnknownActorTypeError(
                f"no actor type {type_name!r} is known here.{nearest(type_name, self.router.types)}"
            )
        known = [name for group in self._placement.view.record.groups.values() for name in group.types]
        if known:
            raise UnknownActorTypeError(
                f"no worker hosts actors of type {type_name!r}.{nearest(type_name, known)} "
                f"Hosted are: {', '.join(sorted(known)[:20])}"
            )

    def has_space(self, cell: Cell) -> None:
        """A mailbox has room again (for the guardian)."""
        if self._mesh is not None:
            self._peers.has_space(cell)

    def turn_ended(self, cell: Cell) -> None:
        """A leaving actor's turn has ended (for the guardian)."""
        if self._placement is not None:
            self._placement.turn_ended(cell)

    def peer_up(self, peer: Peer, is_new: bool) -> None:
        """A link stands (for Peers)."""
        if self._membership is not None and peer is self._broker_peer:
            self._membership.link_up(peer)

    def peer_lost(self, peer: Peer, link: Any, reason: str) -> None:
        """A link is over (for Peers)."""
        if self._membership is None or peer is not self._broker_peer:
            return
        self._membership.link_lost()
        if link.error is not None and not self._membership.is_joined:
            self._membership.fail(link.error)
        elif self._state not in ("closed", "closing", "evicted"):
            self._peers.dial(peer)

    def datagram(self, route: bytes, packet: bytes) -> None:
        """Nodes get no heartbeats (for Peers)."""

    @property
    def state(self) -> str:
        """new, starting, running, evicted, closing or closed."""
        return self._state

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.role} {self._state}>"


def slot_of_text(type_name: str, key: str) -> int:
    """The slot of a root address whose parts are escaped already."""
    return xxh3_64_intdigest(f"{type_name}/{key}".encode()) % SLOTS


