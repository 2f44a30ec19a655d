"""A node's place in the fleet: joins the broker, stays joined over its restarts, answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
import structlog

from denoagents._native.peer import Peer
from denoagents.cluster import messages
from denoagents.cluster.messages import Message, decode, encode
from denoagents.errors import (
    DenoagentsError,
    JoinRefusedError,
    ProtocolError,
    UnreachableError,
    from_wire,
    to_wire,
)
from denoagents.node.placement import Placement
from denoagents.security.allow_list import Entry

log = structlog.get_logger("denoagents.node")

JOIN_AGAIN_S = 1.0
CONTROL_TIMEOUT_S = 10.0


class Member(Protocol):
    """What membership asks of its node."""

    def join_request(self) -> messages.Join:
        """Who this node is, and what it holds."""

    def joined(self, message: messages.Joined) -> None:
        """The broker admitted this node."""

    async def probe(self) -> dict[str, Any]:
        """The deep health probe."""

    def node_statistics(self) -> dict[str, Any]:
        """The node's figures."""

    def drain_requested(self, reason: str) -> None:
        """The broker wants this worker to end."""

    def evicted(self, reason: str) -> None:
        """The fleet goes on without this incarnation."""

    def keys_changed(self, entries: list[Entry]) -> None:
        """The fleet lets in these keys."""

    def members_known(self, members: list[messages.MemberRecord]) -> None:
        """A version with these workers is about to be in force."""


class Membership:
    """Speaks with the broker over one link, which is dialed again whenever it is over."""

    def __init__(
        self, member: Member, placement: Placement, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._member, self._placement, self._loop = member, placement, loop
        self.broker: Peer | None = None
        self.is_joined = False
        self.is_leaving = False
        self._requests: dict[int, asyncio.Future[messages.Answer]] = {}
        self._numbers = 0
        self._admitted: asyncio.Future[None] = loop.create_future()
        self._retry: asyncio.TimerHandle | None = None
        self._last_refusal = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def admitted(self, timeout_s: float, endpoint: str) -> None:
        """Wait for admission.

        Raises:
            JoinRefusedError: the broker said no, or "later" until the time was over, and why.
            UnreachableError: nobody answered in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._admitted)
        except TimeoutError:
            if self._last_refusal:
                raise JoinRefusedError(self._last_refusal) from None
            raise UnreachableError(
                f"no broker answers at {endpoint} within {timeout_s:g} s; "
                f"start one with: denoagents broker --bind {endpoint} "
                "(one that has keys answers nobody without: name them with --keys)"
            ) from None

    # --- the link -----------------------------------------------------------------------------

    def link_up(self, peer: Peer) -> None:
        """The link to the broker stands, maybe to a new life of it."""
        self.broker = peer
        self._join()

    def link_lost(self) -> None:
        """The session with the broker is over; what it was asked is unknown."""
        requests, self._requests = self._requests, {}
        for waiter in requests.values():
            if not waiter.done():
                waiter.set_exception(
                    UnreachableError("the link to the broker ended before it answered")
                )

    def hurry(self) -> None:
        """The broker answers heartbeats: its link should stand soon."""
        if self.broker is not None and self.broker.link is not None:
            self.broker.link.hurry()

    def join_again(self) -> None:
        """The broker does not know this node (any more)."""
        self._join()

    def fail(self, error: DenoagentsError) -> None:
        """The link was refused before this node was admitted."""
        if not self._admitted.done():
            self._admitted.set_exception(error)
            self._admitted.exception()

    def _join(self) -> None:
        if self.is_leaving or self.broker is None:
            return
        self.send(self._member.join_request())

    def send(self, message: Message) -> None:
        """Say something to the broker; lost while there is no link (a join tells it all again)."""
        if self.broker is not None and self.broker.link is not None:
            self.broker.control(encode(message))

    async def request(
        self, make: Callable[[int], Message], timeout_s: float = CONTROL_TIMEOUT_S
    ) -> dict[str, Any]:
        """Ask the broker; `make` gets the number of the request."""
        if self.broker is None or self.broker.link is None:
            raise UnreachableError("there is no link to the broker now; try again when it is back")
        self._numbers += 1
        waiter: asyncio.Future[messages.Answer] = self._loop.create_future()
        self._requests[self._numbers] = waiter
        number = self._numbers
        self.send(make(number))
        try:
            async with asyncio.timeout(timeout_s):
                answer = await waiter
        except TimeoutError:
            raise UnreachableError(f"the broker did not answer within {timeout_s:g} s") from None
        finally:
            self._requests.pop(number, None)
        if answer.error:
            raise from_wire(answer.error)
        return answer.body

    # --- what comes in --------------------------------------------------------------------------

    def control(self, peer: Peer, payload: bytes) -> None:
        """A control message of the broker, or of another member."""
        try:
            message = decode(payload)
        except ProtocolError as error:
            log.warning("control message cannot be read", peer=peer.node_name, error=str(error))
            return
        if peer is self.broker:
            self._from_broker(message)
        else:
            self._from_member(peer, message)

    def _from_broker(self, message: messages.ControlMessage) -> None:
        match message:
            case messages.Joined():
                self._joined(message)
            case messages.Refused():
                self._refused(message)
            case messages.Keys():
                self._member.keys_changed(message.entries)
            case messages.Published():
                self._member.members_known(message.record.members)
                self._placement.on_version(message.record)
            case messages.Settled():
                self._placement.on_settled(message.version)
            case messages.Answer():
                waiter = self._requests.get(message.re)
                if waiter is not None and not waiter.done():
                    waiter.set_result(message)
            case messages.Probe():
                self._answer(message.id, self._member.probe)
            case messages.Report():
                self._answer(message.id, self._report)
            case messages.Drain():
                self._member.drain_requested(message.reason)
            case messages.Evicted():
                self._member.evicted(message.reason)
            case _:
                log.warning("the broker said something unexpected", message=type(message).__name__)

    def _from_member(self, peer: Peer, message: messages.ControlMessage) -> None:
        match message:
            case messages.Ship():
                self._take_over(message, peer)
            case messages.Released():
                self._placement.on_released(peer.incarnation, message)
            case messages.Watch():
                self._placement.watching.on_watch(message)
            case messages.Watched():
                self._placement.watching.on_watched(peer.incarnation, message)
            case messages.Terminated():
                self._placement.watching.on_terminated(message)
            case _:
                log.warning(
                    "a member said something unexpected",
                    peer=peer.node_name,
                    message=type(message).__name__,
                )

    def _take_over(self, message: messages.Ship, peer: Peer) -> None:
        try:
            self._placement.on_ship(message, peer)
        except (DenoagentsError, msgspec.MsgspecError, RecursionError, ValueError) as error:
            log.error("actor_cannot_be_taken_over", actor=message.actor, error=str(error))  # noqa: TRY400

    def _joined(self, message: messages.Joined) -> None:
        self.is_joined = True
        self._member.joined(message)
        self._member.members_known(message.record.members)
        self._placement.on_version(message.record)
        if message.settled:
            self._placement.on_settled(message.settled)
        if not self._admitted.done():
            self._admitted.set_result(None)

    def _refused(self, message: messages.Refused) -> None:
        if message.retry_after_s > 0 or self.is_joined:
            self._last_refusal = message.reason
            log.info("the broker asks to join later", reason=message.reason)
            self._retry = self._loop.call_later(message.retry_after_s or JOIN_AGAIN_S, self._join)
        elif not self._admitted.done():
            self._admitted.set_exception(JoinRefusedError(message.reason))
            self._admitted.exception()

    async def _report(self) -> dict[str, Any]:
        return self._member.node_statistics()

    def _answer(self, number: int, make: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        async def answer() -> None:
            try:
                reply = messages.Answer(re=number, body=await make())
            except DenoagentsError as error:
                reply = messages.Answer(re=number, error=to_wire(error))
            self.send(reply)

        task = self._loop.create_task(answer())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Say nothing more; end what runs."""
        self.is_leaving = True
        if self._retry is not None:
            self._retry.cancel()
        if not self._admitted.done():
            self._admitted.cancel()
        self.link_lost()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
