"""A link: one session with one peer, stable over reconnects; and what its node hears of it.

Rules: everything runs on the loop. `connecting` → `up` ↔ `down` → `over`; over is final. Only an
`up` link transmits; what is sent before or meanwhile is retained and leaves, in order, with the
next connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

from denoagents._native.clock import Clock
from denoagents._native.packet import Packet
from denoagents.envelope import PacketKind
from denoagents.errors import DenoagentsError, LinkLost, PayloadTooLargeError, ProtocolError
from denoagents.link.compression import FLAGS_MASK, NUMBERS, compress, decompress
from denoagents.link.credentials import Credentials
from denoagents.link.debts import Debts
from denoagents.link.handshake import Identity, Peer
from denoagents.link.session import Batch, GapError, Session
from denoagents.link.settings import Algorithm, LinkSettings
from denoagents.link.statistics import LinkStatistics, State
from denoagents.link.transport import Put

ACK_NOW = 0x80
"""Flag of a PING: answer with an acknowledgement at once."""
REST = 0x40
"""Flag of a PING: may this idle link end? Of an ACK: yes."""

_log = structlog.get_logger("denoagents.link")
_DATA, _GOODBYE = int(PacketKind.DATA), int(PacketKind.GOODBYE)


class MeshEvents(Protocol):
    """What a node hears of its links; all calls come on the loop, and raise only what they say."""

    def link_up(self, link: Link, is_new: bool) -> None:
        """The link stands; `is_new` when its session has just begun."""

    def batch(
        self,
        link: Link,
        body: bytes | memoryview,
        count: int,
        sender_now_ns: int,
        placement_version: int,
    ) -> None:
        """A batch of the peer, in order, exactly once.

        Raises: `ProtocolError` when no node would send it; the peer is told, and the link is over.
        """

    def accepted(self, link: Link, count: int) -> None:
        """The peer has accepted `count` more messages."""

    def drained(self) -> None:
        """A socket was drained: run what is ready, flush what waits."""

    def link_over(self, link: Link, reason: str, unaccepted: int) -> None:
        """The session has ended, once; the outcome of `unaccepted` messages is unknown."""

    def datagram(self, route: bytes, packet: bytes) -> None:
        """A heartbeat came; `route` is for the answer."""

    def may_rest(self, link: Link) -> bool:
        """Whether this idle link may end: no call of either side is open on it."""


class Surroundings:
    """What all links of one mesh share."""

    credentials: Credentials | None = None

    def __init__(
        self, identity: Identity, events: MeshEvents, clock: Clock, settings: LinkSettings
    ) -> None:
        self.identity = identity
        self.events = events
        self.clock = clock
        self.settings = settings
        self.placement_version = 0
        self.debts = Debts(settings, events.drained)


class Owner(Protocol):
    """Who makes a link's connections."""

    def link_lost(self, link: Link) -> None:
        """The link's connection took nothing any more."""

    def link_ended(self, link: Link) -> None:
        """The link is over: close and forget."""

    def hurry(self) -> None:
        """The peer can be reached."""


class Link:
    """One session with one peer."""

    __slots__ = (
        "_around",
        "_compression",
        "_limit_bytes",
        "_owner",
        "_put",
        "_waiters",
        "bytes_in",
        "bytes_out",
        "connections",
        "dialed",
        "error",
        "idle_ticks",
        "is_touched",
        "key",
        "number",
        "on_down",
        "packets_in",
        "packets_out",
        "peer",
        "quiet_ticks",
        "resends",
        "route",
        "session",
        "state",
        "user",
    )

    def __init__(
        self, around: Surroundings, owner: Owner, peer: Peer, *, dialed: bool, number: int
    ) -> None:
        self.peer = peer
        self.dialed = dialed
        self.number = number
        """The session's number among those of the dialer's incarnation."""
        self.state: State = "connecting"
        self.user: str | None = None  # public key of who dialed, with keys
        self.key: object = None
        """Free for the node."""
        self.on_down: Callable[[], None] | None = None
        """Called when the connection is gone and the session waits for the next one."""
        self.error: DenoagentsError | None = None
        """Why the link is over, if that is an error."""
        self.session = Session()
        self.is_touched = False
        self.connections = 0
        self.packets_out = self.bytes_out = self.packets_in = self.bytes_in = self.resends = 0
        self.route: bytes | None = None
        """Where an accepted session's connection is now; the owner's to set."""
        self.quiet_ticks = 0
        """Ticks of the mesh since the peer was last heard; a blocked loop does not tick."""
        self.idle_ticks = 0
        """Ticks of the mesh since a batch last passed."""
        self._around = around
        self._owner = owner
        self._put: Put | None = None
        self._compression = 0
        self._limit_bytes = around.settings.max_payload_bytes
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    def __repr__(self) -> str:
        arrow = "->" if self.dialed else "<-"
        return (
            f"<Link {arrow} {self.peer.name or self.peer.endpoint} {self.state}, "
            f"{self.session.retained_count} retained>"
        )

    # --- for the node ---------------------------------------------------------------------

    def send(self, body: bytes, count: int) -> None:
        """Queue one batch of `count` messages; it is retained until the peer has accepted it."""
        if len(body) > self._limit_bytes:
            raise PayloadTooLargeError(len(body), self._limit_bytes)
        if self.state == "over":
            raise LinkLost(f"the link to {self.peer.name or self.peer.endpoint} is over")
        batch = self.session.retain(body, count)
        if self.state == "up":
            self._transmit(batch)

    @property
    def credit_bytes(self) -> int:
        """How much may be sent before the window is full; negative when it was overrun."""
        return self._around.settings.window_bytes - self.session.retained_bytes

    @property
    def retained_count(self) -> int:
        return self.session.retained_count

    @property
    def retained_bytes(self) -> int:
        return self.session.retained_bytes

    @property
    def acknowledged_count(self) -> int:
        return self.session.acknowledged_count

    def when_accepted(self) -> asyncio.Future[None]:
        """Done when the peer has accepted all that was sent so far, or the link is over."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.state == "over" or not self.session.retained:
            future.set_result(None)
        else:
            self._waiters.append((self.session.sent, future))
            self.say(PacketKind.PING, ACK_NOW)
        return future

    def hurry(self) -> None:
        """The peer can be reached, as others have seen: a link that is down tries again soon."""
        if self.state in {"connecting", "down"}:
            self._owner.hurry()

    def statistics(self) -> LinkStatistics:
        session = self.session
        return LinkStatistics(
            peer=self.peer.name,
            incarnation=self.peer.incarnation,
            dialed=self.dialed,
            session=self.number,
            state=self.state,
            connections=self.connections,
            retained_count=session.retained_count,
            retained_bytes=session.retained_bytes,
            acknowledged_count=session.acknowledged_count,
            packets_out=self.packets_out,
            bytes_out=self.bytes_out,
            packets_in=self.packets_in,
            bytes_in=self.bytes_in,
            resends=self.resends,
            duplicates=session.duplicates,
            batches_sent=session.sent,
            batches_accepted=session.accepted,
        )

    # --- for the owner --------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return self.state == "up"

    def open(
        self,
        put: Put,
        route: bytes | None,
        *,
        compression: Algorithm,
        limit_bytes: int,
        accepted: int,
    ) -> None:
        """A connection stands: free what the peer has accepted, send the rest again, then be up."""
        freed, batches = self.session.resume(accepted)
        self._limit_bytes = min(self._limit_bytes, limit_bytes)
        longest = max((batch.raw_length for batch in self.session.retained), default=0)
        if longest > self._limit_bytes:  # sent before the peer had told its limit
            error = PayloadTooLargeError(longest, self._limit_bytes)
            self.finish(str(error), error)
            return
        self._put, self.route = put, route
        self._compression = NUMBERS[compression]
        self.state = "up"
        self.connections += 1
        self.quiet_ticks = 0
        for batch in batches:  # the node hears nothing before all of them are on their way
            if self._put is put:
                self._transmit(batch)
        self._free(freed)

    def shut(self) -> None:
        """The connection is gone; the session waits for the next one."""
        was_up = self.state == "up"
        if was_up:
            self.state = "down"
        self._put = self.route = None
        if was_up and self.on_down is not None:
            self.on_down()

    def take(self, packet: Packet) -> None:
        """A DATA packet of the peer; raises `GapError` and `ProtocolError`."""
        session, around = self.session, self._around
        if packet.ack > session.acknowledged:
            self._free(session.acknowledge(packet.ack))
        seq = packet.seq
        if not self.is_touched:
            self.is_touched = True
            around.debts.touched.append(self)
        self.packets_in += 1
        if not session.is_new(seq):
            return
        body = packet.body
        size = len(body)
        self.bytes_in += size
        if packet.flags & FLAGS_MASK:
            limit = around.settings.max_payload_bytes
            body = decompress(packet.flags & FLAGS_MASK, body, packet.raw_length, limit)
            size = len(body)
        count = packet.count
        if packet.raw_length != size or not 0 < count <= size:
            raise ProtocolError(f"{size} bytes claim {packet.raw_length}, and {count} messages")
        session.accept(seq, size)
        self.idle_ticks = 0
        try:
            around.events.batch(self, body, count, packet.now_ns, packet.placement_version)
        except ProtocolError:
            raise
        except Exception:  # the node's fault; what came behind this batch still counts
            _log.exception("link.batch_raised", link=repr(self))

    def hear(self, packet: Packet) -> None:
        """A packet that is no batch: it acknowledges, and says how many batches came before it.

        Raises: `GapError`, `ProtocolError`.
        """
        session = self.session
        if packet.ack > session.acknowledged:
            self._free(session.acknowledge(packet.ack))
        if packet.seq > session.accepted and packet.kind != _GOODBYE:
            raise GapError(f"{packet.seq} batches were sent, {session.accepted} came")

    def acknowledge(self) -> None:
        self.say(PacketKind.ACK)

    def say(self, kind: PacketKind, flags: int = 0, body: bytes = b"") -> None:
        """Send a packet that is no batch; it acknowledges, and says how many batches were sent."""
        if self._put is None:
            return
        around, session = self._around, self.session
        if self._put(
            self.route,
            kind,
            flags,
            session.sent,
            session.accepted,
            around.clock.now_ns(),
            around.placement_version,
            0,
            len(body),
            body,
        ):
            session.acknowledgement_left()
        else:
            self._owner.link_lost(self)

    def finish(self, reason: str, error: DenoagentsError | None = None) -> None:
        """The session is over, now."""
        if self.state == "over":
            return
        self.state = "over"
        self.error = error
        self._owner.link_ended(self)
        self._put = self.route = None
        self._wake(self.session.sent)
        self._around.events.link_over(self, reason, self.session.retained_count)

    # --- inside ---------------------------------------------------------------------------

    def _transmit(self, batch: Batch) -> None:
        around, session, put = self._around, self.session, self._put
        if put is None:
            return
        if batch.times_sent:
            self.resends += 1
        elif self._compression and (batch.raw_length > around.settings.compression_threshold_bytes):
            batch.flags, batch.body = compress(self._compression, batch.body)
        batch.times_sent += 1
        self.idle_ticks = 0
        self.packets_out += 1
        self.bytes_out += len(batch.body)
        if put(
            self.route,
            _DATA,
            batch.flags,
            batch.seq,
            session.accepted,
            around.clock.now_ns(),
            around.placement_version,
            batch.count,
            batch.raw_length,
            batch.body,
        ):
            session.owed = session.owed_bytes = 0
        else:
            self._owner.link_lost(self)

    def _free(self, count: int) -> None:
        if count:
            self._around.events.accepted(self, count)
            if self._waiters:
                self._wake(self.session.acknowledged)

    def _wake(self, up_to: int) -> None:
        waiters = self._waiters
        while waiters and waiters[0][0] <= up_to:
            future = waiters.popleft()[1]
            if not future.done():
                future.set_result(None)
