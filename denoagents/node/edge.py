"""The edge of a client node: external asks pass the token bucket and the priority queue here."""

from __future__ import annotations

import asyncio
from typing import Any

from denoagents._native.clock import Clock
from denoagents.errors import ExpiredError
from denoagents.limits.admission import Admission, Ticket
from denoagents.limits.settings import AdmissionSettings


class Edge:
    """Lets external requests in at the set rate; whoever must wait gets a future."""

    def __init__(
        self, settings: AdmissionSettings, clock: Clock, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._admission = Admission(settings, clock.now_ns())
        self._clock, self._loop = clock, loop
        self._tickets: dict[asyncio.Future[None], Ticket] = {}
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, priority: int, deadline_ns: int) -> asyncio.Future[None] | None:
        """None when the request may go at once; else a future, failed when late."""
        ticket = self._admission.request(self._clock.now_ns(), priority, deadline_ns)
        if ticket.state == "granted":
            return None
        if ticket.state == "expired":
            raise _late()
        waiter: asyncio.Future[None] = self._loop.create_future()
        ticket.item = waiter
        self._tickets[waiter] = ticket
        self._wake_later()
        return waiter

    def leave(self, waiter: asyncio.Future[None]) -> None:
        """The asker gave up."""
        ticket = self._tickets.pop(waiter, None)
        if ticket is not None:
            self._admission.cancel(ticket)

    def _wake_later(self) -> None:
        at_ns = self._admission.next_wake_ns
        if at_ns is None or self._timer is not None:
            return
        wait_s = max(0.0005, (at_ns - self._clock.now_ns()) / 1e9)
        self._timer = self._loop.call_later(wait_s, self._advance)

    def _advance(self) -> None:
        self._timer = None
        granted, expired = self._admission.advance(self._clock.now_ns())
        for ticket in granted:
            self._decided(ticket, None)
        for ticket in expired:
            self._decided(ticket, _late())
        self._wake_later()

    def _decided(self, ticket: Ticket, error: ExpiredError | None) -> None:
        waiter: Any = ticket.item
        self._tickets.pop(waiter, None)
        if waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

    def close(self) -> None:
        """Wake nobody any more; whoever waits is told."""
        if self._timer is not None:
            self._timer.cancel()
        for waiter in list(self._tickets):
            waiter.cancel()
        self._tickets.clear()

    def statistics(self) -> dict[str, Any]:
        """Counts by priority (high, normal, low), and their sums."""
        counts = self._admission.statistics()
        names = ("requested", "granted", "queued", "expired", "cancelled", "refused", "waiting")
        by_priority = {name: list(getattr(counts, name)) for name in names}
        return {name: sum(values) for name, values in by_priority.items()} | {
            "by_priority": by_priority
        }


def _late() -> ExpiredError:
    return ExpiredError(
        "the deadline passed while the request waited for admission; it was never sent"
    )
