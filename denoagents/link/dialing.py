"""The dialer's side of a link: attempts to connect, the hello, a new connection for each lost one.

Rules: an attempt that did not connect lives until the next one is due; each lives twice as long, up
to a bound. A connection that lasted is followed by the next one at once. Nothing here gives up; the
node ends a link whose peer is over. A link that is not up for long is reported once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import structlog

from denoagents._native.packet import Packet
from denoagents.envelope import WIRE_VERSION, PacketKind
from denoagents.errors import HandshakeError, LinkError, LinkLost, ProtocolError
from denoagents.link import handshake
from denoagents.link.compression import NUMBERS, choose, preference
from denoagents.link.handshake import Hello, Refused, Welcome
from denoagents.link.link import ACK_NOW, REST, Link, Surroundings
from denoagents.link.session import GapError
from denoagents.link.transport import Transport, Wire

_DATA = int(PacketKind.DATA)
_SETTLED_NS = 100_000_000
"""A connection that stood this long was no failed attempt."""
_HURRY_NS = 1_000_000_000
"""An attempt is given this long when others can reach the peer."""
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
        self._tries = self._tried_ns = 0
        self._welcomed_by = 0
        self._up_ns = 0
        self._progress = 0
        self._down_ns = 0
        """Since when the link is not up; while it is, the last tick."""
        self._is_late = False
        self._server: bytes | None = None
        self.own_endpoint = ""

    def begin(self, link: Link) -> None:
        """Start; raises `UsageError` when the endpoint cannot be one."""
        self._link = link
        self._down_ns = self._around.clock.now_ns()
        self._attempt()

    # --- attempts -------------------------------------------------------------------------

    def _attempt(self) -> None:
        self._drop()
        self._after(self._delay_s(), self._attempt)
        self._tries += 1
        self._tried_ns = self._around.clock.now_ns()
        self._server = self._server_key()
        try:
            self._wire = self._transport.dial(self._endpoint, self)
        except LinkError as error:  # no descriptors left, say: the timer tries again
            _log.warning("link.cannot_dial", endpoint=self._endpoint, reason=str(error))

    def _server_key(self) -> bytes | None:
        keys = self._around.credentials
        return None if keys is None else keys.server_key(self._endpoint)

    def check_key(self) -> None:
        """The allow-list has changed: another key, or none, must answer here from now on."""
        if self._server_key() != self._server:
            self.again()

    def _delay_s(self) -> float:
        settings = self._around.settings
        doubled_s = settings.backoff_first_s * float(1 << min(self._tries, 20))
        return min(settings.backoff_longest_s, doubled_s) * self._chance.uniform(0.8, 1.2)

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
        """Make a new connection: at once if this one was of use, else when its time has come."""
        self._link.shut()
        self._drop()
        if self._was_of_use():
            self._tries = 0
            self._attempt()
        else:
            self._after(self._delay_s(), self._attempt)

    def _was_of_use(self) -> bool:
        """Whether the connection that ended stood for a while, or carried anything new."""
        up_ns, self._up_ns = self._up_ns, 0
        if not up_ns:
            return False
        lasted_ns = self._around.clock.now_ns() - up_ns
        return lasted_ns >= _SETTLED_NS or self._link.session.progress > self._progress

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
            limit_bytes=self._around.settings.max_payload_bytes,
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
        link.quiet_ticks = 0
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
        self._around.debts.settle()

    def _other(self, packet: Packet) -> None:
        link, kind = self._link, packet.kind
        if kind == PacketKind.WELCOME:
            self._welcome(packet)
        elif kind == PacketKind.REFUSED:
            self._refused(packet)
        elif link.state != "up":
            return
        elif kind == PacketKind.ACK:
            link.hear(packet)
            if packet.flags & REST:
                self._rest()
        elif kind == PacketKind.PING:
            link.hear(packet)
            link.acknowledge()
        elif kind == PacketKind.GOODBYE:
            link.hear(packet)
            link.finish("goodbye")
        else:  # WHO, junk, and what no acceptor says
            self.again()

    def _welcome(self, packet: Packet) -> None:
        link = self._link
        if link.state == "up":
            return
        if packet.version != WIRE_VERSION:
            raise ProtocolError(f"a welcome in wire version {packet.version}")
        welcome = handshake.decode(Welcome, packet.body)
        identity = self._around.identity
        if welcome.cluster != identity.cluster:
            reason = f"{welcome.name} belongs to cluster {welcome.cluster!r}"
            link.finish(reason, HandshakeError(reason))
            return
        expected = self._expected or self._welcomed_by
        if expected not in (0, welcome.incarnation):
            link.finish("other incarnation", LinkLost(f"{welcome.name} was restarted"))
            return
        if welcome.session != link.number or welcome.compression not in NUMBERS:
            raise ProtocolError("a welcome that answers no hello of ours")
        wire = self._wire
        if wire is None:
            return
        self._cancel()
        self._is_late = False
        self._up_ns = self._down_ns = self._around.clock.now_ns()
        self._progress = link.session.progress
        is_new = not self._welcomed_by
        self._welcomed_by = welcome.incarnation
        link.peer.name, link.peer.role = welcome.name, welcome.role
        link.peer.incarnation = welcome.incarnation
        link.open(
            wire.send,
            None,
            compression=choose([welcome.compression], "lz4"),
            limit_bytes=welcome.limit_bytes,
            accepted=welcome.accepted,
        )
        if link.is_up:
            self._around.events.link_up(link, is_new)

    def _refused(self, packet: Packet) -> None:
        refused = handshake.decode(Refused, packet.body)
        error = handshake.error_of(refused)
        reason = "other incarnation" if refused.code == "incarnation" else refused.reason
        if refused.reason != "left":  # this node's own goodbye, come back
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
        self._drop(linger_ms=100)  # for a last word
        self._forget(link)

    def hurry(self) -> None:
        """Do not wait out the back-off, nor a connection that says nothing."""
        if self._around.clock.now_ns() - self._tried_ns > _HURRY_NS:
            self._tries = 0
            self._attempt()

    def cut(self) -> None:
        """Nothing more leaves on this connection."""
        self._drop()

    # --- time -----------------------------------------------------------------------------

    def tick(self, tick_s: float) -> None:
        """Every `tick_s`: keep the connection alive, find a dead one, let an idle one rest."""
        link = self._link
        if self._wire is not None:
            self._wire.watch()
        if link.state != "up":
            self._report_late()
            return
        self._down_ns = self._around.clock.now_ns()
        link.quiet_ticks += 1
        link.idle_ticks += 1
        keep_ticks = self._around.settings.keep_alive_s / tick_s
        if link.quiet_ticks > keep_ticks * 3 / 4:
            self.again()
        elif self._is_idle(tick_s) and self._around.events.may_rest(link):
            link.say(PacketKind.PING, REST | ACK_NOW)
        elif link.quiet_ticks > keep_ticks / 4 or link.session.retained:
            link.say(PacketKind.PING, ACK_NOW)  # what was lost is missed by the peer now

    def _report_late(self) -> None:
        """Say once, for each time that the link is not up, that it takes too long."""
        down_ns = self._around.clock.now_ns() - self._down_ns
        limit_s = self._around.settings.connect_timeout_s
        if self._is_late or down_ns < limit_s * 1e9:
            return
        self._is_late = True
        _log.warning(
            "link.not_up",
            endpoint=self._endpoint,
            peer=self._link.peer.name,
            after_s=round(down_ns / 1e9, 1),
            tries=self._tries,
            now="goes on trying",
        )

    def _is_idle(self, tick_s: float) -> bool:
        idle_s = self._around.settings.idle_close_s
        link = self._link
        return 0 < idle_s <= link.idle_ticks * tick_s and not link.session.retained

    def _rest(self) -> None:
        """The acceptor agrees that this idle link ends; it does unless something was sent since."""
        link = self._link
        if link.idle_ticks and not link.session.retained:
            link.say(PacketKind.GOODBYE)
            link.finish("idle")
