"""What the native router asks of its node while it handles a message: ways off the fast path."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from denoagents._native.deadlines import TICK_S
from denoagents._native.delivery import Stream
from denoagents._native.envelope import RELIABLE, STREAMS, WANTS_REPLY, Envelope, ReplyTo
from denoagents._native.peer import Peer, RemoteReply
from denoagents._native.router import RecordKind, Router
from denoagents._native.runtime import Cell, Runtime
from denoagents.actor.failure import as_local_error, as_wire_error
from denoagents.actor.guardian import Guardian
from denoagents.actor.stream import StreamCall
from denoagents.address import slot_of_text
from denoagents.cluster.messages import Quarantined
from denoagents.errors import (
    DenoagentsError,
    NodeStoppedError,
    UnknownActorTypeError,
    UsageError,
    nearest,
)
from denoagents.node.quarantine import Quarantine
from denoagents.node.settings import NodeSettings

log = structlog.get_logger("denoagents.node")

MAX_REASON = 4000
"""Characters of a reason that are kept with a quarantined message."""


class Directory:
    """Answers the router; one for each node."""

    def __init__(self, guardian: Guardian) -> None:
        self._guardian = guardian
        self.quarantined = Quarantine()
        self.dial: Callable[[Peer], None] = _no_fleet
        self.control: Callable[[Peer, bytes], None] = _no_fleet
        self.unknown_type: Callable[[str], None] = self._unknown_here
        self.stream_items = guardian.settings.stream_items
        self.router: Router
        self._loop: asyncio.AbstractEventLoop
        self._sweeping = False
        self.forwarded = 0
        self.journal: Callable[[str, str, bytes, int, int], Awaitable[None]]

    def connect(
        self,
        dial: Callable[[Peer], None],
        control: Callable[[Peer, bytes], None],
        unknown_type: Callable[[str], None],
        quarantine: Callable[[Quarantined], Awaitable[None]],
        name: str,
    ) -> None:
        """Ask a fleet where this node, called `name`, alone has no answer."""
        self.dial, self.control, self.unknown_type = dial, control, unknown_type
        self.quarantined.attach(name, quarantine)

    def attach(self, router: Router, loop: asyncio.AbstractEventLoop) -> None:
        """Meet the router; called once."""
        self.router, self._loop = router, loop

    # --- deadlines ----------------------------------------------------------------------------

    def watch_deadlines(self) -> None:
        """Some request waits: look for expired ones until none waits."""
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(TICK_S, self._sweep)

    def _sweep(self) -> None:
        if self.router.sweep():
            self._loop.call_later(TICK_S, self._sweep)
        else:
            self._sweeping = False

    def add_deadline(self, reply: ReplyTo) -> None:
        """Expire `reply` at its deadline."""
        self.router.add_deadline(reply)
        self.watch_deadlines()

    def discard_deadline(self, reply: ReplyTo) -> None:
        """`reply` has its outcome."""
        self.router.discard_deadline(reply)

    # --- errors -------------------------------------------------------------------------------

    def local_error(self, error: BaseException) -> DenoagentsError:
        """An actor's exception for an asker in this process."""
        return as_local_error(error)

    def describe(self, error: BaseException) -> dict[str, Any]:
        """An actor's exception for an asker elsewhere."""
        return as_wire_error(error)

    def dead_letter(self, peer: Peer, error: BaseException) -> None:
        """A message from `peer` that no actor could take."""
        self._guardian.dead_letter(peer.node_name, "", str(error))

    def quarantine(  # noqa: PLR0913, PLR0917 - the fields of a message, as the native side has them
        self,
        stream: int,
        number: int,
        target: str,
        method: str,
        payload: bytes,
        priority: int,
        trace: bytes | None,
        reason: str,
        deaths: int,
        age_ns: int,
        on_kept: Callable[[], None],
    ) -> None:
        """A reliable message is given up; it is its sender's until `on_kept` is called, once.

        With a broker that is when the broker has stored it, which may take its restart.
        """
        message = Quarantined(
            stream=stream,
            number=number,
            target=target,
            method=method,
            payload=bytes(payload),
            reason=reason[:MAX_REASON],
            priority=priority,
            deaths=deaths,
            age_s=age_ns / 1e9,
            trace=bytes(trace or b""),
        )
        self.quarantined.add(message, on_kept)

    def space(self, cell: Cell) -> asyncio.Future[None]:
        """Done when the mailbox of `cell` has room again."""
        return self._guardian.space(cell)

    # --- messages off the fast path -------------------------------------------------------------

    def place(  # noqa: PLR0913, PLR0917 - the fields of a record, as the native side has them
        self,
        peer: Peer,
        kind: int,
        address: str,
        method: str,
        number: int,
        priority: int,
        deadline_ns: int,
        chain: Any,
        trace: Any,
        payload: bytes,
        reply: RemoteReply | None,
    ) -> Cell | None:
        """The cell for a message from `peer`; None when it was sent on to its present owner."""
        if self.router.is_stopped:
            raise NodeStoppedError("this node has stopped")
        if self.router.is_here(address):
            return self.router.local_cell(address)
        self.forwarded += 1
        self.router.forward(
            peer, kind, address, method, number, priority, deadline_ns, chain, trace, payload, reply
        )
        return None

    def deliver_here(  # noqa: PLR0913, PLR0917 - the fields of a parked record
        self,
        kind: int,
        target: str,
        method: Any,
        priority: int,
        deadline_ns: int,
        chain: Any,
        trace: Any,
        payload: bytes,
        reply: ReplyTo | None,
    ) -> None:
        """A parked message turned out to be for this process."""
        cell = self.router.local_cell(target)
        declared = cell.type.method(method if isinstance(method, str) else method.name)
        flags = 0
        if kind != RecordKind.TELL:
            flags = WANTS_REPLY | (STREAMS if kind == RecordKind.STREAM else 0)
        if reply is not None and reply.sequence:
            flags |= RELIABLE
        envelope = Envelope(
            declared, None, payload, deadline_ns, priority, flags, reply, None, chain, trace
        )
        if reply is not None:
            reply.place = envelope
            bind = getattr(reply, "bind", None)
            if bind is not None:
                bind(declared, envelope)
        self.router.runtime.post(cell, envelope)

    def _unknown_here(self, type_name: str) -> None:
        known = self.router.types
        raise UnknownActorTypeError(
            f"no actor type {type_name!r} is known here.{nearest(type_name, known)} "
            "Get a ref with node.actor(...) first"
        )


def _no_fleet(*_: object) -> None:
    raise UsageError("an embedded node has no peers")


def make_router(runtime: Runtime, directory: Directory, settings: NodeSettings) -> Router:
    """The router of a node, and the runtime's bounds, as set."""
    actor = settings.actor
    runtime.mailbox_limit, runtime.mailbox_reserve = actor.mailbox_limit, actor.mailbox_reserve
    router = Router(runtime, slot_of_text, directory)
    router.park_limit, router.reliable_limit = actor.park_limit, actor.reliable_bytes
    router.max_payload = settings.link.max_payload_bytes - 4096
    router.batch_messages = settings.batch_messages
    router.stream = Stream(router, runtime.incarnation)
    router.stream_class = StreamCall
    checks = actor.check_local_calls
    router.codec = "pytest" in sys.modules if checks is None else checks
    seconds = (actor.timeout_high_s, actor.timeout_normal_s, actor.timeout_low_s)
    router.timeouts_ns = tuple(int(timeout_s * 1e9) for timeout_s in seconds)
    directory.attach(router, runtime.loop)
    return router
