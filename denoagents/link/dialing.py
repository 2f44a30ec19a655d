"""The dialer's side of a link: attempts to connect, the hello, and a new connection for every lost one.

Rules: an attempt that did not connect lives until the next one is due; each lives twice as long, up to
a bound. A connection that lasted is followed by the next one at once. Nothing here gives up; the node
ends a link whose peer is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import structlog

from denoagents._native.socket import Packet
from denoagents.envelope import WIRE_VERSION, PacketKind
from denoagents.errors import HandshakeError, LinkLost, ProtocolError
from denoagents.link import handshake
from denoagents.link.compression import NUMBERS, preference
from denoagents.link.handshake import Hello, Refused, Welcome
from denoagents.link.link import ACK_NOW, REST, Link, Surroundings
from denoagents.link.session import GapError
from denoagents.link.transport import Transport, Wire

_DATA = int(PacketKind.DATA)
_SETTLED_S = 0.1
"""A connection that stood this long was no failed attempt."""
_log = structlog.get_logger("denoagents.link")


class Dialing:
    """Keeps one dialed link connected."""

    def __init__(
        self,
        around: Surroundings,
        transport: Transport,
        endpoint: str,
        expected: int,
        chance: Random,
        forget: Callable[[Link], None],
    ) -> None:
        self._around = around
        self._transport = transport
        self._endpoint = endpoint
        self._expected = expected
        self._chance = chance
        self._forget = forget
        self._link: Link
        self._wire: Wire | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tries = 0
        self._welcomed_by = 0
        self._up_ns = 0
        self.own_endpoint = ""

    def begin(self, link: Link) -> None:
        """Start; raises `UsageError` when the endpoint cannot be one."""
        self._link = link
        self._attempt()

    # --- attempts -------------------------------------------------------------------------

    def _attempt(self) -> None:
        self._drop()
        self._after(self._delay_s(), self._attempt)
        self._tries += 1
        self._wire = self._transport.dial(self._endpoint, self)

    def _delay_s(self) -> float:
        settings = self._around.settings
        longest = settings.backoff_longest_s
        delay_s = min(longest, settings.backoff_first_s * 2 ** min(self._tries, 20))
        return delay_s * self._chance.uniform(0.8, 1.2)

    def _after(self, delay_s: float, act: Callable[[], None]) -> None:
        self._cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, act)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop(self, linger_ms: int = 0) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close(linger_ms)

    def again(self) -> None:
        """Make a new connection: at once if this one has lasted, else when its time has come."""
        self._link.shut()
        lasted_ns = self._around.clock.now_ns() - self._up_ns
        self._drop()
        if self._up_ns and lasted_ns >= _SETTLED_S * 1e9:
            self._tries = 0
            self._up_ns = 0
            self._attempt()
        else:
            self._after(self._delay_s(), self._attempt)

    # --- what the wire says ---------------------------------------------------------------

    def connected(self) -> None:
        self._after(self._around.settings.handshake_timeout_s, self._attempt)
        identity, link = self._around.identity, self._link
        hello = Hello(
            wire=WIRE_VERSION,
            cluster=identity.cluster,
            name=identity.name,
            role=identity.role,
            incarnation=identity.incarnation,
            session=link.number,
            accepted=link.session.accepted,
            expected=self._expected,
            welcomed_by=self._welcomed_by,
            features=handshake.FEATURES,
            compression=preference(self._around.settings.compression),
            endpoint=self.own_endpoint,
        )
        body = handshake.encode(hello)
        wire = self._wire
        if wire is not None:
            now_ns = self._around.clock.now_ns()
            wire.send(None, PacketKind.HELLO, 0, 0, 0, now_ns, 0, 0, len(body), body)

    def lost(self) -> None:
        self.again()

    def received(self, packets: list[Packet]) -> None:
        link, wire = self._link, self._wire
        link.heard_ns = self._around.clock.now_ns()
        try:
            for packet in packets:
                if packet.kind == _DATA and link.state == "up":
                    link.take(packet)
                else:
                    self._other(packet)
                if self._wire is not wire:
                    break
        except GapError as gap:
            _log.warning("link.gap", link=repr(link), reason=str(gap))
            self.again()
        except ProtocolError as error:
            refused = Refused("protocol", str(error))
            link.say(PacketKind.REFUSED, body=handshake.encode(refused))
            link.finish(f"protocol: {error}", error)
        self._around.settle()

    def _other(self, packet: Packet) -> None:
        link, kind = self._link, packet.kind
        if kind == PacketKind.WELCOME:
            self._welcome(packet)
        elif kind == PacketKind.REFUSED:
            self._refused(packet)
        elif link.state != "up":
            return
        elif kind == PacketKind.ACK:
            link.free(packet.ack)
            if packet.flags & REST:
                self._rest()
        elif kind == PacketKind.PING:
            link.free(packet.ack)
            link.acknowledge()
        elif kind == PacketKind.GOODBYE:
            link.free(packet.ack)
            link.finish("goodbye")
        else:                       # WHO, junk, and what no acceptor says
            self.again()

    def _welcome(self, packet: Packet) -> None:
        link = self._link
        if link.state == "up":
            return
        welcome = handshake.decode(Welcome, packet.body)
        identity = self._around.identity
        if welcome.cluster != identity.cluster:
            reason = f"{welcome.name} belongs to cluster {welcome.cluster!r}"
            return link.finish(reason, HandshakeError(reason))
        expected = self._expected or self._welcomed_by
        if expected not in (0, welcome.incarnation):
            reason = "other incarnation"
            return link.finish(reason, LinkLost(f"{welcome.name} was restarted"))
        if welcome.session != link.number or welcome.compression not in NUMBERS:
            raise ProtocolError("a welcome that answers no hello of ours")
        wire = self._wire
        if wire is None:
            return None
        self._cancel()
        self._up_ns = self._around.clock.now_ns()
        is_new = not self._welcomed_by
        self._welcomed_by = welcome.incarnation
        link.peer.name, link.peer.role = welcome.name, welcome.role
        link.peer.incarnation = welcome.incarnation
        number = next(name for name in NUMBERS if name == welcome.compression)
        link.open(wire.send, None, number, welcome.accepted)
        self._around.events.link_up(link, is_new)
        return None

    def _refused(self, packet: Packet) -> None:
        refused = handshake.decode(Refused, packet.body)
        error = handshake.error_of(refused)
        reason = "other incarnation" if refused.code == "incarnation" else refused.reason
        _log.warning("link.refused", endpoint=self._endpoint, code=refused.code, reason=reason)
        self._link.finish(reason, error)

    # --- what the link says ---------------------------------------------------------------

    def link_lost(self, link: Link) -> None:
        """Let the wire find out, after it has given what is still in it."""
        link.shut()
        if self._wire is not None:
            self._wire.watch()

    def link_ended(self, link: Link) -> None:
        self._cancel()
        self._drop(100)
        self._forget(link)

    # --- time -----------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """About once a second: keep the connection alive, find a dead one, let an idle one rest."""
        link, settings = self._link, self._around.settings
        if self._wire is not None:
            self._wire.watch()
        if link.state != "up":
            return
        keep_ns = int(settings.keep_alive_s * 1e9)
        idle = settings.idle_close_s and now_ns - link.traffic_ns > settings.idle_close_s * 1e9
        if now_ns - link.heard_ns > keep_ns * 3 // 4:
            self.again()
        elif idle and not link.session.retained and self._around.events.may_rest(link):
            link.say(PacketKind.PING, REST | ACK_NOW)
        elif now_ns - link.said_ns > keep_ns // 4 or now_ns - link.heard_ns > keep_ns // 4:
            link.say(PacketKind.PING, ACK_NOW)

    def _rest(self) -> None:
        """The acceptor agrees that this idle link ends; it does unless something was sent since."""
        link = self._link
        idle_ns = self._around.clock.now_ns() - link.traffic_ns
        if not link.session.retained and idle_ns > self._around.settings.idle_close_s * 1e9:
            link.say(PacketKind.GOODBYE)
            link.finish("idle")
