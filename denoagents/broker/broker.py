"""The broker's process: wires the pure fleet to the mesh, the lease store and the clock.

Rules: everything runs on the loop, but `store.save`, which runs in one thread if it may block. The
broker dials nobody; members keep one link to it. A message to a member without a link is dropped:
when its link is back, its join gets the version in force.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import deque
from random import Random
from typing import Any, Final, Self

import structlog

from denoagents._native.clock import Clock
from denoagents._native.placement import assign
from denoagents.broker.answering import Answering
from denoagents.broker.health import Prober
from denoagents.broker.keys import Keykeeper
from denoagents.broker.operations import Operations
from denoagents.broker.quarantine import Quarantine
from denoagents.broker.records import decode_records, encode_record
from denoagents.broker.requests import Requests
from denoagents.broker.saving import Saving
from denoagents.cluster import messages, orders
from denoagents.cluster.beat import decode_beat, encode_answer
from denoagents.cluster.fleet import Fleet
from denoagents.cluster.messages import Message
from denoagents.cluster.settings import ClusterSettings
from denoagents.errors import NodeStoppedError, ProtocolError
from denoagents.link.connection import ZeroMQTransport
from denoagents.link.handshake import Identity
from denoagents.link.link import Link
from denoagents.link.mesh import Mesh
from denoagents.link.settings import LinkSettings
from denoagents.link.transport import Transport
from denoagents.security.settings import SecuritySettings
from denoagents.store.lease_store import LeaseStore, MemoryLeaseStore
from denoagents.store.quarantine_store import beside

EVENTS_KEPT: Final = 200
Body = dict[str, Any]
log = structlog.get_logger("denoagents.broker")


class Broker:
    """Admits members, publishes placement, watches over everyone; no message passes it."""

    def __init__(  # noqa: PLR0913 - each has a default, most are for tests
        self,
        *,
        bind: str = "tcp://127.0.0.1:7400",
        cluster: str = "default",
        name: str = "broker",
        settings: ClusterSettings | None = None,
        link_settings: LinkSettings | None = None,
        store: LeaseStore | None = None,
        clock: Clock | None = None,
        transport: Transport | None = None,
        incarnation: int = 0,
        security: SecuritySettings | None = None,
    ) -> None:
        """Without a `store` the broker forgets its fleet when it ends; with `security` it encrypts.

        Raises: `ConfigurationError` when its key or the allow-list cannot be read.
        """
        self._keeper = Keykeeper(security or SecuritySettings(), self._keys_changed)
        self.bind, self.cluster, self.name = bind, cluster, name
        self.endpoint = ""
        """Where it listens, with the real port; "" before `start`."""
        self.incarnation = incarnation or secrets.randbits(62) + 1
        self.settings = settings or ClusterSettings()
        self.store = store or MemoryLeaseStore()
        self.requests, self._answering = Requests(self._send_one), Answering(self._send_one)
        self._saving = Saving(self.store, self._saved)
        self.quarantine = Quarantine(beside(self.store), self.settings)
        self.prober = Prober(self.settings, Random(self.incarnation))
        self._link_settings = link_settings or LinkSettings()
        self._transport = transport
        self._clock = clock or Clock()
        self._links: dict[int, Link] = {}
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS_KEPT)
        self._probes: dict[int, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._mesh: Mesh | None = None
        self._fleet: Fleet | None = None
        self._started_ns = 0
        self._junk_beats = 0
        self._is_closed = False
        self.operations: Operations | None = None

    # --- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the fleet, listen, begin to watch.

        Raises: `StoreError` when the store cannot be read or written, `LinkError` when the port is
        in use, `ConfigurationError` when `bind` is no address.
        """
        self._started_ns = self._clock.now_ns()
        stored = self.store.load()
        self.quarantine.load()
        self._fleet = Fleet(
            cluster=self.cluster,
            incarnation=self.incarnation,
            settings=self.settings,
            assign=assign,
            now_ns=self._started_ns,
            stored=stored,
        )
        self.operations = Operations(self)
        try:
            await self._listen()
        except BaseException:
            await self.close(linger_s=0)
            raise
        log.info(
            "broker.started",
            endpoint=self.endpoint,
            version=self._fleet.version,
            known_members=len(self._fleet.members),
        )
        self._tick()

    async def _listen(self) -> None:
        keys = self._keeper.keyring
        if keys is not None:
            keys.name_of = self._name_of
        self._mesh = Mesh(
            identity=Identity(self.name, "broker", self.incarnation, self.cluster),
            events=self,
            transport=self._transport or ZeroMQTransport(self._link_settings, credentials=keys),
            credentials=keys,
            clock=self._clock,
            settings=self._link_settings,
            chance=Random(self.incarnation),
        )
        self.endpoint = await self._mesh.start(self.bind) or ""

    async def close(self, linger_s: float = 1.0) -> None:
        """Stop listening; members go on without a broker."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.requests.close()
        await self._answering.close()
        if self._mesh is not None:
            await self._mesh.close(linger_s)
        self.quarantine.close()
        self._saving.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Broker {self.endpoint or 'not started'} {self._fleet!r}>"

    # --- what others use ----------------------------------------------------------------------

    @property
    def fleet(self) -> Fleet:
        """The fleet; there is none before `start`."""
        if self._fleet is None:
            raise NodeStoppedError("the broker has not started")
        return self._fleet

    def now_ns(self) -> int:
        """The broker's clock."""
        return self._clock.now_ns()

    async def operate(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """An operator's request from within this process; raises typed errors."""
        if self.operations is None:
            raise NodeStoppedError("the broker has not started")
        return await self.operations.run(verb, body or {})

    def reaped(self, incarnation: int) -> None:
        """The process of this incarnation has ended: a parent in this process saw it."""
        self.carry_out(self.fleet.reaped(incarnation, self.now_ns()))

    def events(self) -> list[dict[str, Any]]:
        """What happened last, oldest first."""
        return list(self._events)

    def facts(self) -> dict[str, Any]:
        """The broker itself, in plain values."""
        fleet = self.fleet
        return {
            "name": self.name,
            "endpoint": self.endpoint,
            "cluster": self.cluster,
            "incarnation": self.incarnation,
            "pid": os.getpid(),
            "uptime_s": round((self.now_ns() - self._started_ns) / 1e9, 3),
            "version": fleet.version,
            "is_settled": fleet.is_settled,
            "waits_for": [member.name for member in fleet.unacknowledged()],
            "members": len(fleet.members),
            "links": len(self._links),
            "store": repr(self.store),
            "store_error": fleet.store_error,
            "junk_beats": self._junk_beats,
            "quarantine": self.quarantine.facts(),
        }

    # --- what the links say -------------------------------------------------------------------

    def link_up(self, link: Link, is_new: bool) -> None:
        """Remember where the peer can be told something."""
        if is_new or link.peer.incarnation not in self._links:
            self._links[link.peer.incarnation] = link
        if is_new and self._keeper.is_told(link):
            link.send(encode_record(messages.encode(self._keeper.published())), 1)

    def batch(
        self,
        link: Link,
        body: bytes | memoryview,
        count: int,
        sender_now_ns: int,
        placement_version: int,
    ) -> None:
        """Control messages of a member, or of somebody who wants to be one."""
        del sender_now_ns, placement_version
        try:
            for payload in decode_records(body, count):
                self._receive(link, messages.decode(payload))
        except ProtocolError as error:
            log.warning("broker.protocol", peer=link.peer.name, reason=str(error))
            raise

    def accepted(self, link: Link, count: int) -> None:
        """Nothing waits for credit here."""

    def drained(self) -> None:
        """Everything was answered at once."""

    def may_rest(self, link: Link) -> bool:
        """A link of a member stays; one of somebody else may end."""
        return link.peer.incarnation not in self.fleet.members

    def link_over(self, link: Link, reason: str, unaccepted: int) -> None:
        """The session is over; the member may come back with a new one."""
        del reason, unaccepted
        if self._links.get(link.peer.incarnation) is link:
            del self._links[link.peer.incarnation]

    def datagram(self, route: bytes, packet: bytes) -> None:
        """A heartbeat: answer at once."""
        try:
            beat = decode_beat(packet)
        except ProtocolError:
            self._junk_beats += 1
            return
        if self._mesh is not None:
            answer = self.fleet.beat(beat, self.now_ns())
            if answer is not None:
                self._mesh.send_datagram(route, encode_answer(answer))

    # --- what members say ---------------------------------------------------------------------

    def _receive(self, link: Link, message: messages.ControlMessage) -> None:
        fleet, now_ns, sender = self.fleet, self.now_ns(), link.peer.incarnation
        match message:
            case messages.Join():
                if message.incarnation != sender:
                    raise ProtocolError("a join names another incarnation than the handshake")
                self._keeper.check_join(link, message)
                self.carry_out(fleet.join(message, now_ns))
            case messages.Ack():
                self.carry_out(fleet.acknowledge(sender, message.version, now_ns))
            case messages.Activated():
                self.carry_out(fleet.activated(sender, message, now_ns))
            case messages.ActivatedActors():
                self.carry_out(fleet.actors_activated(sender, message, now_ns))
            case messages.Leave():
                self.carry_out(fleet.leave(sender, message, now_ns))
            case messages.Reaped():
                self._keeper.check_worker(link, "report the end of a process")
                self.carry_out(fleet.reaped(message.incarnation, now_ns))
            case messages.Answer():
                self._answered(sender, message)
            case messages.Operate():
                work = self._keeper.run(link, message, self.operate)
                self._answering.begin(sender, message.id, work)
            case messages.Quarantine():
                self._answering.begin(sender, message.id, self._quarantine(message.message))
            case _:
                raise ProtocolError(f"a broker is not told {type(message).__name__}")

    def _answered(self, sender: int, answer: messages.Answer) -> None:
        if self._probes.get(sender) == answer.re:
            del self._probes[sender]
            body = {"ok": False, "reason": str(answer.error)} if answer.error else answer.body
            self._health_changed(sender, self.prober.answered(sender, body))
        else:
            self.requests.answered(sender, answer)

    async def _quarantine(self, message: messages.Quarantined) -> Body:
        return {"id": await self.quarantine.keep(message)}

    # --- what the fleet wants -----------------------------------------------------------------

    def carry_out(self, todo: list[orders.Order]) -> None:
        """Do what the fleet says, in order."""
        for one in todo:
            match one:
                case orders.Send():
                    self._send(one.to, one.message)
                case orders.Persist():
                    self._saving.save(one)
                case orders.End():
                    self._links.pop(one.incarnation, None)
                    if self._mesh is not None and not one.is_clean:
                        self._mesh.refuse(one.incarnation, one.reason)
                case orders.Note():
                    self._note(one)

    def _send(self, to: tuple[int, ...], message: Message) -> None:
        record = b""
        for incarnation in to:
            link = self._links.get(incarnation)
            if link is not None and link.state != "over":
                record = record or encode_record(messages.encode(message))
                link.send(record, 1)

    def _send_one(self, to: int, message: Message) -> None:
        self._send((to,), message)

    def _note(self, note: orders.Note) -> None:
        if note.facts.get("role") != "client":  # every command of the command line is one
            log.info("broker.event", what=note.event, **note.facts)
        at_s = round((self.now_ns() - self._started_ns) / 1e9, 3)
        self._events.append({"at_s": at_s, "event": note.event, **note.facts})
        if self._mesh is not None and note.event == "version":
            self._mesh.placement_version = self.fleet.version

    def _saved(self, number: int, reason: str) -> None:
        if self._is_closed:
            return
        now_ns = self.now_ns()
        if reason:
            self.carry_out(self.fleet.store_failed(number, reason, now_ns))
        else:
            self.carry_out(self.fleet.stored(number, now_ns))

    # --- time ---------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._is_closed:
            return
        self._timer = asyncio.get_running_loop().call_later(self.settings.tick_every_s, self._tick)
        now_ns = self.now_ns()
        self.carry_out(self.fleet.tick(now_ns))
        self._probe(now_ns)
        self._keeper.look(now_ns / 1e9)

    def _keys_changed(self) -> None:
        """Tell everybody; end the sessions of who is not on the list any more."""
        if self._mesh is not None:
            self._send(tuple(self._links), self._keeper.published())
            self._mesh.check_keys()

    def _name_of(self, incarnation: int) -> str:
        member = self.fleet.members.get(incarnation)
        return "" if member is None else member.name

    def _probe(self, now_ns: int) -> None:
        workers = [member.incarnation for member in self.fleet.workers()]
        due, failed = self.prober.due(workers, now_ns)
        for incarnation in failed:
            self._probes.pop(incarnation, None)
            health = self.prober.health(incarnation)
            self._health_changed(incarnation, None if health is None else health.is_healthy)
        for incarnation in due:
            number = self._probes[incarnation] = self.requests.next_number()
            self._send_one(incarnation, messages.Probe(id=number))
        for gone in self._probes.keys() - set(workers):
            del self._probes[gone]

    def _health_changed(self, incarnation: int, is_healthy: bool | None) -> None:
        if is_healthy is not None:
            self.carry_out(self.fleet.set_health(incarnation, is_healthy, self.now_ns()))
