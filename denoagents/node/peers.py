"""Links meet the native router here: a `Peer` for each session and each member that is dialed.

Rules: implements the mesh's events; nothing raises into the mesh. A dialed peer outlives its link:
what is sent while there is none is parked; the next message dials again, at most twice a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import structlog

from denoagents._native.clock import Clock
from denoagents._native.peer import Peer
from denoagents._native.router import Router
from denoagents._native.runtime import Cell
from denoagents.errors import OutcomeUnknownError, ProtocolError
from denoagents.link.link import Link
from denoagents.link.mesh import Mesh

log = structlog.get_logger("denoagents.node")

DIAL_AGAIN_NS = 500_000_000


class PeerEvents(Protocol):
    """What the peers tell the node."""

    def peer_up(self, peer: Peer, is_new: bool) -> None:
        """A link of `peer` stands."""

    def peer_lost(self, peer: Peer, link: Link, reason: str) -> None:
        """A link of `peer` is over."""

    def datagram(self, route: bytes, packet: bytes) -> None:
        """A heartbeat came."""


class Peers:
    """The peers of one node."""

    def __init__(self, router: Router, clock: Clock, events: PeerEvents) -> None:
        self._router, self._clock, self._events = router, clock, events
        self.mesh: Mesh
        self.dialed: dict[int, Peer] = {}
        """By incarnation: peers that this node sends requests to."""
        self.accepted: dict[Peer, None] = {}
        self.is_closing = False
        self._endpoints: dict[Peer, str] = {}
        self._dialed_ns: dict[Peer, int] = {}
        self._broker: Peer | None = None
        self._dead = -1

    # --- going out ----------------------------------------------------------------------------

    def member(self, incarnation: int, name: str, endpoint: str) -> Peer:
        """The peer for a member of the fleet; it is dialed with the first message."""
        peer = self.dialed.get(incarnation)
        if peer is None:
            peer = self.dialed[incarnation] = Peer(self._router, None, name, incarnation)
            self._endpoints[peer] = endpoint
        return peer

    def dial(self, peer: Peer, *, at_once: bool = False) -> None:
        """Connect a peer that has something to send."""
        endpoint = self._endpoints.get(peer)
        now_ns = self._clock.now_ns()
        if endpoint is None or peer.over or self.is_closing:
            return
        wait_ns = self._dialed_ns.get(peer, -DIAL_AGAIN_NS) + DIAL_AGAIN_NS - now_ns
        if wait_ns > 0 and not at_once:
            self._router.runtime.loop.call_later(wait_ns / 1e9, self._dial_again, peer)
            return
        self._dialed_ns[peer] = now_ns
        link = self.mesh.dial(endpoint, name=peer.node_name, incarnation=peer.incarnation)
        self._attach(peer, link)

    def _dial_again(self, peer: Peer) -> None:
        has_work = peer is self._broker or (peer.held is not None and len(peer.held))
        if peer.link is None and has_work:
            self.dial(peer)

    def connect(self, endpoint: str, name: str) -> Peer:
        """A peer that is dialed at once, and again whenever its link is over (the broker)."""
        peer = self._broker = Peer(self._router, None, name)
        self._endpoints[peer] = endpoint
        self._attach(peer, self.mesh.dial(endpoint, name=name))
        return peer

    def _attach(self, peer: Peer, link: Link) -> None:
        peer.link, link.key = link, peer
        link.on_down = lambda: peer.hold(f"the connection to {peer.node_name} is down")

    def over(self, incarnation: int, reason: str) -> None:
        """An incarnation is over: its outcomes are unknown, what was parked goes elsewhere."""
        self._dead = incarnation
        self.mesh.refuse(incarnation, reason)
        peer = self.dialed.pop(incarnation, None)
        if peer is not None:
            self._endpoints.pop(peer, None)
            self._dialed_ns.pop(peer, None)
            link = peer.link
            settle_unknown(peer.end(reason, is_death=True), reason)
            if link is not None:
                self.mesh.end(link, reason)

    def abandon(self, reason: str) -> None:
        """This incarnation is over: outcomes are unknown, what was parked waits for the next."""
        self.is_closing = True
        self._router.tables.clear()
        self._router.pinned.clear()
        for peer in self.all():
            settle_unknown(peer.end(reason), reason)

    def all(self) -> Iterable[Peer]:
        """Every peer, dialed and accepted."""
        yield from tuple(self.dialed.values())
        yield from tuple(self.accepted)

    @property
    def serve_requests(self) -> bool:
        """Whether somebody waits for an answer that comes from here, or passes through."""
        return any(peer.served_requests for peer in self.all())

    def has_space(self, cell: Cell) -> None:
        """A mailbox has room again: tell the peers that were paused."""
        for peer in self.all():
            peer.resume(cell.address)

    # --- what the mesh tells ------------------------------------------------------------------

    def link_up(self, link: Link, is_new: bool) -> None:
        """A link stands: let what was parked go."""
        peer = link.key
        if not isinstance(peer, Peer):
            peer = Peer(self._router, link, link.peer.name, link.peer.incarnation)
            self._attach(peer, link)
            self.accepted[peer] = None
        peer.open()
        self._events.peer_up(peer, is_new)
        self._router.flush()

    def batch(
        self,
        link: Link,
        body: bytes | memoryview,
        count: int,
        sender_now_ns: int,
        placement_version: int,
    ) -> None:
        """A batch of the peer: into the mailboxes."""
        del count, placement_version
        peer = link.key
        if not isinstance(peer, Peer):
            return
        self._router.draining = True
        try:
            peer.deliver(body, sender_now_ns)
        except ProtocolError as error:
            log.warning("peer speaks nonsense", peer=peer.node_name, error=str(error))
            raise
        except Exception as error:
            log.exception("batch failed", peer=peer.node_name)
            raise ProtocolError(f"internal error: {error!r}") from error

    def accepted_records(self, link: Link, count: int) -> None:
        """The peer accepted more."""
        if isinstance(link.key, Peer):
            link.key.accepted(count)

    def drained(self) -> None:
        """All that came is in the mailboxes: run turns, then send."""
        self._router.runtime.run()
        self._router.draining = False
        self._router.flush()

    def link_over(self, link: Link, reason: str, unaccepted: int) -> None:
        """A session has ended."""
        del unaccepted
        peer = link.key
        if not isinstance(peer, Peer) or peer.link is not link:
            return
        is_death = reason == "other incarnation" or peer.incarnation == self._dead
        settle_unknown(peer.detach(reason, is_death=is_death), reason)
        if not link.dialed:
            self.accepted.pop(peer, None)
            peer.end(reason)
        self._events.peer_lost(peer, link, reason)
        if peer.held is not None and len(peer.held):
            self.dial(peer)

    def datagram(self, route: bytes, packet: bytes) -> None:
        """A heartbeat came."""
        self._events.datagram(route, packet)

    def may_rest(self, link: Link) -> bool:
        """Whether an idle link may end."""
        return (
            isinstance(link.key, Peer) and link.key.is_quiet and link.key.incarnation in self.dialed
        )


class MeshAdapter:
    """Gives the mesh's names to `Peers` (where `accepted` is the set of accepted peers)."""

    def __init__(self, peers: Peers) -> None:
        self.link_up, self.batch = peers.link_up, peers.batch
        self.accepted, self.drained = peers.accepted_records, peers.drained
        self.link_over, self.datagram, self.may_rest = (
            peers.link_over,
            peers.datagram,
            peers.may_rest,
        )


def settle_unknown(requests: Iterable[Any], reason: str) -> None:
    """Give requests that went to an ended session their outcome: once more, or unknown."""
    for request in requests:
        if getattr(request, "is_idempotent", False) and request.again():
            continue
        request.reject(
            OutcomeUnknownError(
                f"the owner ended before it answered ({reason}); whether it ran is unknown"
            )
        )
