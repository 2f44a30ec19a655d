"""A node's attachment to a fleet: mesh, peers, placement, membership and edge, wired together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import structlog

from denoagents._native import placement as native_placement
from denoagents._native.clock import Clock
from denoagents._native.peer import Peer
from denoagents._native.router import Router
from denoagents._native.runtime import Cell
from denoagents.actor.guardian import Guardian
from denoagents.cluster import messages
from denoagents.cluster.view import View
from denoagents.errors import (
    KeyRefusedError,
    LinkLost,
    NotAllowedError,
    UnknownActorTypeError,
    nearest,
)
from denoagents.link.advertising import advertised, check_advertised
from denoagents.link.connection import ZeroMQTransport
from denoagents.link.handshake import Identity
from denoagents.link.mesh import Mesh
from denoagents.link.transport import Transport
from denoagents.node.edge import Edge
from denoagents.node.host import this_host
from denoagents.node.membership import Membership
from denoagents.node.peers import MeshAdapter, Peers
from denoagents.node.placement import Placement
from denoagents.node.settings import NodeSettings
from denoagents.node.statistics import link_statistics
from denoagents.security.allow_list import AllowList, Entry
from denoagents.security.keyring import Keyring
from denoagents.security.roles import check_serves

MAX_BARS = 3
"""Handshakes with the broker that end without a word before a join gives up."""

log = structlog.get_logger("denoagents.node")


@dataclass(frozen=True, slots=True)
class Role:
    """What a node is in its fleet."""

    name: str
    role: str
    incarnation: int
    broker: str
    bind: str
    group: str
    weight: int
    signatures: dict[str, dict[str, Any]]
    store: str = ""
    """The identity of the store of its durable actors."""
    fence: int = 0
    """The highest fence in there."""
    keyring: Keyring | None = None

    @property
    def is_worker(self) -> bool:
        """Whether it hosts actors."""
        return self.role == "worker"


class Host(Protocol):
    """What the attachment asks of its node."""

    @property
    def is_ending(self) -> bool:
        """Whether the node is closing, closed or evicted."""

    def joined(self) -> None:
        """The broker admitted the node."""

    async def probe(self) -> dict[str, Any]:
        """The deep health probe."""

    def statistics(self) -> dict[str, Any]:
        """The node's figures."""

    def drain_requested(self, reason: str) -> None:
        """The broker wants this worker to end."""

    def evicted(self, reason: str) -> None:
        """The fleet goes on without this incarnation."""


class Attachment:
    """Everything of a node that exists only because there is a broker."""

    def __init__(
        self,
        host: Host,
        role: Role,
        settings: NodeSettings,
        router: Router,
        guardian: Guardian,
        clock: Clock,
        transport: Transport | None,
        edge: Edge | None = None,
    ) -> None:
        """`edge` is that of the incarnation before, whose waiting requests go on waiting."""
        self._host, self.role, self._settings, self._router = host, role, settings, router
        self._loop = router.runtime.loop
        self.endpoint: str | None = None
        self.peers = Peers(router, clock, self)
        self.mesh = self.peers.mesh = Mesh(
            identity=Identity(role.name, role.role, role.incarnation, settings.cluster_name),
            events=MeshAdapter(self.peers),
            transport=transport or ZeroMQTransport(settings.link, credentials=role.keyring),
            clock=clock,
            settings=settings.link,
            chance=Random(role.incarnation),
            credentials=role.keyring,
        )
        if role.keyring is not None:
            role.keyring.name_of, role.keyring.on_barred = self._name_of, self._barred
        group = role.group if role.is_worker else None
        self.placement = Placement(
            View(incarnation=role.incarnation, group=group, assign=native_placement.assign),
            router,
            guardian,
            self.peers,
            to_broker=self._to_broker,
            on_evicted=host.evicted,
        )
        self.membership = Membership(self, self.placement, self._loop)
        self.edge = edge
        if edge is None and not role.is_worker:
            self.edge = Edge(settings.admission, clock, self._loop)
        self._broker: Peer | None = None
        self._bars = 0
        self._weights: dict[tuple[str, str], tuple[int, dict[str, float]]] = {}
        self._is_draining = False

    @property
    def view(self) -> View:
        """What this node knows about the fleet."""
        return self.placement.view

    # --- life ---------------------------------------------------------------------------------

    async def join(self) -> None:
        """Listen (workers), dial the broker, wait for admission."""
        if self.role.is_worker:
            check_advertised(self.role.bind, self._settings.advertise)
        real = await self.mesh.start(self.role.bind if self.role.is_worker else None)
        if real is not None:
            self.endpoint = self.mesh.endpoint = advertised(real, self._settings.advertise)
        self._router.admission = self.edge
        self._broker = self.peers.connect(self.role.broker, "broker")
        await self.membership.admitted(self._settings.join_timeout_s, self.role.broker)

    def begin_to_drain(self) -> None:
        """Stay with the broker until `close`; workers ask for others to take their slots."""
        self._is_draining = True
        if self.role.is_worker:
            self.membership.send(messages.Leave(drain=True))
            self._router.flush()

    async def is_drained(self, deadline: float) -> bool:
        """Nothing is left to hand over, all answers have passed, and others have accepted all."""
        gives_slots = self._is_draining and self.role.is_worker
        if gives_slots and (self.peers.serve_requests or not self.view.is_drained):
            return False
        self._router.flush()
        links = [peer.link for peer in self.peers.all() if peer.link is not None]
        if links:
            left_s = max(0.0, deadline - self._loop.time())
            await asyncio.wait([link.when_accepted() for link in links], timeout=left_s)
        return not gives_slots or self.view.is_drained

    async def close(self, linger_s: float, *, says_goodbye: bool) -> None:
        """Leave the fleet."""
        self._is_draining = False
        if self.membership.is_joined and says_goodbye:
            self.membership.send(messages.Leave(reason="closed"))
            self._router.flush()
        await self.membership.close()
        if self.edge is not None:
            self.edge.close()
        await self.mesh.close(linger_s)

    async def abandon(self, reason: str) -> None:
        """This incarnation is over, the node is not: let go of everything but the edge."""
        self.peers.abandon(reason)
        await self.membership.close()
        await self.mesh.close(0.1)

    def statistics(self) -> dict[str, Any]:
        """Version, links and edge."""
        found: dict[str, Any] = {
            "version": self.view.version,
            "settled_version": self.view.settled_version,
            "links": link_statistics(self.mesh),
            "strangers": self.mesh.strangers(),
        }
        if self.edge is not None:
            found["admission"] = self.edge.statistics()
        return found

    # --- what the rooms say -------------------------------------------------------------------

    def join_request(self) -> messages.Join:
        """Who this node is, and what it holds (for Membership)."""
        role, view = self.role, self.view
        host, pid = this_host()
        return messages.Join(
            name=role.name,
            incarnation=role.incarnation,
            role="worker" if role.is_worker else "client",
            endpoint=self.endpoint or "",
            group=role.group if role.is_worker else "",
            weight=role.weight,
            types=role.signatures,
            host=host,
            pid=pid,
            version=view.acknowledged,
            holding=view.holding(),
            lingering=view.lingering(),
            over=sorted(view.over),
            store=role.store,
            fence=role.fence,
        )

    def joined(self, message: messages.Joined) -> None:
        """The broker admitted this node (for Membership)."""
        del message
        self._host.joined()
        if self._is_draining and self.role.is_worker:  # one that started anew has not heard of it
            self.membership.send(messages.Leave(drain=True))

    async def probe(self) -> dict[str, Any]:
        """The deep health probe (for Membership)."""
        return await self._host.probe()

    def node_statistics(self) -> dict[str, Any]:
        """The node's figures (for Membership)."""
        return self._host.statistics()

    def drain_requested(self, reason: str) -> None:
        """The broker wants this worker to end (for Membership)."""
        self._host.drain_requested(reason)

    def evicted(self, reason: str) -> None:
        """The fleet goes on without this incarnation (for Membership)."""
        self._host.evicted(reason)

    def keys_changed(self, entries: list[Entry]) -> None:
        """The fleet lets in these keys (for Membership)."""
        if self.role.keyring is not None:
            self.role.keyring.allowed = AllowList(entries)
            self.mesh.check_keys()

    def members_known(self, members: list[messages.MemberRecord]) -> None:
        """Whose key must answer at each worker's endpoint (for Membership)."""
        if self.role.keyring is not None:
            self.role.keyring.know_servers([(one.name, one.endpoint) for one in members])

    def _barred(self, endpoint: str, reason: str, is_final: bool) -> None:
        """A connection is not let in: before admission that ends it, later the dialer goes on."""
        self._bars += 1
        if self._bars.bit_count() == 1:
            log.warning("key.not_let_in", endpoint=endpoint, reason=reason, so_far=self._bars)
        if endpoint == self.role.broker and (is_final or self._bars >= MAX_BARS):
            self.membership.fail(KeyRefusedError(f"the broker at {endpoint}: {reason}"))

    def _name_of(self, incarnation: int) -> str:
        member = self.view.member(incarnation)
        return "" if member is None else member.name

    def peer_up(self, peer: Peer, is_new: bool) -> None:
        """A link stands (for Peers)."""
        del is_new
        if peer is self._broker:
            self.membership.link_up(peer)

    def peer_lost(self, peer: Peer, link: Any, reason: str) -> None:
        """A link is over (for Peers)."""
        del reason
        if peer is not self._broker:
            return
        self.membership.link_lost()
        is_final = link.error is not None and not isinstance(link.error, LinkLost)
        if is_final and not self.membership.is_joined:
            self.membership.fail(link.error)
        elif self._is_draining or not self._host.is_ending:
            self.peers.dial(peer)

    def datagram(self, route: bytes, packet: bytes) -> None:
        """Nodes get no heartbeats (for Peers)."""

    def control(self, peer: Peer, payload: bytes) -> None:
        """A control message came."""
        keyring, link = self.role.keyring, peer.link
        if keyring is not None and peer is not self._broker and link is not None and link.user:
            try:
                check_serves(keyring.entry(link.user), "hand over actors")
            except NotAllowedError as error:
                log.warning("control message is not allowed", peer=peer.node_name, error=str(error))
                return
        self.membership.control(peer, payload)

    def has_space(self, cell: Cell) -> None:
        """A mailbox has room again."""
        self.peers.has_space(cell)

    def unknown_type(self, type_name: str) -> None:
        """No table for a type: where other types are hosted a mistake, else it may yet come."""
        known = sorted(name for group in self.view.record.groups.values() for name in group.types)
        if known:
            raise UnknownActorTypeError(
                f"no worker hosts actors of type {type_name!r}.{nearest(type_name, known)} "
                f"Hosted are: {', '.join(known[:20])}"
            )

    async def quarantine(self, message: messages.Quarantined) -> None:
        """Returns when the broker has stored `message`; raises a typed error when it cannot."""
        await self.membership.request(lambda n: messages.Quarantine(id=n, message=message))

    def pool_weights(self, type_name: str, pool: str) -> dict[str, float]:
        """The workers with members of a pool, and their weights; the same object until a change."""
        key = (type_name, pool)
        known = self._weights.get(key)
        if known is not None and known[0] == self.view.version:
            return known[1]
        weights = self._weigh(type_name, pool)
        self._weights[key] = (self.view.version, weights)
        return weights

    def _weigh(self, type_name: str, pool: str) -> dict[str, float]:
        live = self.view.record.settings.get(f"pool/{pool}", {})
        group = self.view.group_of(type_name)
        return {
            member.name: float(live.get(f"weight.{member.name}", 1.0))
            for member in self.view.members()
            if member.group == group and member.state in {"placed", "member"}
        }

    def _to_broker(self, message: messages.Message) -> None:
        self.membership.send(message)
