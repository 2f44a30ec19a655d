"""The accepting side: one listening wire, the sessions that come in over it, and strangers.

Rules: a route (routing id) is only where a session's connection is at the moment; a hello moves
the session to a new one. A session outlives its connection, bounded in time and number. Strangers
get an answer only to an intact packet: WHO, which means "say hello again". Junk gets none.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from denoagents._native.packet import Packet
from denoagents.envelope import WIRE_VERSION, PacketKind
from denoagents.errors import EvictedError, ProtocolError
from denoagents.link import handshake
from denoagents.link.compression import choose
from denoagents.link.flood import FloodGate
from denoagents.link.handshake import Hello, Peer, Refused, Welcome
from denoagents.link.link import REST, Link, Surroundings
from denoagents.link.session import GapError
from denoagents.link.transport import Transport, Wire

_DATA = int(PacketKind.DATA)
_KNOWN_ONLY = (PacketKind.DATA, PacketKind.ACK, PacketKind.PING, PacketKind.GOODBYE)
_MAX_REFUSED = 65536
_log = structlog.get_logger("denoagents.link")


@dataclass(slots=True)
class Claim:
    """Whose an incarnation is, as long as it has sessions here."""

    user: str | None
    sessions: int = 0


class Acceptance:
    """All accepted sessions of a node."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._wire: Wire | None = None
        self._routes: dict[bytes, Link] = {}
        self._sessions: dict[tuple[int, int], Link] = {}
        self._refused: dict[int, str] = {}
        self._claims: dict[int, Claim] = {}
        self.junk_packets = 0
        self.stray_packets = 0
        self.refused_hellos = 0
        self.unlisted_packets = 0
        self.flood = FloodGate()

    def listen(self, transport: Transport, endpoint: str) -> str:
        """Open the port; returns the real endpoint."""
        self._wire, real = transport.listen(endpoint, self)
        return real

    @property
    def links(self) -> list[Link]:
        return list(self._sessions.values())

    def send_datagram(self, route: bytes, packet: bytes) -> None:
        if self._wire is not None:
            self._wire.send_datagram(route, packet)

    # --- what the wire says ---------------------------------------------------------------

    def connected(self) -> None:
        """A listening wire has no connection of its own."""

    def lost(self) -> None:
        """A listening wire has no connection of its own."""

    def came(self, descriptor: int) -> None:
        """A connection was accepted."""
        self.flood.accepted(descriptor)

    def went(self, descriptor: int) -> None:
        """A connection is over."""
        self.flood.gone(descriptor)

    def received(self, packets: list[Packet]) -> None:
        routes = self._routes
        for packet in packets:
            route = packet.route
            if route is None:
                continue
            link = routes.get(route)
            if link is None or packet.kind == PacketKind.HELLO or packet.user != link.user:
                self._stranger(route, packet)
                continue
            link.quiet_ticks = 0
            try:
                if packet.kind == _DATA:
                    link.take(packet)
                else:
                    self._other(link, packet)
            except GapError as gap:
                _log.warning("link.gap", link=repr(link), reason=str(gap))
                self._ask_who(route)
            except ProtocolError as error:
                refused = Refused("protocol", str(error))
                link.say(PacketKind.REFUSED, body=handshake.encode(refused))
                link.finish(f"protocol: {error}", error)
        self._around.debts.settle()

    def _other(self, link: Link, packet: Packet) -> None:
        kind = packet.kind
        if kind in (PacketKind.ACK, PacketKind.PING, PacketKind.GOODBYE):
            link.hear(packet)
        if kind == PacketKind.PING:
            is_idle = packet.flags & REST and not link.session.retained
            may_rest = is_idle and self._around.events.may_rest(link)
            link.say(PacketKind.ACK, REST if may_rest else 0)
        elif kind == PacketKind.GOODBYE:
            link.finish("goodbye")
        elif kind == PacketKind.REFUSED:
            refused = handshake.decode(Refused, packet.body)
            link.finish(refused.reason, handshake.error_of(refused))
        elif kind != PacketKind.ACK:
            self.junk_packets += 1
            self.flood.junk(packet, self._around.clock.now_ns())
            if packet.route is not None:
                self._ask_who(packet.route)

    # --- strangers ------------------------------------------------------------------------

    def _stranger(self, route: bytes, packet: Packet) -> None:
        kind = packet.kind
        keys = self._around.credentials
        if keys is not None and not keys.is_allowed(packet.user):  # revoked since it came in
            self.unlisted_packets += 1
            self.flood.cut(packet)
            return
        now_ns = self._around.clock.now_ns()
        if kind == PacketKind.HELLO:
            if not self.flood.takes_hello(packet, now_ns):
                return
            try:
                self._hello(route, packet)
            except ProtocolError as error:
                self._refuse(route, Refused("protocol", str(error)))
        elif kind == PacketKind.BEAT:
            if keys is None or keys.may_beat(packet.user, incarnation_of(packet.body)):
                self.flood.proven(packet)
                self._around.events.datagram(route, bytes(packet.body))
            else:
                self.unlisted_packets += 1
        elif kind in _KNOWN_ONLY:
            self.stray_packets += 1
            self.flood.junk(packet, now_ns)
            self._ask_who(route)
        else:
            self.junk_packets += 1
            self.flood.junk(packet, now_ns)

    def _ask_who(self, route: bytes) -> None:
        """Make the dialer say hello on a new connection."""
        link = self._routes.pop(route, None)
        if link is not None:
            link.shut()
        self._put(route, PacketKind.WHO, b"")

    def _put(self, route: bytes, kind: PacketKind, body: bytes) -> bool:
        now_ns = self._around.clock.now_ns()
        wire = self._wire
        return wire is not None and wire.send(route, kind, 0, 0, 0, now_ns, 0, 0, len(body), body)

    def _refuse(self, route: bytes, refused: Refused, peer: str = "") -> None:
        self.refused_hellos += 1
        _log.warning("link.refused", peer=peer, code=refused.code, reason=refused.reason)
        self._put(route, PacketKind.REFUSED, handshake.encode(refused))

    def _hello(self, route: bytes, packet: Packet) -> None:
        identity = self._around.identity
        if packet.version != WIRE_VERSION:
            self._refuse(route, handshake.other_version(packet.version, identity))
            return
        hello = handshake.decode(Hello, packet.body)
        refused = (
            handshake.refusal(hello, identity)
            or self._check_key(packet.user, hello)
            or self._judge(hello)
        )
        if refused is not None:
            self._refuse(route, refused, hello.name)
            return
        key = (hello.incarnation, hello.session)
        link = self._sessions.get(key)
        is_new = link is None
        if link is None:
            peer = Peer(hello.name, hello.role, hello.incarnation, hello.endpoint)
            link = Link(self._around, self, peer, dialed=False, number=hello.session)
            link.user = packet.user
            self._sessions[key] = link
            self._claims.setdefault(hello.incarnation, Claim(packet.user)).sessions += 1
        self._admit(link, route, hello, is_new=is_new)

    def _check_key(self, user: str | None, hello: Hello) -> Refused | None:
        """Why this key may not say this hello: an incarnation belongs to the key that began it."""
        keys = self._around.credentials
        if keys is None:
            return None
        claim = self._claims.get(hello.incarnation)
        if claim is not None and claim.user != user:
            return Refused("key", "the incarnation belongs to another key")
        reason = keys.refusal(user, hello.name, hello.role, hello.incarnation)
        return Refused("key", reason) if reason else None

    def check_keys(self) -> None:
        """End the sessions of keys that are not let in any more."""
        keys = self._around.credentials
        reason = "its key was revoked"
        body = handshake.encode(Refused("key", reason))
        for link in self.links:
            if keys is not None and not keys.is_allowed(link.user):
                link.say(PacketKind.REFUSED, body=body)
                link.finish(reason)

    def _judge(self, hello: Hello) -> Refused | None:
        """Why this session cannot begin or go on."""
        reason = self._refused.get(hello.incarnation)
        if reason is not None:
            return Refused("evicted", reason)
        link = self._sessions.get((hello.incarnation, hello.session))
        if link is not None:
            can_resume = link.session.acknowledged <= hello.accepted <= link.session.sent
            return None if can_resume else Refused("protocol", "impossible resumption")
        if hello.welcomed_by or hello.accepted:
            return Refused("session", "the session is over here: it had no connection for too long")
        settings = self._around.settings
        if len(self._sessions) >= settings.max_sessions and not self._make_room():
            return Refused("full", f"{settings.max_sessions} sessions are connected already")
        return None

    def _make_room(self) -> bool:
        """End the session that has been without a connection for the longest time."""
        waiting = [link for link in self._sessions.values() if link.state != "up"]
        if not waiting:
            return False
        max(waiting, key=lambda link: link.quiet_ticks).finish("expired")
        return True

    def _admit(self, link: Link, route: bytes, hello: Hello, *, is_new: bool) -> None:
        """The session `link` is now connected by `route`."""
        self._detach(link)
        around, identity, wire = self._around, self._around.identity, self._wire
        if wire is None:
            return
        previous = self._routes.get(route)
        if previous is not None:
            previous.shut()
        self._routes[route] = link
        link.route = route
        compression = choose(hello.compression, around.settings.compression)
        welcome = Welcome(
            wire=WIRE_VERSION,
            cluster=identity.cluster,
            name=identity.name,
            role=identity.role,
            incarnation=identity.incarnation,
            session=hello.session,
            accepted=link.session.accepted,
            limit_bytes=around.settings.max_payload_bytes,
            features=handshake.FEATURES & hello.features,
            compression=compression,
        )
        if not self._put(route, PacketKind.WELCOME, handshake.encode(welcome)):
            self._detach(link)
            return
        link.open(
            wire.send,
            route,
            compression=compression,
            limit_bytes=hello.limit_bytes,
            accepted=hello.accepted,
        )
        if link.is_up:
            around.events.link_up(link, is_new)

    def _detach(self, link: Link) -> None:
        route = link.route
        if route is not None and self._routes.get(route) is link:
            del self._routes[route]
        link.shut()

    # --- what links and the mesh say ------------------------------------------------------

    def link_lost(self, link: Link) -> None:
        self._detach(link)

    def hurry(self) -> None:
        """It is for the dialer to come back."""

    def link_ended(self, link: Link) -> None:
        self._detach(link)
        incarnation = link.peer.incarnation
        if self._sessions.pop((incarnation, link.number), None) is None:
            return
        claim = self._claims[incarnation]
        claim.sessions -= 1
        if not claim.sessions:
            del self._claims[incarnation]

    def refuse(self, incarnation: int, reason: str) -> None:
        """End the sessions of `incarnation` and admit none any more."""
        if len(self._refused) >= _MAX_REFUSED:
            del self._refused[next(iter(self._refused))]
        self._refused[incarnation] = reason
        body = handshake.encode(Refused("evicted", reason))
        for link in self.links:
            if link.peer.incarnation == incarnation:
                link.say(PacketKind.REFUSED, body=body)
                link.finish(reason, EvictedError(reason))

    def tick(self, tick_s: float) -> None:
        """Every `tick_s`: find dead connections, and sessions whose dialer stays away."""
        if self._wire is not None:
            self._wire.watch()
        settings = self._around.settings
        for link in self.links:
            link.quiet_ticks += 1
            quiet_s = link.quiet_ticks * tick_s
            if link.state == "up" and quiet_s > settings.keep_alive_s:
                self._detach(link)
            elif link.state != "up" and quiet_s > settings.session_expiry_s:
                link.finish("expired")
            elif link.session.retained:
                link.say(PacketKind.PING)  # what was lost is missed by the dialer now

    def close(self, linger_ms: int) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close(linger_ms)


def incarnation_of(beat: bytes | memoryview) -> int:
    """Whose heartbeat it says it is (its layout: `cluster.beat`)."""
    return int.from_bytes(beat[8:16], "little")
